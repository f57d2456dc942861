"""The order in which a person reads a page's lines, from where they stand, what is drawn, and the content.

Rules that are drawn part tables into cells, which are read row by row, each whole. Of the rest, columns of
running text are told by their lines: these are read one after the other, down to what goes right across.
What remains is cut at white bands right across it into strips; strips one below the other through which the
same gutter runs make a section, which is read down or across. Where the boxes leave that open, the order of
content decides. All parts are cut again in the same way, down to single lines.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from renderers.pdf.asides import with_asides_first
from renderers.pdf.content_order import is_readable, without_misplaced_ends
from renderers.pdf.flow import breaks, is_steady, leaps
from renderers.pdf.form_pairs import with_pairs
from renderers.pdf.frames import Box
from renderers.pdf.grids import grids_of, row_labels, rows_of_cells
from renderers.pdf.hanging_marks import with_leaders, with_marks
from renderers.pdf.initials import with_initials
from renderers.pdf.line_numbers import with_line_numbers
from renderers.pdf.pieces import Piece, by_content, rows_of, strips_of, switches, together
from renderers.pdf.sections import columns, sections, usual_height
from renderers.pdf.text_columns import are_entries, bands_of, content_rows, count_prose, split_of, zones_of
from renderers.pdf.wrapped_rows import with_wrapped_rows

COLUMN_LINES = 3  # a column of running text has at least so many lines
PROSE_SHARE = 0.5  # and so much of its characters are in long ones
NUMBERS = 0.4  # of cells: with so many numbers among them they are a table's, read across
DOWN = 0.4  # of the steps between columns that reading across takes: with fewer the content goes down
HALF_COLUMNS, HALF_ROWS = 2, 3  # of each half of a list in two columns, at least
PATCHY = 3  # times as many cells in a row of a table as stand on one base line, at least
RIGHT_ACROSS = 0.9  # of the width of all text is the length of a rule that parts it, at least
ACROSS = 4  # for each piece that goes on in its cell: with more that go on to the right a strip is a row
BEYOND = 3  # rows of a box beside which the content goes on, at least: it is no block
DEEPEST = 16  # cuts inside cuts
WORSE, SOME = 1.25, 2  # times as many faults, and so many more, tell that an order is worse
MOST_ZONED = 1000  # lines of a page that is looked at for a head or foot with other columns
MOST = 4000  # lines that are put in order; of more the content's order is kept


def reading_order(pieces: Sequence[Piece], rules: Sequence[Box] = ()) -> list[int]:
    """The pieces' indices in reading order; `pieces` are in the order of content.

    `rules` are the boxes of drawn rules, in the same frame as those of the pieces.
    """
    if len(pieces) > MOST:
        return list(range(len(pieces)))
    blocks = with_leaders(with_line_numbers(with_initials(pieces)))
    for grid in grids_of(rules):
        held = [piece for piece in blocks if grid.holds(piece)]
        if len(held) > 1:
            held += row_labels(grid, blocks)
            rows = rows_of_cells(grid, held)
            if max(map(len, rows)) == 1 and goes_beyond(held, blocks):
                continue
            taken = {piece.members for piece in held}
            blocks = [piece for piece in blocks if piece.members not in taken]
            blocks.append(together(better(read_grid(rows), held, leaps)))
    blocks = with_wrapped_rows(with_pairs(with_marks(blocks)))
    found = without_misplaced_ends(blocks) or better(ordered_in_zones(blocks, rules), blocks, breaks)
    found = with_asides_first(found)
    return [index for piece in found for index in piece.members]


def ordered_in_zones(pieces: Sequence[Piece], rules: Sequence[Box]) -> list[Piece]:
    """The pieces in reading order, all above a rule drawn right across the page before all below it."""
    return [piece for zone in zones_by_rules(pieces, rules) for piece in ordered(by_content(zone), DEEPEST)]


def zones_by_rules(pieces: Sequence[Piece], rules: Sequence[Box]) -> list[list[Piece]]:
    """The pieces parted at the rules that run right across the page between them, from the top."""
    left = min((piece.box[0] for piece in pieces), default=0.0)
    right = max((piece.box[2] for piece in pieces), default=0.0)
    heights = sorted(
        (v0 + v1) / 2
        for u0, v0, u1, v1 in rules
        if v1 - v0 < u1 - u0 and min(u1, right) - max(u0, left) >= RIGHT_ACROSS * (right - left)
    )
    zones: list[list[Piece]] = []
    bottom = float("-inf")
    for strip in strips_of(pieces):
        top = min(piece.box[1] for piece in strip)
        if not zones or bisect_left(heights, bottom) < bisect_right(heights, top):
            zones.append([])
        zones[-1] += strip
        bottom = max(bottom, *(piece.box[3] for piece in strip))
    return zones


def goes_beyond(held: Sequence[Piece], pieces: Sequence[Piece]) -> bool:
    """True where the content goes on beside most rows of a box: it is drawn around parts of a proof, or of a form."""
    inside = {piece.members for piece in held}
    beyond = sum(
        last.members in inside
        and piece.members not in inside
        and piece.box[0] >= last.box[2]
        and last.box[1] < piece.middle < last.box[3]
        for last, piece in pairwise(by_content(pieces))
    )
    return beyond >= max(BEYOND, len(rows_of(held)) / 2)


def better(
    found: list[Piece], pieces: Sequence[Piece], faults: Callable[[Sequence[Piece]], int]
) -> list[Piece]:
    """The order found, unless the order of content has clearly fewer faults."""
    content = by_content(pieces)
    return content if faults(found) > WORSE * faults(content) + SOME else found


def read_grid(rows: Iterable[Sequence[list[Piece]]]) -> list[Piece]:
    """A drawn table's pieces: cell by cell; where one row holds several, not parted by rules, row by row.

    Where rules are drawn anew for each line, a little apart, there are far more cells than stand beside each other.
    """
    out: list[Piece] = []
    for cells in rows:
        place = {piece.members: k for k, cell in enumerate(cells) for piece in cell}
        lines = rows_of([piece for cell in cells for piece in cell])
        beside = max(len({place[piece.members] for piece in line}) for line in lines)
        patchy = len(cells) > PATCHY * beside
        full = sum(len(line) >= (beside if patchy else len(cells)) for line in lines) >= 0.7 * len(lines)
        if len(cells) > 1 and len(lines) > 1 and full and not goes_down(cells):
            out += [piece for line in lines for piece in line]
        else:
            for cell in cells:
                out += ordered(with_pairs(with_marks(cell)), DEEPEST)
    return out


def ordered(pieces: list[Piece], depth: int) -> list[Piece]:
    """The pieces in reading order."""
    if len(pieces) < 2 or depth == 0:
        return [piece for row in rows_of(pieces) for piece in row]
    if is_readable(content := by_content(pieces)):
        return content
    split = split_of(pieces)
    if split is None:
        if len(pieces) <= MOST_ZONED and (zones := zones_of(pieces)):
            return [piece for zone in zones for piece in ordered(zone, depth - 1)]
        return by_sections(pieces, depth)
    out: list[Piece] = []
    rows = content_rows([split.left, split.right])
    if len(rows) > 1:
        for row in with_across(rows, split.across):
            out += ordered(row, depth - 1)
        return out
    for left, right in bands_of(split):
        if left and right and are_entries([left, right]):
            out += [piece for row in rows_of([*left, *right]) for piece in row]
        elif left and right and (count_prose(left) < 2 or count_prose(right) < 2):
            out += by_sections([*left, *right], depth)
        else:
            out += [*ordered(left, depth - 1), *ordered(right, depth - 1)]
    return out


def with_across(rows: Sequence[list[Piece]], across: Sequence[Piece]) -> list[list[Piece]]:
    """Rows of cells, from the top, with what stands right across the page: each with the row below it."""
    bottoms = [max(piece.box[3] for piece in row) for row in rows]
    out = [list(row) for row in rows]
    for piece in across:
        out[min(bisect_left(bottoms, piece.middle), len(rows) - 1)].append(piece)
    return out


def by_sections(pieces: list[Piece], depth: int) -> list[Piece]:
    """The pieces in reading order, section by section."""
    em = usual_height(pieces)
    out: list[Piece] = []
    for section in sections(strips_of(pieces), em):
        whole = [piece for strip in section for piece in strip]
        if is_readable(content := by_content(whole)):
            out += content
            continue
        across = columns(whole, em)
        if len(section) == len(across) == 1:
            out += uncut(whole)
            continue
        if len(section) > 1 and not reads_down(across):
            head, rest = without_end(section, across)
            if halves := halves_of(columns(head, em)):
                out += [*(piece for half in halves for piece in uncut(half)), *ordered(rest, depth - 1)]
                continue
            across = [cell for row in cell_rows(section, across, em) for cell in cells_of(row, across, em)]
        for column in across:
            out += ordered(column, depth - 1)
    return out


def without_end(
    section: Sequence[list[Piece]], columns: Sequence[Sequence[Piece]]
) -> tuple[list[Piece], list[Piece]]:
    """A section's pieces as far as its strips hold more than one column, and those of the strips after that."""
    place = {piece.members: k for k, column in enumerate(columns) for piece in column}
    full = [k for k, strip in enumerate(section) if len({place[piece.members] for piece in strip}) > 1]
    end = full[-1] + 1 if full else len(section)
    head, rest = section[:end], section[end:]
    return [piece for strip in head for piece in strip], [piece for strip in rest for piece in strip]


