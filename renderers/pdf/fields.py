"""The values of a form's fields, which MuPDF paints after all else: each is put right behind its label."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from renderers.pdf.frames import Box, turned
from renderers.pdf.line import Line
from renderers.pdf.mupdf import mupdf, pymupdf

MOST_FIELDS = 500  # of a page that are looked at
MOST_LINES = 2000  # of a page whose fields are looked at
SLACK_PT = 1.0  # so far may a value reach over its field's edge, or a label into the field
BESIDE_EM, ABOVE_EM = 20.0, 1.5  # from a label to its field, at most


def beside_labels(lines: Sequence[Line], page: pymupdf.Page) -> list[Line]:
    """A page's lines in the order of its content, but for its fields' values: each follows its label, if it has one."""
    boxes = list(islice(field_boxes(page), MOST_FIELDS))
    if len(lines) > MOST_LINES:
        return list(lines)
    start = len(lines)
    homes: list[Box] = []  # of the lines from `start` on, the last one's first
    while start and (home := field_of(lines[start - 1], boxes)) is not None:
        homes.append(home)
        start -= 1
    out = [[line] for line in lines[:start]]
    rest: list[Line] = []
    labels: dict[Box, int] = {}
    for line, box in zip(lines[start:], reversed(homes), strict=True):
        if box not in labels:
            labels[box] = label_of(line, box, lines[:start])
        place = labels[box]
        (rest if place < 0 else out[place]).append(line)
    return [line for label in out for line in label] + rest


def field_boxes(page: pymupdf.Page) -> Iterator[Box]:
    """The boxes of the fields of a page's form, in points of the page as shown."""
    widget = mupdf.pdf_first_widget(mupdf.pdf_page_from_fz_page(page.this))
    while widget.m_internal:
        box = mupdf.pdf_bound_widget(widget)
        yield box.x0, box.y0, box.x1, box.y1
        widget = mupdf.pdf_next_widget(widget)


def field_of(line: Line, boxes: Sequence[Box]) -> Box | None:
    """The field that a line stands in, in the line's frame; None where it stands in none."""
    if line.turn != line.axis:
        return None
    for box in boxes:
        u0, v0, u1, v1 = turned(box, line.axis)
        if (
            u0 - SLACK_PT <= line.box[0]
            and line.box[2] <= u1 + SLACK_PT
            and v0 <= (line.box[1] + line.box[3]) / 2 <= v1
        ):
            return u0, v0, u1, v1
    return None


def label_of(line: Line, field: Box, labels: Sequence[Line]) -> int:
    """The place of the text nearest to the left of a field, or right above it; -1 where there is none."""
    found, least = -1, math.inf
    for place, label in enumerate(labels):
        if label.turn == line.turn and (away := away_from(field, label)) < least:
            found, least = place, away
    return found


def away_from(field: Box, label: Line) -> float:
    """How far a label is from a field, in points; infinite where it is neither left of it nor above it."""
    (left, top, right, bottom), (u0, v0, u1, v1) = field, label.box
    if u1 <= left + SLACK_PT and top <= (v0 + v1) / 2 <= bottom:
        return max(0.0, left - u1) if left - u1 <= BESIDE_EM * label.size else math.inf
    if v1 <= top + SLACK_PT and u0 < right and u1 > left:
        return max(0.0, top - v1) if top - v1 <= ABOVE_EM * label.size else math.inf
    return math.inf
