"""Columns of Chinese and Japanese that are read downwards, and furigana, the small readings beside characters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from renderers.pdf.frames import DOWN, LEVEL, Box, turned, union
from renderers.pdf.line import Line, spelt

# The next part of a column begins at most so far below: a stop takes up a cell but has little ink
NEXT_EM = 1.3
BACK_EM = 0.3  # and so far at most above the end of the last one
SIZES = 0.7, 1.4  # of a part's size to that of the one before: furigana are smaller
LEVEL_CHARS = 4  # of a level part, such as a number of two digits, at most
SHARED = 0.6  # of the narrower part's width lies within the other one's
SMALL = 0.65  # times the size of the text that it stands beside is the size of furigana, at most
NEAR_EM = 0.5  # and so far from it, in its size, at most
MOST = 400  # small lines of a page that are compared with the others
READING = re.compile(r"[\u3041-\u30ff\u3105-\u312f\s・ー]+")  # kana, and the signs of Taiwan's schools


def whole_columns(lines: Sequence[Line]) -> list[Line]:
    """The lines, with the parts of each column that is read downwards made one.

    The lines have glyphs, and are in the order of content. A column's parts are its upright characters, words and
    dashes that are turned, and numbers that stand level in it.
    """
    if not any(line.stacked for line in lines):
        return list(lines)
    out: list[Line] = []
    for line in lines:
        if out and goes_on_down(out[-1], line):
            last = out[-1]
            glyphs = [*last.glyphs, *line.glyphs]
            out[-1] = replace(
                last,
                text=spelt(glyphs),
                box=union(down_box(last), down_box(line)),
                turn=DOWN,
                axis=DOWN,
                size=max(last.size, line.size),
                painted=min(last.painted, line.painted),
                doubtful=last.doubtful or line.doubtful,
                stacked=True,
                glyphs=glyphs,
            )
        else:
            out.append(line)
    return out


def down_box(line: Line) -> Box:
    """A level line's box, or that of one that is read downwards, in the frame of those read downwards."""
    return turned(line.box, DOWN) if line.turn == LEVEL else line.box


def goes_on_down(last: Line, line: Line) -> bool:
    """True where a line is the next part of a column."""
    if not (last.stacked or line.stacked) or not all(map(may_be_part, (last, line))):
        return False
    if not SIZES[0] * last.size <= line.size <= SIZES[1] * last.size:
        return False
    (_, v0, end, v1), (start, w0, _, w1) = down_box(last), down_box(line)
    shared = min(v1, w1) - max(v0, w0)
    return -BACK_EM * line.size <= start - end < NEXT_EM * line.size and shared >= SHARED * min(
        v1 - v0, w1 - w0
    )


def may_be_part(line: Line) -> bool:
    """True for what is read downwards, and for a few level characters."""
    return line.turn == DOWN or (line.turn == LEVEL and len(line.text) <= LEVEL_CHARS)


def parted_furigana(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """The lines without furigana, and the furigana."""
    sizes = {line.size for line in lines}
    small = [line for line in lines if line.size <= SMALL * max(sizes) and READING.fullmatch(line.text)]
    if not 0 < len(small) <= MOST:
        return list(lines), []
    beside = {id(line) for line in small if any(is_furigana(line, base) for base in lines)}
    return [line for line in lines if id(line) not in beside], [line for line in small if id(line) in beside]


def is_furigana(line: Line, base: Line) -> bool:
    """True for a small line right above a line (right of a column that is read downwards), no longer than it."""
    if line.turn != base.turn or line.size > SMALL * base.size:
        return False
    (u0, _, u1, bottom), (x0, top, x1, _) = line.box, base.box
    near = abs(top - bottom) <= NEAR_EM * base.size
    return near and u0 >= x0 - base.size and u1 <= x1 + base.size