def halves_of(columns: Sequence[list[Piece]]) -> list[list[Piece]]:
    """The columns in two halves that the content has one after the other, each across; none where it does not.

    So has a list in two columns, such as a table of contents, whose entries have columns of their own. What the
    content has after both, and stands below both, comes third.
    """
    for k in range(HALF_COLUMNS, len(columns) - HALF_COLUMNS + 1):
        sides = columns[:k], columns[k:]
        left, second = ([piece for column in side for piece in column] for side in sides)
        start, end = min(piece.rank for piece in second), max(piece.rank for piece in second)
        bottom = max(piece.box[3] for piece in second)
        first = [piece for piece in left if piece.rank < start]
        after = [piece for piece in left if piece.rank > end and piece.box[1] >= bottom]
        if len(first) + len(after) < len(left) or any(
            len(rows_of(half)) < HALF_ROWS for half in (first, second)
        ):
            continue
        if not any(goes_down(side) for side in sides):
            return [first, second, after]
    return []


def uncut(pieces: list[Piece]) -> list[Piece]:
    """Pieces that no white space parts: as the content has them where that leads steadily down."""
    read = by_content(pieces)
    return read if is_steady(read) else [piece for row in rows_of(pieces) for piece in row]


def reads_down(columns: Sequence[Sequence[Piece]]) -> bool:
    """True where a section's columns are read one after the other."""
    if all(runs(column) for column in columns):
        return len(content_rows(columns)) == 1
    cells = [piece for column in columns for piece in column]
    if sum(piece.number for piece in cells) >= NUMBERS * len(cells):
        return False
    return goes_down(columns)


