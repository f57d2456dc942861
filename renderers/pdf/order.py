"""The order in which a person reads boxes on a page: columns found from the white space between them.

The page is cut at white bands right across it into strips; strips one below the other through which the same
vertical gutter runs make a section. A section of running text is read column by column, one of a table or a
form row by row. Columns and cells are cut again in the same way, down to single lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

Box = tuple[float, float, float, float]  # u0, v0, u1, v1 with u along the lines and v down the page
Interval = tuple[float, float]

GUTTER_EM = 0.9  # narrower white space parts words, not columns; an em is the median height of the boxes
OVERLAP = 0.05  # this much of a box's height may overlap the row above: tall glyphs, tight leading
COLUMN_EM = 9.0  # lines of running text are longer
COLUMN_FILL = 0.6  # and fill their column
COLUMN_LINES = 3  # and there are more than a few
DEEPEST = 16  # cuts inside cuts


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """The boxes' indices in reading order."""
    if not boxes:
        return []
    em = median(v1 - v0 for _, v0, _, v1 in boxes) or 1.0
    return ordered(list(range(len(boxes))), boxes, em, DEEPEST)


def ordered(ids: list[int], boxes: Sequence[Box], em: float, depth: int) -> list[int]:
    """The indices `ids` in reading order."""
    if len(ids) < 2 or depth == 0:
        return by_row(ids, boxes)
    out: list[int] = []
    for section in sections(strips(ids, boxes), boxes, em):
        whole = [i for strip in section for i in strip]
        across = columns(whole, boxes, em)
        if len(section) == len(across) == 1:
            out += by_row(whole, boxes)
            continue
        if len(section) > 1 and not runs_in_columns(across, boxes, em):
            across = [column for strip in section for column in columns(strip, boxes, em)]
        for column in across:
            out += ordered(column, boxes, em, depth - 1)
    return out


def by_row(ids: Sequence[int], boxes: Sequence[Box]) -> list[int]:
    """Boxes that no white space parts: from the top, those on one base line from the left."""
    if len(ids) == 1:
        return list(ids)
    rows: list[list[int]] = []
    for i in sorted(ids, key=lambda i: boxes[i][1] + boxes[i][3]):
        if rows and boxes[i][1] + boxes[i][3] < 2 * boxes[rows[-1][0]][3]:
            rows[-1].append(i)
        else:
            rows.append([i])
    return [i for row in rows for i in sorted(row, key=lambda i: boxes[i][0])]


def strips(ids: Sequence[int], boxes: Sequence[Box]) -> list[list[int]]:
    """The boxes in groups between which white bands cross the page, from the top."""
    out: list[list[int]] = []
    bottom = float("-inf")
    for i in sorted(ids, key=lambda i: boxes[i][1]):
        _, v0, _, v1 = boxes[i]
        slack = OVERLAP * (v1 - v0)
        if v0 + slack >= bottom:
            out.append([])
        out[-1].append(i)
        bottom = max(bottom, v1 - slack)
    return out


def sections(strips: Sequence[list[int]], boxes: Sequence[Box], em: float) -> list[list[list[int]]]:
    """Neighbouring strips that share a gutter, together; each other strip alone."""
    out: list[list[list[int]]] = []
    held: list[Interval] = []  # what the boxes of the last section cover of the page's width
    bottom = 0.0
    for strip in strips:
        here = [boxes[i] for i in strip]
        if len(here) == 1 and not held:
            out.append([strip])
            bottom = here[0][3]
            continue
        shared = cover(here, held) if len(held) > 1 else held
        near = min(box[1] for box in here) - bottom < 3 * em
        if len(parted(shared, em)) > 1 and (near or len(parted(cover(here, []), em)) > 1):
            out[-1].append(strip)
            held = shared
        else:
            out.append([strip])
            held = cover(here, [])
            held = held if len(parted(held, em)) > 1 else []  # without a gutter there is none to share
        bottom = max(box[3] for box in here)
    return out


def cover(boxes: Sequence[Box], held: Sequence[Interval]) -> list[Interval]:
    """The union of the boxes' widths and of `held`, as disjoint intervals from the left."""
    if len(boxes) == 1 and not held:
        return [(boxes[0][0], boxes[0][2])]
    out: list[Interval] = []
    for start, end in sorted([*held, *((box[0], box[2]) for box in boxes)]):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def parted(covered: Sequence[Interval], em: float) -> list[Interval]:
    """The intervals, with those that no gutter parts made one."""
    out: list[Interval] = []
    for start, end in covered:
        if out and start - out[-1][1] < GUTTER_EM * em:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def columns(ids: Sequence[int], boxes: Sequence[Box], em: float) -> list[list[int]]:
    """The boxes in groups between which gutters run down, from the left."""
    spans = parted(cover([boxes[i] for i in ids], []), em) if len(ids) > 1 else []
    if len(spans) < 2:
        return [list(ids)]
    return [[i for i in ids if start <= boxes[i][0] <= end] for start, end in spans]


def runs_in_columns(columns: Sequence[Sequence[int]], boxes: Sequence[Box], em: float) -> bool:
    """True where the columns hold running text: some long lines in each, that fill it."""
    for column in columns:
        widths = [boxes[i][2] - boxes[i][0] for i in column]
        room = max(boxes[i][2] for i in column) - min(boxes[i][0] for i in column)
        if len(column) < COLUMN_LINES or median(widths) < max(COLUMN_EM * em, COLUMN_FILL * room):
            return False
    return True
