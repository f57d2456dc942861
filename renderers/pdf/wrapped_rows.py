"""Rows of a table without rules whose cells are wrapped, where the content has all cells line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from renderers.pdf.pieces import Piece, by_content, gap_between, strips_of, together
from renderers.pdf.sections import columns, sections, usual_height

WRAP_EM = 0.6  # white space between the lines of one cell, at most
MORE_EM = 0.4  # so much more white space, at least, stands between two rows
WRAPPED_ROWS = 2  # of several lines, at least
LONGEST = 0.5  # of these, at least, have one cell that is longer than all others

Strip = Sequence[Piece]


def with_wrapped_rows(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces, each row of a table whose cells are wrapped as one, cell by cell.

    Only rows that the content has line by line: a content that has each cell whole tells of them by itself.
    """
    if len(pieces) < 2:
        return list(pieces)
    rows = [
        row for section in sections(strips_of(pieces), usual_height(pieces)) for row in wrapped_rows(section)
    ]
    taken = {piece.members for row in rows for piece in row}
    rest = (piece for piece in pieces if piece.members not in taken)
    return by_content([*map(together, rows), *rest])


def wrapped_rows(section: Sequence[Strip]) -> list[list[Piece]]:
    """The rows of several lines in a section, each cell by cell; none where white space does not tell of such."""
    em = usual_height([piece for strip in section for piece in strip])
    cells = columns([piece for strip in section for piece in strip], em)
    least = threshold([gap_between(one, other) for one, other in pairwise(section)], em)
    if len(cells) < 2 or least is None:
        return []
    column = {piece.members: k for k, cell in enumerate(cells) for piece in cell}
    rows: list[list[Strip]] = [[section[0]]]
    for above, strip in pairwise(section):
        if gap_between(above, strip) >= least:
            rows.append([])
        rows[-1].append(strip)
    rows = [row for row in rows if len(row) > 1]
    held = [[{column[piece.members] for piece in strip} for strip in row] for row in rows]
    if len(held) < WRAPPED_ROWS or not all(map(begin_together, held)):
        return []
    if sum(map(has_longest, held)) < LONGEST * len(held) or not all(map(is_line_by_line, rows)):
        return []
    return [
        sorted((p for strip in row for p in strip), key=lambda p: (column[p.members], p.middle))
        for row in rows
    ]


def is_line_by_line(row: Sequence[Strip]) -> bool:
    """True where the content has a row's lines from the top, each from the left."""
    read = [piece.rank for strip in row for piece in sorted(strip, key=lambda piece: piece.box[0])]
    return read == sorted(read)


def threshold(gaps: Sequence[float], em: float) -> float | None:
    """From which white space on lines are in two rows; None where that is not clear."""
    close = max((gap for gap in gaps if gap <= WRAP_EM * em), default=None)
    wide = min((gap for gap in gaps if gap > WRAP_EM * em), default=None)
    if close is None or wide is None or wide - close < MORE_EM * em:
        return None
    return wide


def begin_together(row: Sequence[set[int]]) -> bool:
    """True where each of a row's cells begins in its first line and has no gap; `row` are the columns in each line."""
    return len(row[0]) > 1 and all(below <= above for above, below in pairwise(row))


def has_longest(row: Sequence[set[int]]) -> bool:
    """True where one cell of a row has more lines than each other one."""
    (_, most), (_, second) = Counter(column for line in row for column in line).most_common(2)
    return most > second