def runs(column: Sequence[Piece]) -> bool:
    """True for a column of running text."""
    chars = sum(piece.chars for piece in column)
    prose = [piece.chars for piece in column if piece.is_prose]
    return len(prose) >= COLUMN_LINES and sum(prose) >= PROSE_SHARE * chars


def goes_down(columns: Sequence[Sequence[Piece]]) -> bool:
    """True where the content goes through the columns one after the other, rather than row by row."""
    place = {piece.members: k for k, column in enumerate(columns) for piece in column}
    pieces = [piece for column in columns for piece in column]
    least = len(columns) - 1
    most = switches(place[piece.members] for row in rows_of(pieces) for piece in row)
    taken = switches(place[piece.members] for piece in by_content(pieces))
    return most > least and taken <= least + DOWN * (most - least)


def cell_rows(
    section: Sequence[list[Piece]], columns: Sequence[Sequence[Piece]], em: float
) -> list[list[Piece]]:
    """The strips of a section that is read across; those that hold parts of one cell, together.

    Such a cell's lines follow each other in the content and stand close. Where the content has most of a strip from
    left to right, it is a row by itself.
    """
    place = {piece.members: k for k, column in enumerate(columns) for piece in column}
    rank = {piece.members: k for k, piece in enumerate(by_content(p for strip in section for p in strip))}
    out: list[list[Piece]] = []
    for strip in section:
        last = {rank[piece.members]: piece for piece in out[-1]} if out else {}
        ranks = {rank[piece.members] for piece in strip}
        across = sum(rank[piece.members] - 1 in ranks for piece in strip)
        on = sum(
            (above := last.get(rank[piece.members] - 1)) is not None
            and place[piece.members] == place[above.members]
            and piece.box[1] - above.box[3] < 0.6 * em
            for piece in strip
        )
        if on and across <= ACROSS * on:
            out[-1] += strip
        else:
            out.append(list(strip))
    return out


def cells_of(row: list[Piece], across: Sequence[Sequence[Piece]], em: float) -> list[list[Piece]]:
    """A row's cells, from the left: parted by its own gutters where it is one strip, else by those of its section.

    What stands in one column of the section may be a table of its own.
    """
    if len(strips_of(row)) == 1:
        return columns(row, em)
    inside = {piece.members for piece in row}
    cells = ([piece for piece in column if piece.members in inside] for column in across)
    return [cell for cell in cells if cell]
