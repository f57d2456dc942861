"""Training strings back into what they were made of: strict, so that what it accepts has one reading."""

from __future__ import annotations

import json
import re
import string
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from curate.tasks.coordinates import pixels_from
from curate.tasks.dialect import Dialect
from curate.tasks.formats import CONVERSATION, LANGUAGE_NAMES, QWEN_VL
from curate.tasks.image_cost import image_costs
from curate.tasks.parse_chat import parse_dialogue
from curate.tasks.row_faults import control_token

LABEL = r'"(?:[^"\\]|\\.)*"'  # a JSON string
AXES = [f"{axis}{number}" for number in range(1, 5) for axis in "xy"]


class Phrase(NamedTuple):
    """A region read back: its quad holds the pixels that the written numbers stand for."""

    text: str | None
    start: int | None  # code points into the text
    end: int | None
    quad: tuple[float, ...]


class Parsed(NamedTuple):
    """What a target and prompt say; None where the task has no such thing. A page's text is its lines."""

    text: str | None
    question: str | None
    answer: str | None
    regions: list[Phrase]
    messages: list[tuple[str, str]] | None = None  # of a dialogue: role and content
    paths: list[str | None] | None = None  # of a dialogue's images, where the dialect shows them


def parse(
    task: str, target: str, width: int, height: int, prompt: str = "", dialect: Dialect = QWEN_VL
) -> Parsed:
    """The inverse of `render` for one row; what stands in the prompt is None without it.

    A dialogue is read from its prompt and target together (see `curate.tasks.parse_chat`). Where a dialect has no marks
    for phrases, a grounded caption's phrases are looked for in its text in their order.

    Raises:
        ValueError: not a string of that task's format, or a task without one.
    """
    if task == CONVERSATION:
        spoken = parse_dialogue(prompt + target, dialect)
        return Parsed(None, None, None, [], spoken.messages, spoken.paths)
    if task not in dialect.tasks:
        raise ValueError(f"no task {task!r} (there are: {', '.join(dialect.tasks)})")
    form, grammar = dialect.tasks[task], grammar_of(dialect)
    found = grammar.fields(form.target, target)
    found |= grammar.fields(form.prompt, prompt) if prompt else {}
    text = found.get("text")
    regions: list[Phrase] = []
    for raw in (text, found.get("question"), found.get("answer")):
        grammar.refuse_control_token(raw or "")
    image = Image(dialect, width, height)
    if "grounded" in found:
        text, regions = _grounded(found["grounded"], grammar, image)
    elif "entries" in found:
        regions = _entries(found["entries"], text if "{text}" in form.target else None, grammar, image)
    elif "lines" in found:
        regions = _lines(found["lines"], grammar, image)
        text = "\n".join(region.text or "" for region in regions)
    elif "boxes" in found:
        regions = [Phrase(text, None, None, quad) for quad in image.boxes(found["boxes"], grammar)]
    return Parsed(text, found.get("question"), found.get("answer"), regions)


