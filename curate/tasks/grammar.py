"""The regular expressions that parse a dialect's strings, and the pixels that their numbers stand for."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from curate.tasks.coordinates import pixels_from
from curate.tasks.dialect import Dialect
from curate.tasks.formats import LANGUAGE_NAMES
from curate.tasks.image_cost import image_costs
from curate.tasks.row_faults import control_token

LABEL = r'"(?:[^"\\]|\\.)*"'  # a JSON string
AXES = [f"{axis}{number}" for number in range(1, 5) for axis in "xy"]


class Phrase(NamedTuple):
    """A region that was parsed: its quad holds the pixels (x1, y1, …, y4) that the written numbers stand for."""

    text: str | None
    start: int | None  # code points into the text
    end: int | None
    quad: tuple[float, ...]


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
        """A pattern for raw text without control tokens."""
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
        return list_pattern(nameless(self.box), self.dialect.places.boxes)

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
    def span(self) -> re.Pattern[str]:
        """A place within a dialogue: a `phrase` with `its` boxes, a `list` of entries, or boxes or quads `alone`."""
        places = self.dialect.places
        spot = f"(?:{nameless(self.box)}|{nameless(self.quad)})" if places.quad else nameless(self.box)
        spots = list_pattern(spot, places.boxes)
        found = [f"(?P<alone>{spots})"]
        if places.ref:
            opening, closing = map(re.escape, places.ref)
            anything = f"(?:(?!{control_token(self.dialect)}).)+"
            found.insert(0, f"{opening}(?P<phrase>{anything}){closing}(?P<its>{spots})?")
        elif "{label}" in places.entry:
            found.insert(0, f"(?P<list>{self.patterns['entries']})")
        return re.compile("|".join(found), re.DOTALL)

    @cached_property
    def patterns(self) -> dict[str, str]:
        """The patterns of a format's fields by name; other fields may hold any text."""
        places, marks = self.dialect.places, self.dialect.image
        shown = re.escape(marks.before + marks.pad + marks.after)
        path = rf"{re.escape(marks.before)}(?:(?!{re.escape(marks.after)}).)+{re.escape(marks.after)}"
        found = {"img": path if marks.shows_path else shown, "language": "|".join(LANGUAGE_NAMES.values())}
        found |= {"code": "|".join(LANGUAGE_NAMES), "text": ".+?"}
        found |= {"boxes": self.boxes} if places.box else {}
        found |= {"entries": list_pattern(nameless(self.entry), places.entries)} if places.entry else {}
        return found

    def fields(self, template: str, filled: str) -> dict[str, str]:
        """The text of each of the template's fields in the text `filled`.

        Raises:
            ValueError: the text does not match the template.
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
        """Check that a text holds no control token; returns the text.

        Raises:
            ValueError: it holds one.
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
        found = {"text": self.plain, "label": LABEL, "box": nameless(self.box), "quad": nameless(self.quad)}
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
    """The image that coordinates refer to."""

    dialect: Dialect
    width: int  # pixels
    height: int

    @cached_property
    def resized(self) -> tuple[int, int]:
        """Width and height in pixels to which the model resizes the image."""
        costs = image_costs(self.dialect.cost, np.array([self.width]), np.array([self.height]))
        return int(costs.width[0]), int(costs.height[0])

    def spots(self, marked: str, grammar: Grammar) -> list[tuple[float, ...]]:
        """The quads of the boxes and quads in a text, in their order."""
        found = [*grammar.box.finditer(marked)]
        if grammar.dialect.places.quad:
            found = sorted([*found, *grammar.quad.finditer(marked)], key=lambda match: match.start())
        return [self._quad(match) for match in found]

    def boxes(self, marked: str, grammar: Grammar) -> list[tuple[float, ...]]:
        """The quads of the boxes in a text."""
        return [self._quad(match) for match in grammar.box.finditer(marked)]

    def place(self, marked: str, grammar: Grammar) -> tuple[float, ...]:
        """The quad of a text that is one quad or box."""
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


def list_pattern(item: str, marks: tuple[str, str, str]) -> str:
    """A pattern for a list of items; `marks` are what is written before, between and after the items."""
    before, between, after = map(re.escape, marks)
    return f"{before}{item}(?:{between}{item})*{after}"


def nameless(pattern: re.Pattern[str]) -> str:
    """The pattern without the names of its groups, so that it can stand in another one several times."""
    return re.sub(r"\(\?P<\w+>", "(?:", pattern.pattern)
