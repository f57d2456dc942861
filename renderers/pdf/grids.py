"""Tables and boxes that rules are drawn around: which lines they hold, cell by cell."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from renderers.pdf.frames import Box
from renderers.pdf.pieces import Piece

TOUCH_PT = 2.0  # rules so near each other meet
MAX_RULES = 1500  # of a page whose tables are looked for: a map or a chart has more
LABELS = 3  # of rows, left of a grid, at least
LABEL_EM = 4.0  # from the longest of them to the grid, at most
LABELLED = 0.6  # of the rows that hold something
SAME_ROW_PT = 3.0  # tops of cells so near each other are one row's
# Lines of a cell beside as many rows, at least, that are its rows' too though no rule parts them
UNPARTED = 4
LEVEL_EM = 0.3  # lines whose middles are so near each other stand at one height

Rules = npt.NDArray[np.float64]  # M × (u0, v0, u1, v1), each a rule's box


class Grid(NamedTuple):
    """Rules that meet each other, and the box around them."""

    box: Box
    down: Rules
    across: Rules

    def cell(self, piece: Piece) -> Box:
        """The cell that the middle of a piece lies in: the nearest rule on each side, else the grid's side.

        A row's label left of the grid has a cell of its own, as high as the first in its row.
        """
        u, v = (piece.box[0] + piece.box[2]) / 2, piece.middle
        if u < self.box[0]:
            left, top, _, bottom = self.cell(
                piece._replace(box=(self.box[0], piece.box[1], self.box[0] + 1, piece.box[3]))
            )
            return left - 1, top, left, bottom
        beside = self.down[(self.down[:, 1] <= v + TOUCH_PT) & (self.down[:, 3] >= v - TOUCH_PT)]
        above = self.across[(self.across[:, 0] <= u + TOUCH_PT) & (self.across[:, 2] >= u - TOUCH_PT)]
        left, right = nearest((beside[:, 0] + beside[:, 2]) / 2, u, self.box[0], self.box[2])
        top, bottom = nearest((above[:, 1] + above[:, 3]) / 2, v, self.box[1], self.box[3])
        return left, top, right, bottom

    def holds(self, piece: Piece) -> bool:
        """True where the middle of a piece lies within the grid."""
        u, v = (piece.box[0] + piece.box[2]) / 2, piece.middle
        return self.box[0] <= u <= self.box[2] and self.box[1] <= v <= self.box[3]


def row_labels(grid: Grid, pieces: Sequence[Piece]) -> list[Piece]:
    """The labels of a grid's rows, where they stand left of it; none where that is not sure.

    `pieces` are the page's. Labels are short, each beside a row of its own that holds something; most such rows
    have one, and the longest ends near the grid. Nothing else stands at their side.
    """
    x0, y0, _, y1 = grid.box
    beside = [piece for piece in pieces if piece.box[2] <= x0 + TOUCH_PT and y0 < piece.middle < y1]
    if (
        len(beside) < LABELS
        or len(grid.down) < LABELS
        or any(piece.is_prose or not piece.chars for piece in beside)
    ):
        return []
    filled = {grid.cell(piece)[1] for piece in pieces if grid.holds(piece)}
    rows = {grid.cell(piece)[1] for piece in beside}
    near = x0 - max(piece.box[2] for piece in beside) <= LABEL_EM * beside[0].em
    words = 2 * sum(piece.number for piece in beside) < len(beside)
    sure = near and words and len(rows) == len(beside) and rows <= filled
    return beside if sure and len(rows) >= LABELLED * len(filled) else []


def nearest(places: npt.NDArray[np.float64], at: float, low: float, high: float) -> tuple[float, float]:
    """The places next to `at` below and above, else `low` and `high`."""
    below, above = places[places <= at], places[places > at]
    return float(below.max(initial=low)), float(above.min(initial=high))


def grids_of(rules: Sequence[Box]) -> Iterator[Grid]:
    """The groups of rules that meet and part cells or make a box, the smallest first."""
    if not 3 <= len(rules) <= MAX_RULES:
        return
    table = np.array(rules, np.float64)
    found = []
    for group in groups_of(table):
        upright = group[:, 3] - group[:, 1] > group[:, 2] - group[:, 0]
        down, across = group[upright], group[~upright]
        if len(down) >= 1 and len(across) >= 2:
            low, high = group[:, :2].min(axis=0).tolist(), group[:, 2:].max(axis=0).tolist()
            found.append(Grid((*low, *high), down, across))
    yield from sorted(found, key=lambda grid: area(grid.box))


def area(box: Box) -> float:
    """The area of a box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def groups_of(rules: Rules) -> Iterator[Rules]:
    """The rules in groups that touch, whichever way through others; those that touch none are left out."""
    low, high = rules[:, :2] - TOUCH_PT / 2, rules[:, 2:] + TOUCH_PT / 2
    met = np.ones((len(rules), len(rules)), np.bool_)
    for axis in (0, 1):
        met &= np.less_equal.outer(low[:, axis], high[:, axis])
        met &= np.greater_equal.outer(high[:, axis], low[:, axis])
    left = np.count_nonzero(met, axis=1) > 1
    for first in np.flatnonzero(left).tolist():
        if not left[first]:
            continue
        group = met[first] & left
        front = np.flatnonzero(group)
        while len(front):
            reached = met[front].any(axis=0) & ~group
            front = np.flatnonzero(reached)
            group |= reached
        left &= ~group
        yield rules[group]