@dataclass(frozen=True)
class Grammar:
    """The regular expressions of a dialect."""

    dialect: Dialect

    @cached_property
    def number(self) -> str:
        """A coordinate."""
        places = self.dialect.places
        longest = {"parts": len(str(places.most)), "pixels": 6}
        return (
            rf"\d\.\d{{{places.decimals}}}" if places.unit == "shares" else rf"\d{{1,{longest[places.unit]}}}"
        )

    @cached_property
    def plain(self) -> str:
        """Raw text; none of it is a control token."""
        end = "\\n" if "\n" in (self.dialect.places.lines[1], self.dialect.places.entries[1]) else ""
        return (
            rf"(?:(?!{control_token(self.dialect)})[^{end}])+?"
            if end
            else f"(?:(?!{control_token(self.dialect)}).)+?"
        )

    @cached_property
    def box(self) -> re.Pattern[str]:
        """One box, with its coordinates by name."""
        return re.compile(self._place(self.dialect.places.box))

    @cached_property
    def quad(self) -> re.Pattern[str]:
        """One quad, or box where there are no quads."""
        return re.compile(self._place(self.dialect.places.quad or self.dialect.places.box))

    @cached_property
    def boxes(self) -> str:
        """The boxes of one phrase."""
        return _list(_nameless(self.box), self.dialect.places.boxes)

    @cached_property
    def entry(self) -> re.Pattern[str]:
        """A box with its text."""
        return self._item(self.dialect.places.entry)

    @cached_property
    def line(self) -> re.Pattern[str]:
        """A line of a page."""
        return self._item(self.dialect.places.line)

    @cached_property
    def phrase(self) -> re.Pattern[str]:
        """A phrase in its marks with its boxes."""
        opening, closing = map(re.escape, self.dialect.places.ref)
        anything = f"(?:(?!{control_token(self.dialect)}).)+"
        return re.compile(f"{opening}({anything}){closing}({self.boxes})", re.DOTALL)

    @cached_property
    def patterns(self) -> dict[str, str]:
        """What fills a format's fields; the others are any text."""
        places, marks = self.dialect.places, self.dialect.image
        shown = re.escape(marks.before + marks.pad + marks.after)
        path = rf"{re.escape(marks.before)}(?:(?!{re.escape(marks.after)}).)+{re.escape(marks.after)}"
        found = {"img": path if marks.shows_path else shown, "language": "|".join(LANGUAGE_NAMES.values())}
        found |= {"code": "|".join(LANGUAGE_NAMES), "text": ".+?"}
        found |= {"boxes": self.boxes} if places.box else {}
        found |= {"entries": _list(_nameless(self.entry), places.entries)} if places.entry else {}
        return found

    def fields(self, template: str, filled: str) -> dict[str, str]:
        """What fills the template's fields.

        Raises:
            ValueError: the text is not of that form.
        """
        pattern = ""
        for literal, field, _, _ in string.Formatter().parse(template):
            if field and f"(?P<{field}>" in pattern:
                pattern += re.escape(literal) + f"(?P={field})"
            else:
                pattern += re.escape(literal) + (
                    f"(?P<{field}>{self.patterns.get(field, '.+')})" if field else ""
                )
        match = re.fullmatch(pattern, filled, re.DOTALL)
        if match is None:
            raise ValueError(f"{filled[:200]!r} is not of the form {template!r}")
        return match.groupdict()

    def refuse_control_token(self, raw: str) -> str:
        """The text itself.

        Raises:
            ValueError: a control token is in it.
        """
        if found := re.search(control_token(self.dialect), raw):
            raise ValueError(f"{found[0]!r} stands where there is only text: {raw[:80]!r}")
        return raw

    def _place(self, template: str) -> str:
        pieces = string.Formatter().parse(template)
        return "".join(
            re.escape(text) + (f"(?P<{name}>{self.number})" if name else "") for text, name, _, _ in pieces
        )

    def _item(self, template: str) -> re.Pattern[str]:
        found = {"text": self.plain, "label": LABEL, "box": _nameless(self.box), "quad": _nameless(self.quad)}
        names = {"label": "label", "text": "label", "box": "place", "quad": "place"}
        pieces = string.Formatter().parse(template)
        pattern = "".join(
            re.escape(text) + (f"(?P<{names[name]}>{found[name]})" if name else "")
            for text, name, _, _ in pieces
        )
        return re.compile(pattern, re.DOTALL)


GRAMMARS: dict[str, Grammar] = {}  # by the digest of their dialect


def grammar_of(dialect: Dialect) -> Grammar:
    """The dialect's regular expressions, compiled once."""
    return GRAMMARS.setdefault(dialect.digest, Grammar(dialect))


