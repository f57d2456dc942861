"""Columns of running text, told by how many of its lines stand beside each other."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from statistics import median
from typing import NamedTuple

from renderers.pdf.pieces import Piece, by_content, rows_of, strips_of

LINES = 3  # of running text that a column has at least, beside another column
GUTTER_EM = 0.5  # narrower white space parts no columns
CONFLICTS = 0.15  # of the lines of a column: so many may reach into the other one
CELL_LINES = 2  # of cells, on average, that the content takes for such
CELL_EM = 0.4  # white space between rows of them
HEADER_EM = 1.0  # white space that parts a running header or footer from the columns


class Split(NamedTuple):
    """Pieces on both sides of a gutter, and those right across it."""

    left: list[Piece]
    right: list[Piece]
    across: list[Piece]


def split_of(pieces: Sequence[Piece]) -> Split | None:
    """The pieces parted at the best gutter between running text; None where there is none."""
    prose = [piece for piece in pieces if piece.is_prose]
    if len(prose) < 2 * LINES:
        return None
    em = median(piece.em for piece in prose)
    tried = (tried_split(pieces, start - GUTTER_EM * em / 5, em) for start in starts(prose, em))
    found = [split for split in tried if split is not None]
    if not found:
        return None
    return min(found, key=lambda s: (len(s.across), -min(count_prose(s.left), count_prose(s.right))))


def count_prose(pieces: Sequence[Piece]) -> int:
    """How many lines of running text there are."""
    return sum(piece.is_prose for piece in pieces)


def starts(prose: Sequence[Piece], em: float) -> Iterator[float]:
    """Where at least LINES lines begin together, but for the leftmost place."""
    held: list[float] = []
    leftmost = True
    for start in [*sorted(piece.box[0] for piece in prose), float("inf")]:
        if held and start - held[-1] > em:
            if len(held) >= LINES and not leftmost:
                yield held[0]
            held, leftmost = [], False
        held.append(start)


def tried_split(pieces: Sequence[Piece], at: float, em: float) -> Split | None:
    """The pieces parted at `at`; None where that is no gutter between columns of running text."""
    left = [piece for piece in pieces if piece.box[2] <= at - GUTTER_EM * em]
    right = [piece for piece in pieces if piece.box[0] >= at]
    facing = min(len(beside(left, right)), len(beside(right, left)))
    if facing < LINES:
        return None
    beyond = [piece for piece in pieces if piece.box[0] < at and piece.box[2] > at - GUTTER_EM * em]
    rest = sorted([*left, *right], key=lambda piece: piece.middle)
    middles = [piece.middle for piece in rest]
    across = []
    conflicts = 0
    for piece in beyond:
        if has_neighbour(piece, middles):
            conflicts += 1
            (left if at - piece.box[0] > piece.box[2] - at else right).append(piece)
        else:
            across.append(piece)
    if conflicts > CONFLICTS * facing:
        return None
    return Split(left, right, across)


def beside(column: Sequence[Piece], other: Sequence[Piece]) -> list[Piece]:
    """The lines of running text in a column that stand at the height of those in another one."""
    heights = [piece.middle for piece in other if piece.is_prose]
    if not heights:
        return []
    low, high = min(heights), max(heights)
    return [piece for piece in column if piece.is_prose and piece.box[3] > low and piece.box[1] < high]


def has_neighbour(piece: Piece, middles: Sequence[float]) -> bool:
    """True where one of the `middles`, in order, lies at the height of the piece."""
    k = bisect_left(middles, piece.box[1])
    return k < len(middles) and middles[k] < piece.box[3]


def bands_of(split: Split) -> Iterator[tuple[list[Piece], list[Piece]]]:
    """From the top, in turn: the pieces left and right between those across, and some across (with none)."""
    across = crossing(split)
    heights = [piece.middle for piece in across]
    bands: list[tuple[list[Piece], list[Piece]]] = [([], []) for _ in range(len(across) + 1)]
    chosen = {piece.members for piece in across}
    for side, pieces in enumerate((split.left, split.right)):
        for piece in pieces:
            if piece.members not in chosen:
                bands[bisect_left(heights, piece.middle)][side].append(piece)
    held: list[Piece] = []
    for k, band in enumerate(bands):
        if band[0] or band[1]:
            if held:
                yield held, []
            held = []
            yield band
        held += across[k : k + 1]
    if held:
        yield held, []


def crossing(split: Split) -> list[Piece]:
    """What parts the columns from the top: pieces right across, running headers, rows of a table of both."""
    everything = [*split.left, *split.right, *split.across]
    across = {piece.members: piece for piece in split.across}
    strips = strips_of(everything)
    for strip, next_ in ((strips[0], strips[1:2]), (strips[-1], strips[-2:-1])):
        if next_ and is_header(strip, next_[0]):
            across |= {piece.members: piece for piece in strip}
    lefts = {piece.members for piece in split.left}
    for row in rows_of([*split.left, *split.right]):
        if is_table_row(row, lefts):
            across |= {piece.members: piece for piece in row}
    return sorted(across.values(), key=lambda piece: piece.middle)


def is_header(strip: Sequence[Piece], next_: Sequence[Piece]) -> bool:
    """True for a row at the top or bottom of the page that white space parts from the rest."""
    top, bottom = min(p.box[1] for p in strip), max(p.box[3] for p in strip)
    gap = max(min(p.box[1] for p in next_) - bottom, top - max(p.box[3] for p in next_))
    return gap > HEADER_EM * strip[0].em and len(rows_of(strip)) == 1 and count_prose(strip) < 2


def is_table_row(row: Sequence[Piece], lefts: set[tuple[int, ...]]) -> bool:
    """True for cells on both sides of the gutter that follow each other in the content, from the left."""
    if len(row) < 3 or any(piece.is_prose for piece in row):
        return False
    ranks = [piece.rank for piece in row]
    follows = ranks == sorted(ranks) and ranks[-1] - ranks[0] == len(row) - 1
    return follows and len({piece.members in lefts for piece in row}) == 2


def content_rows(columns: Sequence[Sequence[Piece]]) -> list[list[Piece]]:
    """The pieces of columns in rows of cells, where the content has gone through such rows; else all in one.

    A row ends where the content comes back to an earlier column, and all that follows lies below all that
    came before. Rows of single lines are none: so content that goes across running text is told.
    """
    place = {piece.members: k for k, column in enumerate(columns) for piece in column}
    read = by_content([piece for column in columns for piece in column])
    tops = list(accumulate((piece.box[1] for piece in reversed(read)), min))[::-1]  # of all that follows
    rows: list[list[Piece]] = [[]]
    bottom = float("-inf")
    for piece, top in zip(read, tops, strict=True):
        back = rows[-1] and place[piece.members] < place[rows[-1][-1].members]
        if back and top - bottom > CELL_EM * piece.em:
            rows.append([])
        rows[-1].append(piece)
        bottom = max(bottom, piece.box[3])
    return rows if len(read) >= CELL_LINES * len(columns) * len(rows) else [read]
