"""Training strings back into what they were made of: strict, so that what it accepts has one reading."""

from __future__ import annotations

import re
import string
from typing import NamedTuple

import numpy as np

from curate.tasks.coordinates import pixels_of
from curate.tasks.formats import CONTROL_TOKEN, FORMATS, LANGUAGE_NAMES

POINT = r"\(\d{1,3},\d{1,3}\)"
BOX = rf"<box>{POINT},{POINT}</box>"
QUAD = rf"<quad>{POINT},{POINT},{POINT},{POINT}</quad>"
PLAIN = rf"(?:(?!{CONTROL_TOKEN}).)+"
GROUNDED = re.compile(rf"<ref>({PLAIN})</ref>((?:{BOX})+)", re.DOTALL)
LINE = re.compile(rf"<ref>({PLAIN})</ref> ({QUAD})(?: (?=<ref>)|\Z)", re.DOTALL)
CONTROL = re.compile(CONTROL_TOKEN)

FIELD_PATTERNS = {
    "img": r"<img>(?:(?!</img>).)+</img>",
    "language": "|".join(LANGUAGE_NAMES.values()),
    "boxes": rf"(?:{BOX})+",
}


class Phrase(NamedTuple):
    """A region read back: its quad holds the pixels in the middle of the coordinates' steps."""

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


def parse(task: str, target: str, width: int, height: int, prompt: str = "") -> Parsed:
    """The inverse of `render` for one row; what stands in the prompt is None without it.

    Raises:
        ValueError: not a string of that task's format.
    """
    if task not in FORMATS:
        raise ValueError(f"no task {task!r} (there are: {', '.join(FORMATS)})")
    found = _fields(FORMATS[task].target, target)
    found |= _fields(FORMATS[task].prompt, prompt) if prompt else {}
    text = found.get("text")
    regions: list[Phrase] = []
    for raw in (text, found.get("question"), found.get("answer")):
        _refuse_control_token(raw or "")
    if "grounded" in found:
        text, regions = _grounded(found["grounded"], width, height)
    elif "lines" in found:
        regions = _lines(found["lines"], width, height)
        text = "\n".join(region.text or "" for region in regions)
    elif "boxes" in found:
        regions = [Phrase(text, None, None, quad) for quad in _boxes(found["boxes"], width, height)]
    return Parsed(text, found.get("question"), found.get("answer"), regions)


def _fields(template: str, filled: str) -> dict[str, str]:
    """What fills the template's fields."""
    pattern = ""
    for literal, field, _, _ in string.Formatter().parse(template):
        pattern += re.escape(literal) + (f"(?P<{field}>{FIELD_PATTERNS.get(field, '.+')})" if field else "")
    match = re.fullmatch(pattern, filled, re.DOTALL)
    if match is None:
        raise ValueError(f"{filled[:200]!r} is not of the form {template!r}")
    return match.groupdict()


def _grounded(marked: str, width: int, height: int) -> tuple[str, list[Phrase]]:
    text, regions, done = "", [], 0
    for match in GROUNDED.finditer(marked):
        text += _refuse_control_token(marked[done : match.start()])
        span = len(text), len(text) + len(match[1])
        regions += [Phrase(match[1], *span, quad) for quad in _boxes(match[2], width, height)]
        text, done = text + match[1], match.end()
    return text + _refuse_control_token(marked[done:]), regions


def _lines(marked: str, width: int, height: int) -> list[Phrase]:
    regions, done, start = [], 0, 0
    while match := LINE.match(marked, done):
        end = start + len(match[1])
        regions.append(Phrase(match[1], start, end, tuple(_pixels(match[2], width, height))))
        start, done = end + 1, match.end()
    if done != len(marked):
        raise ValueError(f"expected <ref>line</ref> <quad>…</quad>, found {marked[done : done + 80]!r}")
    return regions


def _boxes(marked: str, width: int, height: int) -> list[tuple[float, ...]]:
    """The quads of boxes one after another."""
    edges = np.reshape(_pixels(marked, width, height), (-1, 4))
    return [tuple(map(float, box[[0, 1, 2, 1, 2, 3, 0, 3]])) for box in edges]


def _pixels(marked: str, width: int, height: int) -> list[float]:
    steps = np.array([int(number) for number in re.findall(r"\d+", marked)]).reshape(-1, 2)
    points = np.stack([pixels_of(steps[:, 0], width), pixels_of(steps[:, 1], height)], axis=1)
    return [float(value) for value in points.ravel()]


def _refuse_control_token(raw: str) -> str:
    if found := CONTROL.search(raw):
        raise ValueError(f"{found[0]!r} stands where there is only text: {raw[:80]!r}")
    return raw
