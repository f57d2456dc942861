"""Tables that are drawn with rules, as HTML: cells by the rules around them, text by its lines.

A table is only taken for one where its rules part its box into whole cells: every border of every cell is
drawn, or lacks where a cell spans several rows or columns, and each line lies in one cell.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Container, Iterator, Sequence
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from renderers.pdf.frames import Box, union
from renderers.pdf.grids import SAME_ROW_PT, TOUCH_PT, Grid
from renderers.pdf.pieces import Piece, rows_of

MOST_CELLS = 5000
DRAWN, PARTLY = 0.9, 0.25  # of a border, that is drawn; with less than the second none is
OPEN_CELLS, OPEN_EM = 2, 1.5  # of a column, with so wide a gap in a line: there may be two columns
MIN_TRACK_PT = 3.0  # a row or column narrower than this is a double rule

WIDE = re.compile(r"[\u2e80-\u9fff\uf900-\uffdc]")  # Chinese, which has no spaces

Taken = npt.NDArray[np.bool_]


class TableCell(NamedTuple):
    """A cell: its first row and column, how many it spans, and its lines in reading order."""

    row: int
    column: int
    rows: int
    columns: int
    pieces: list[Piece]


class RuledTable(NamedTuple):
    """A table with whole cells, from the top left."""

    box: Box
    rows: int
    columns: int
    cells: list[TableCell]


def table_of(grid: Grid, pieces: Sequence[Piece], labels: Sequence[Piece] = ()) -> RuledTable | None:
    """The table that a grid of rules draws, with the lines in it; None where it is no table of whole cells.

    `labels` are those of rows, left of the grid: they make a first column.
    """
    edges_x = tracks([(a + b) / 2 for a, b in grid.down[:, [0, 2]].tolist()])
    edges_y = tracks([(a + b) / 2 for a, b in grid.across[:, [1, 3]].tolist()])
    rows, columns = len(edges_y) - 1, len(edges_x) - 1
    if rows < 1 or columns < 1 or rows * columns < 2 or rows * columns > MOST_CELLS:
        return None
    down = drawn_borders(grid.down[:, [0, 2, 1, 3]], edges_x, edges_y)  # columns + 1 × rows
    across = drawn_borders(grid.across[:, [1, 3, 0, 2]], edges_y, edges_x)  # rows + 1 × columns
    if down is None or across is None or not (down[[0, -1]].all() and across[[0, -1]].all()):
        return None
    cells = whole_cells(down, across)
    if cells is None or not put_in(cells, pieces, edges_x, edges_y):
        return None
    if len(cells) < 2 or has_open_columns(cells):
        return None
    table = RuledTable((edges_x[0], edges_y[0], edges_x[-1], edges_y[-1]), rows, columns, cells)
    return with_labels(table, labels, edges_y) if labels else table


def with_labels(table: RuledTable, labels: Sequence[Piece], edges_y: Sequence[float]) -> RuledTable:
    """The table with labels of rows as its first column."""
    cells = [cell._replace(column=cell.column + 1) for cell in table.cells]
    first = [TableCell(row, 0, 1, 1, []) for row in range(table.rows)]
    for label in labels:
        first[bisect_right(edges_y, label.middle) - 1].pieces.append(label)
    box = reduce(union, (label.box for label in labels), table.box)
    both = sorted([*first, *cells], key=lambda cell: cell[:2])
    return RuledTable(box, table.rows, table.columns + 1, both)


def tracks(places: Sequence[float]) -> list[float]:
    """Where rules stand, those that are near each other made one."""
    out: list[list[float]] = []
    for place in sorted(places):
        if out and place - out[-1][0] < MIN_TRACK_PT:
            out[-1].append(place)
        else:
            out.append([place])
    return [sum(group) / len(group) for group in out]


def has_open_columns(cells: Sequence[TableCell]) -> bool:
    """True where half of a column's cells, two at least, hold texts far apart: columns that no rule parts."""
    held: dict[int, list[bool]] = {}
    for cell in cells:
        if cell.pieces:
            held.setdefault(cell.column, []).append(any(map(is_apart, rows_of(cell.pieces))))
    return any(sum(apart) >= max(OPEN_CELLS, len(apart) / 2) for apart in held.values())


def is_apart(row: Sequence[Piece]) -> bool:
    """True for pieces on one base line with a wide gap between two of them."""
    return any(piece.box[0] - last.box[2] > OPEN_EM * last.em for last, piece in pairwise(row))


