"""Lines put together of the pieces in which MuPDF finds them, and their glyphs in the order of reading."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from renderers.pdf.bidi import RTL, in_reading_order
from renderers.pdf.frames import DOWN, LEVEL, Box, Turn, turned, union
from renderers.pdf.initials import is_initial, is_one_word, parts_initial
from renderers.pdf.levels import parts_levels
from renderers.pdf.line import SPACE, Line, around, spelt
from renderers.pdf.list_marks import DASHES, is_mark
from renderers.pdf.rules import Rules

SAME_LINE_EM = 0.8  # pieces of one line lie at most so far apart
WIDE_EM = 2.5  # and so far where running text around them has no gutter there
SPACE_EM = 0.15  # from here on a gap between pieces is a space
LEADERS = frozenset(". ·…‥")
STACKED = 3  # upright characters below each other that make a column
STACK_EM = 1.6  # upright characters that far below each other still make a column
SHADOW_EM = 0.25  # so far at most is a line painted again to look bold or shaded


def joined(lines: Sequence[Line], rules: Rules) -> list[Line]:
    """The lines, with those that follow each other on one base line without a wide gap or a rule made one."""
    out: list[Line] = []
    for i, line in enumerate(lines):
        if out and len(line.text) == 1:
            line = unmirrored(out[-1], line, lines[i + 1 : i + 2])
        left, right = beside(out[-1], line) if out else (line, line)
        gap = gap_em(left, right) if out else math.inf
        near = gap < SAME_LINE_EM or (
            gap < WIDE_EM
            and (
                lead(left, right) or hangs(left) or bridged(left, right, [*out[-4:-1], *lines[i + 1 : i + 4]])
            )
        )
        if (
            near
            and not parts_initial(left, right)
            and not parts_levels(left, right)
            and not rules.part(line.turn, left.box, right.box, min(left.size, right.size))
        ):
            last = out[-1]
            space = gap > SPACE_EM and not (is_initial(left, right) and is_one_word(left.text, right.text))
            last.text += " " * space + line.text
            if last.glyphs:
                last.glyphs = last.glyphs + [SPACE] * space + line.glyphs
            last.box = union(last.box, line.box)
            last.painted = min(last.painted, line.painted)
            last.doubtful |= line.doubtful
        else:
            out.append(line)
    return out


def unmirrored(last: Line, line: Line, after: Sequence[Line]) -> Line:
    """A single letter, in the frame of the lines around it where it is mirrored and stands in one: XeTeX's second."""
    (x, y), (x2, y2) = last.turn, line.turn
    if abs(x + x2) + abs(y + y2) > 1e-6 or last.stacked:
        return line
    u0, v0, u1, v1 = line.box
    found = replace(line, box=(-u1, -v1, -u0, -v0), turn=last.turn, axis=last.axis, base=-line.base)
    near = gap_em(last, found) < SAME_LINE_EM or any(gap_em(found, next_) < SAME_LINE_EM for next_ in after)
    return found if near else line


def lead(left: Line, right: Line) -> bool:
    """True for dots that lead the eye across a form or a table of contents: they are one line of dots."""
    return LEADERS.issuperset(left.text) and LEADERS.issuperset(right.text)


def hangs(left: Line) -> bool:
    """True for a list's mark that stands alone, other than a dash, which may be what a cell of a table holds."""
    return is_mark(left.text) and left.text not in DASHES


def beside(last: Line, line: Line) -> tuple[Line, Line]:
    """Two lines that follow each other, first the left one: right-to-left writing goes on at the left."""
    leftwards = line.box[0] < last.box[0] and RTL.search(last.text + line.text)
    return (line, last) if leftwards else (last, line)


def gap_em(last: Line, line: Line) -> float:
    """How far `line` starts from where `last` ends, in ems; infinite where it is on another base line."""
    if last.turn != line.turn or last.stacked != line.stacked:
        return math.inf
    (_, top, end, bottom), (start, top2, _, bottom2) = last.box, line.box
    em = min(last.size, line.size) or 1.0
    shared = min(bottom, bottom2) - max(top, top2)
    same = start - end > -0.3 * em and shared >= 0.5 * min(bottom - top, bottom2 - top2)
    return (start - end) / em if same else math.inf


def bridged(last: Line, line: Line, around: Sequence[Line]) -> bool:
    """True where a line right above or below spans the gap: it is white space in a line, not a gutter."""
    return any(
        near.turn == line.turn
        and near.box[0] < last.box[2]
        and near.box[2] > line.box[0]
        and abs(near.box[1] - line.box[1]) < 2 * line.size
        for near in around
    )


def read_from_right(line: Line) -> Iterator[Line]:
    """The line with its glyphs in the order of reading, parted at gutters, if some of it is right-to-left."""
    if not RTL.search(line.text):
        yield line
        return
    boxes = [turned(glyph["bbox"], line.axis) if "bbox" in glyph else line.box for glyph in line.glyphs]
    for run in in_reading_order(line.glyphs, boxes, SPACE_EM * line.size, WIDE_EM * line.size):
        if run:  # not so where there were but controls
            yield line.of(run)


def stacks(lines: Sequence[Line]) -> list[Line]:
    """The lines, with runs of single Chinese characters below each other made columns read downwards.

    A run has three characters at least; on a page most of which reads downwards, one: a column's end.
    """
    runs: list[list[Line]] = []
    for line in lines:
        if runs and is_single(line) and is_single(runs[-1][-1]) and below(runs[-1][-1], line):
            runs[-1].append(line)
        else:
            runs.append([line])
    least = STACKED
    if 2 * sum(len(run) for run in runs if len(run) >= STACKED) > sum(len(line.text) for line in lines):
        least = 1
    out: list[Line] = []
    for run in runs:
        out += [stack(run)] if len(run) >= least and is_single(run[0]) else run
    return out


def is_single(line: Line) -> bool:
    """True for one upright character of Chinese writing, punctuation included."""
    text = line.text
    return (
        line.turn == LEVEL
        and len(text) == 1
        and ("\u2e80" <= text <= "\u9fff" or "\uf900" <= text <= "\uffef")
    )


def below(last: Line, line: Line) -> bool:
    """True where `line` stands right under `last`, by where the glyphs start: a comma's box is off it."""
    (x0, y0), (x1, y1) = last.glyphs[0]["origin"], line.glyphs[0]["origin"]
    return bool(abs(x1 - x0) < 0.3 * line.size and 0 < y1 - y0 < STACK_EM * line.size)


def stack(run: Sequence[Line]) -> Line:
    """One column of upright characters."""
    glyphs = [line.glyphs[0] for line in run]
    box, painted = turned(around(glyphs), DOWN), min(line.painted for line in run)
    return replace(
        run[0],
        text=spelt(glyphs),
        box=box,
        turn=DOWN,
        axis=DOWN,
        painted=painted,
        stacked=True,
        glyphs=glyphs,
    )


def distinct(lines: Sequence[Line]) -> list[Line]:
    """The lines without those that only thicken or shade the same text at the same place."""
    out: list[Line] = []
    places: dict[tuple[str, Turn], list[Box]] = {}
    for line in lines:
        same = places.setdefault((line.text, line.turn), [])
        near = SHADOW_EM * line.size
        (u, v, *_) = line.box
        if not any(abs(box[0] - u) < near and abs(box[1] - v) < near for box in same):
            same.append(line.box)
            out.append(line)
    return out