@dataclass(frozen=True)
class Image:
    """The image that coordinates are of."""

    dialect: Dialect
    width: int  # pixels
    height: int

    @cached_property
    def resized(self) -> tuple[int, int]:
        """Width and height as the model resizes it."""
        costs = image_costs(self.dialect.cost, np.array([self.width]), np.array([self.height]))
        return int(costs.width[0]), int(costs.height[0])

    def boxes(self, marked: str, grammar: Grammar) -> list[tuple[float, ...]]:
        """The quads of the boxes in a text."""
        return [self._quad(match) for match in grammar.box.finditer(marked)]

    def place(self, marked: str, grammar: Grammar) -> tuple[float, ...]:
        """The quad that a text is."""
        match = grammar.quad.fullmatch(marked)
        assert match is not None
        return self._quad(match)

    def _quad(self, match: re.Match[str]) -> tuple[float, ...]:
        """x1, y1, …, y4 in pixels; a box's four corners clockwise."""
        written = match.groupdict()
        points = [self._pixel(name[0], float(written[name])) for name in AXES if name in written]
        if len(points) == 4:
            x1, y1, x2, y2 = points
            points = [x1, y1, x2, y1, x2, y2, x1, y2]
        return tuple(points)

    def _pixel(self, axis: str, value: float) -> float:
        places, sides = self.dialect.places, [(self.width, self.resized[0]), (self.height, self.resized[1])]
        (side, resized), (other, _) = sides if axis == "x" else sides[::-1]
        return float(pixels_from(places, np.array(value), side, resized, other))


def _grounded(marked: str, grammar: Grammar, image: Image) -> tuple[str, list[Phrase]]:
    text, regions, done = "", list[Phrase](), 0
    for match in grammar.phrase.finditer(marked):
        text += grammar.refuse_control_token(marked[done : match.start()])
        span = len(text), len(text) + len(match[1])
        regions += [Phrase(match[1], *span, quad) for quad in image.boxes(match[2], grammar)]
        text, done = text + match[1], match.end()
    return text + grammar.refuse_control_token(marked[done:]), regions


def _entries(marked: str, text: str | None, grammar: Grammar, image: Image) -> list[Phrase]:
    """Each box with its text, and where that stands in `text`: at or behind the phrase before it."""
    regions: list[Phrase] = []
    for label, place in _items(marked, grammar.entry, grammar.dialect.places.entries, grammar):
        start = end = None
        if text is not None:
            last = regions[-1] if regions else None
            behind = (last.end or 0) if last is not None else 0
            found = last.start if last is not None and last.text == label else text.find(label, behind)
            start = found if found is not None and found >= 0 else text.find(label)
            start, end = (None, None) if start < 0 else (start, start + len(label))
        regions.append(Phrase(label, start, end, image.boxes(place, grammar)[0]))
    return regions


def _lines(marked: str, grammar: Grammar, image: Image) -> list[Phrase]:
    regions, start = list[Phrase](), 0
    for label, place in _items(marked, grammar.line, grammar.dialect.places.lines, grammar):
        end = start + len(label)
        regions.append(Phrase(label, start, end, image.place(place, grammar)))
        start = end + 1
    return regions


def _items(
    marked: str, pattern: re.Pattern[str], marks: tuple[str, str, str], grammar: Grammar
) -> list[tuple[str, str]]:
    """The text and place of each item of a list."""
    before, between, after = marks
    if not marked.startswith(before) or not marked.endswith(after):
        raise ValueError(f"expected {before}…{after}, found {marked[:80]!r}")
    whole = re.compile(f"{pattern.pattern}(?={re.escape(between)}|\\Z)", re.DOTALL)
    at, end, found = len(before), len(marked) - len(after), list[tuple[str, str]]()
    while at < end:
        match = whole.match(marked, at, end)
        if match is None:
            raise ValueError(f"expected {pattern.pattern!r}, found {marked[at : at + 80]!r}")
        label = (
            json.loads(match["label"])
            if match["label"][:1] == '"' and LABEL in pattern.pattern
            else match["label"]
        )
        found.append((grammar.refuse_control_token(label), match["place"]))
        at = match.end()
        if at < end:
            if not marked.startswith(between, at) or at + len(between) >= end:
                raise ValueError(f"expected {between!r}, found {marked[at : at + 80]!r}")
            at += len(between)
    return found


def _list(item: str, marks: tuple[str, str, str]) -> str:
    before, between, after = map(re.escape, marks)
    return f"{before}{item}(?:{between}{item})*{after}"


def _nameless(pattern: re.Pattern[str]) -> str:
    """The pattern without the names of its groups, so that it can stand in another one several times."""
    return re.sub(r"\(\?P<\w+>", "(?:", pattern.pattern)
