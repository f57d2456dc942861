"""Columns of running text, told by how many of its lines stand beside each other."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from statistics import median
from typing import NamedTuple

from renderers.pdf.pieces import Piece, by_content, gap_between, rows_of, strips_of, switches

LINES = 3  # of running text that a column has at least, beside another column
GUTTER_EM = 0.5  # narrower white space parts no columns
CONFLICTS = 0.15  # of the lines of a column: so many may reach into the other one
# A line that reaches so far into the other column, where that is empty, is still its own column's
OVERHANG_EM = 3.0
BODY_LINES = 8  # of running text on both sides below a head, or above a foot, that has other columns
BODY_SHARE = 0.4  # of all running text
CUT_EM = 0.9  # white space between a head or foot and the columns, at least
MOST_CUTS = 40  # places where a head or foot may end that are tried
CELL_LINES = 2  # of cells, on average, that the content takes for such
CELL_EM = 0.4  # white space between rows of them
ENTRY_ROWS = 4  # of entries beside each other, such as a form's, at least
MOST_ENTRIES = 2.2  # of a row, on average: more are columns in columns
ACROSS = 0.9  # of the steps between columns that reading across takes: so many tell that the content does
FULL = 0.85  # of the width of its column is a full line
WIDEST = 0.9  # of a column's lines are no wider than it
FULL_SHARE = 0.6  # of the lines of running text: with fewer full ones they are entries
TABLE_ROWS = 2  # that a table right across both columns has at least
HEADER_EM = 1.0  # white space that parts a running header or footer from the columns
HEADER_GAP = 1.2  # times as much as between the next rows


class Split(NamedTuple):
    """Pieces on both sides of a gutter, and those right across it."""

    left: list[Piece]
    right: list[Piece]
    across: list[Piece]
    conflicts: int  # how many of them reach into the other column


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


def zones_of(pieces: Sequence[Piece]) -> tuple[list[Piece], list[Piece]] | None:
    """The pieces in two zones, from the top, one of which has columns of running text; None where none has.

    Authors above an article's columns, or a table below them, stand across its gutter in columns of their own.
    """
    prose = count_prose(pieces)
    if prose < 2 * BODY_LINES:
        return None
    least = max(BODY_LINES, BODY_SHARE * prose / 2)
    found: list[tuple[int, float, tuple[list[Piece], list[Piece]]]] = []
    em = median(piece.em for piece in pieces if piece.is_prose)
    for *zones, gap in cuts(pieces, CUT_EM * em):
        above, below = zones
        for body, rest in ((below, above), (above, below)):
            split = split_of(body) if count_prose(body) >= 2 * least else None
            if split and min(count_prose(split.left), count_prose(split.right)) >= least:
                faults = split.conflicts + len(split.across) + count_in_columns(rest, split)
                found.append((faults, -gap, (above, below)))
    return min(found, key=lambda one: one[:2])[2] if found else None


def count_in_columns(rest: Sequence[Piece], split: Split) -> int:
    """How many lines of running text elsewhere begin where those of the columns do."""
    edges = [median(p.box[0] for p in side if p.is_prose) for side in (split.left, split.right)]
    return sum(piece.is_prose and any(abs(piece.box[0] - at) < piece.em for at in edges) for piece in rest)


def cuts(pieces: Sequence[Piece], least: float) -> Iterator[tuple[list[Piece], list[Piece], float]]:
    """What is above and below white bands across of at least so much, which comes third.

    At the top ones first, then from the bottom.
    """
    strips = strips_of(pieces)
    bottoms = list(accumulate((max(p.box[3] for p in strip) for strip in strips), max))
    tops = list(accumulate((min(p.box[1] for p in strip) for strip in reversed(strips)), min))[::-1]
    places = range(1, len(strips))
    for k in dict.fromkeys([*places[: MOST_CUTS // 2], *places[-MOST_CUTS // 2 :][::-1]]):
        gap = tops[k] - bottoms[k - 1]
        if gap >= least:
            yield [p for strip in strips[:k] for p in strip], [p for strip in strips[k:] for p in strip], gap


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
        neighbour = has_neighbour(piece, middles)
        if neighbour or min(at - piece.box[0], piece.box[2] - at) < OVERHANG_EM * em:
            conflicts += neighbour
            (left if at - piece.box[0] > piece.box[2] - at else right).append(piece)
        else:
            across.append(piece)
    if conflicts > CONFLICTS * facing:
        return None
    return Split(*hung(left, right), across, conflicts)


def hung(left: list[Piece], right: list[Piece]) -> tuple[list[Piece], list[Piece]]:
    """The columns, with short pieces that hang to the left of what the content has right after them put there.

    So numbers stand before the headings of the right column.
    """
    after = {piece.rank: piece for piece in right}
    hanging = {
        piece.members
        for piece in left
        if not piece.is_prose
        and (next_ := after.get(piece.rank + 1)) is not None
        and piece.box[1] < next_.middle < piece.box[3]
        and 0 <= next_.box[0] - piece.box[2] < OVERHANG_EM * piece.em
    }
    if not hanging:
        return left, right
    return (
        [piece for piece in left if piece.members not in hanging],
        [*right, *(piece for piece in left if piece.members in hanging)],
    )


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
    for strip, *inner in (strips[:3], strips[::-1][:3]):
        if is_header(strip, inner):
            across |= {piece.members: piece for piece in strip}
    lefts = {piece.members for piece in split.left}
    table = [row for row in rows_of([*split.left, *split.right]) if is_table_row(row, lefts)]
    if len(table) >= TABLE_ROWS:
        across |= {piece.members: piece for row in table for piece in row}
    return sorted(across.values(), key=lambda piece: piece.middle)


def is_header(strip: Sequence[Piece], inner: Sequence[Sequence[Piece]]) -> bool:
    """True for a row at the top or bottom of the page that white space parts from the rest.

    `inner` are the next two strips from there: where these stand as far apart, it is one of the rows.
    """
    if not inner or len(rows_of(strip)) > 1 or count_prose(strip) >= 2:
        return False
    away = gap_between(strip, inner[0])
    usual = gap_between(*inner) if len(inner) > 1 else 0.0
    return away > HEADER_EM * strip[0].em and away > HEADER_GAP * usual


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


def are_entries(columns: Sequence[Sequence[Piece]]) -> bool:
    """True for entries in rows, such as a form's: the content goes across, and most lines leave room at their ends."""
    place = {piece.members: k for k, column in enumerate(columns) for piece in column}
    pieces = [piece for column in columns for piece in column]
    taken = switches(place[piece.members] for piece in by_content(pieces))
    rows = rows_of(pieces)
    most = switches(place[piece.members] for row in rows for piece in row)
    if len(rows) < ENTRY_ROWS or taken < ACROSS * most or len(pieces) > MOST_ENTRIES * len(rows):
        return False
    widths = [[p.box[2] - p.box[0] for p in column if p.is_prose] for column in columns]
    full = sum(width >= FULL * usual_width(column) for column in widths for width in column)
    return full < FULL_SHARE * sum(map(len, widths))


def usual_width(widths: Sequence[float]) -> float:
    """The width of a column: of its widest lines, but for the odd one that reaches beyond it."""
    return sorted(widths)[int(WIDEST * len(widths))] if widths else 0.0