def drawn_borders(
    rules: npt.NDArray[np.float64], across: Sequence[float], along: Sequence[float]
) -> Taken | None:
    """Which parts of which edges are drawn (edges × parts between those the other way); None where one half is.

    `rules` have first the two sides across, then where they begin and end along.
    """
    found = np.zeros((len(across), len(along) - 1), np.bool_)
    middles = (rules[:, 0] + rules[:, 1]) / 2
    for k, place in enumerate(across):
        near = rules[abs(middles - place) < MIN_TRACK_PT]
        for part, (start, end) in enumerate(pairwise(along)):
            share = covered(near[:, 2:], start, end) / (end - start)
            if PARTLY < share < DRAWN:
                return None
            found[k, part] = share >= DRAWN
    return found


def covered(spans: npt.NDArray[np.float64], start: float, end: float) -> float:
    """How much of an interval the spans cover; such as touch count as one."""
    total, reached = 0.0, start
    for low, high in sorted(spans.tolist()):
        low, high = max(low - TOUCH_PT / 2, reached), min(high + TOUCH_PT / 2, end)
        if high > low:
            total, reached = total + high - low, high
    return total


def whole_cells(down: Taken, across: Taken) -> list[TableCell] | None:
    """The cells that borders part, each a rectangle; None where some are none."""
    rows, columns = down.shape[1], across.shape[1]
    taken = np.zeros((rows, columns), np.bool_)
    cells = []
    for row in range(rows):
        for column in range(columns):
            if taken[row, column]:
                continue
            wide = next(k for k in range(1, columns - column + 1) if down[column + k, row])
            high = next(k for k in range(1, rows - row + 1) if across[row + k, column])
            inside_down = down[column + 1 : column + wide, row : row + high]
            inside_across = across[row + 1 : row + high, column : column + wide]
            sides = (down[column, row : row + high], down[column + wide, row : row + high])
            ends = (across[row, column : column + wide], across[row + high, column : column + wide])
            part = taken[row : row + high, column : column + wide]
            if (
                inside_down.any()
                or inside_across.any()
                or part.any()
                or not all(s.all() for s in (*sides, *ends))
            ):
                return None
            part[:] = True
            cells.append(TableCell(row, column, high, wide, []))
    return cells


def put_in(
    cells: Sequence[TableCell], pieces: Sequence[Piece], edges_x: Sequence[float], edges_y: Sequence[float]
) -> bool:
    """Put each line, in reading order, into its cell; False where one lies in none, or across a border."""
    for piece in pieces:
        u0, v0, u1, v1 = piece.box
        for cell in cells:
            left, right = edges_x[cell.column], edges_x[cell.column + cell.columns]
            top, bottom = edges_y[cell.row], edges_y[cell.row + cell.rows]
            middle = (v0 + v1) / 2
            if u0 >= left - TOUCH_PT and u1 <= right + TOUCH_PT and top <= middle < bottom:
                cell.pieces.append(piece)
                break
        else:
            return False
    return True


def html_of(table: RuledTable, text: Sequence[str], heads: Container[int] = ()) -> str:
    """The table as HTML; `text` are all lines', by their indices, `heads` the numbers of heading cells.

    A cell's lines are joined as those of a paragraph. White space between tags there is none.
    """
    rows: list[list[str]] = [[] for _ in range(table.rows)]
    for number, cell in enumerate(table.cells):
        rows[cell.row].append(cell_html(cell, "th" if number in heads else "td", text))
    return "<table>" + "".join(f"<tr>{''.join(row)}</tr>" for row in rows) + "</table>"


def cell_html(cell: TableCell, tag: str, text: Sequence[str]) -> str:
    """One cell."""
    spans = f' rowspan="{cell.rows}"' * (cell.rows > 1) + f' colspan="{cell.columns}"' * (cell.columns > 1)
    said = joined_text([text[index] for piece in cell.pieces for index in piece.members])
    return f"<{tag}{spans}>{html.escape(said, quote=False)}</{tag}>"


def joined_text(texts: Sequence[str]) -> str:
    """Lines as one text: no space in Chinese, nor after a hyphen, which may or may not be the word's own."""
    out = texts[0] if texts else ""
    for text in texts[1:]:
        close = out.endswith("-") or (WIDE.match(out[-1:]) and WIDE.match(text[:1]))
        out += text if close else f" {text}"
    return out


def largest_first(grids: Sequence[Grid]) -> Iterator[Grid]:
    """The grids, but for those within another one: a table in a table's cell is its text."""
    kept: list[Box] = []
    for grid in reversed(grids):
        x0, y0, x1, y1 = grid.box
        if not any(
            a <= x0 + SAME_ROW_PT
            and b <= y0 + SAME_ROW_PT
            and c >= x1 - SAME_ROW_PT
            and d >= y1 - SAME_ROW_PT
            for a, b, c, d in kept
        ):
            kept.append(grid.box)
            yield grid
