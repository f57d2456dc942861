"""Parse training strings into what they were made from. It is strict: a string that it accepts has one meaning."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from curate.tasks.dialect import Dialect
from curate.tasks.formats import CONVERSATION, QWEN_VL
from curate.tasks.grammar import LABEL, Grammar, Image, Phrase, grammar_of
from curate.tasks.parse_chat import parse_dialogue


class Parsed(NamedTuple):
    """What a target and prompt say; None for a field that the task does not have. A page's text is its lines."""

    text: str | None
    question: str | None
    answer: str | None
    regions: list[Phrase]
    messages: list[tuple[str, str]] | None = None  # of a dialogue: role and content
    paths: list[str | None] | None = None  # of a dialogue's images, where the dialect shows them


def parse(
    task: str, target: str, width: int, height: int, prompt: str = "", dialect: Dialect = QWEN_VL
) -> Parsed:
    """The inverse of `render` for one row; without the prompt, the fields that only it holds are None.

    `width` and `height` are the image's, in pixels. A dialogue is read from its prompt and target together (see
    `curate.tasks.parse_chat`); if width and height are above 0, its boxes are read too, and all its images are taken to
    have that size. Where a dialect has no marks for phrases, a grounded caption's phrases are searched for in its text,
    in order.

    Raises:
        ValueError: the strings do not have the task's format, or the dialect has no such task.
    """
    if task == CONVERSATION:
        whole = prompt + target
        shown = whole.count(dialect.image.before or dialect.image.pad)
        spoken = parse_dialogue(whole, dialect, [(width, height)] * shown if width and height else None)
        return Parsed(None, None, None, spoken.regions, spoken.messages, spoken.paths)
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


def _grounded(marked: str, grammar: Grammar, image: Image) -> tuple[str, list[Phrase]]:
    text, regions, done = "", list[Phrase](), 0
    for match in grammar.phrase.finditer(marked):
        text += grammar.refuse_control_token(marked[done : match.start()])
        span = len(text), len(text) + len(match[1])
        regions += [Phrase(match[1], *span, quad) for quad in image.boxes(match[2], grammar)]
        text, done = text + match[1], match.end()
    return text + grammar.refuse_control_token(marked[done:]), regions


def _entries(marked: str, text: str | None, grammar: Grammar, image: Image) -> list[Phrase]:
    """Each box with its phrase and the phrase's position in `text`.

    A phrase is searched for behind the one before it, then in the whole text; equal neighbours share a position.
    """
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