def rows_of_cells(grid: Grid, pieces: Sequence[Piece]) -> list[list[list[Piece]]]:
    """The pieces that a grid holds: rows from the top, cells of each from the left, their pieces."""
    found: dict[Box, list[Piece]] = {}
    for piece in pieces:
        found.setdefault(grid.cell(piece), []).append(piece)
    cells = parted_by_rows(found)
    rows: list[list[Box]] = []
    for cell in sorted(cells, key=lambda cell: cell[1]):
        if rows and cell[1] - rows[-1][0][1] < SAME_ROW_PT:
            rows[-1].append(cell)
        else:
            rows.append([cell])
    return [[cells[cell] for cell in sorted(row)] for row in rows]


def parted_by_rows(cells: Mapping[Box, list[Piece]]) -> dict[Box, list[Piece]]:
    """The cells, those beside several rows that hold a line for each of them parted like these.

    Tables often have rules around all columns but that of their rows' labels.
    """
    out: dict[Box, list[Piece]] = {}
    for cell, pieces in cells.items():
        rows = rows_beside(cell, pieces, cells)
        for piece in pieces:
            _, top, _, bottom = rows.get(piece.members, cell)
            out.setdefault((cell[0], top, cell[2], bottom), []).append(piece)
    return out


def rows_beside(
    cell: Box, pieces: Sequence[Piece], cells: Mapping[Box, Sequence[Piece]]
) -> dict[tuple[int, ...], Box]:
    """By the members of each of a cell's lines: a lower cell at its height; none unless all have one of their own."""
    if len(pieces) < UNPARTED:
        return {}
    lines = sorted(
        (line.middle, other)
        for other, held in cells.items()
        if cell[1] <= other[1] + TOUCH_PT
        and other[3] <= cell[3] + TOUCH_PT
        and other[3] - other[1] < (cell[3] - cell[1]) / 2
        for line in held
    )
    rows: dict[tuple[int, ...], Box] = {}
    for piece in pieces:
        first = bisect_left(lines, (piece.middle - LEVEL_EM * piece.em,))
        if first == len(lines) or lines[first][0] > piece.middle + LEVEL_EM * piece.em:
            return {}
        rows[piece.members] = lines[first][1]
    return rows if len({row[1] for row in rows.values()}) == len(pieces) else {}
