"""Whether the order of a page's content is one in which a person may read it, by where its pieces stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise, product

from renderers.pdf.pieces import Piece, by_content, gap_between, rows_of, strips_of

SLACK_EM = 0.25  # so far may the boxes on the two sides of a cut overlap
LINE_GAP_EM = 0.6  # white space between two lines of one text, at most
TABLE_ROWS = 3  # of a table of numbers, at least
FOOTER_EM = 1.2  # white space above a footer at the end of a column, at least
NUMBERS = 0.4  # share of the pieces beside each other: with so many numbers they are a table's, read across
MOST_LEFT = 1  # lines of running text that may be left for one beside them before the text ends
DEEPEST = 24  # cuts inside cuts
MOST_ENDS = 3  # strips at the top, and at the bottom, that may hold a running header or footer
ACROSS, DOWN = 0, 1  # the directions in which a part's pieces may stand, as places in a box


def is_readable(read: Sequence[Piece]) -> bool:
    """True where an order follows cuts of the page: each part is read whole, before what is below or right of it.

    `read` are pieces in the order to judge. Cuts are white bands across all the pieces of a part, or gutters down
    through it. An order that goes across columns of running text line by line, or down the columns of a table of
    numbers, is not readable though it follows cuts.
    """
    return not goes_across_text(read) and follows_cuts(read, DEEPEST)


def without_misplaced_ends(pieces: Sequence[Piece]) -> list[Piece]:
    """A page's pieces as the content has them, but for rows at its top and bottom; none where that is not readable.

    The content often has running headers, footers and numbers of pages before, or after, all else. A row of several
    pieces that the content has in the midst of all else may be a table's.
    """
    strips = strips_of(pieces)
    tops, bottoms = header_counts(strips), header_counts(strips[::-1])
    for bottom, top in sorted(product(bottoms, tops), key=sum):
        end = len(strips) - bottom
        if top >= end:
            continue
        middle = by_content(piece for strip in strips[top:end] for piece in strip)
        first, last = middle[0].rank, middle[-1].rank
        above, below = strips[:top], strips[end:]
        inside = any(first < p.rank < last for strip in (*above, *below) if len(strip) > 1 for p in strip)
        head, foot = ([p for strip in part for p in across(strip)] for part in (above, below))
        elsewhere = any(piece.rank > first for piece in head) or any(piece.rank < last for piece in foot)
        if not inside and (elsewhere or not head + foot) and is_readable(middle):
            return [*head, *middle, *foot]
    return []


def header_counts(strips: Sequence[Sequence[Piece]]) -> list[int]:
    """How many strips from the first on may be a running header (or footer, seen from the bottom); 0 is the first.

    They are single rows, parted by white space from what follows.
    """
    counts = [0]
    for count, (strip, next_) in enumerate(pairwise(strips[: MOST_ENDS + 1]), 1):
        if len(rows_of(strip)) > 1:
            break
        if gap_between(strip, next_) > LINE_GAP_EM * strip[0].em:
            counts.append(count)
    return counts


def across(strip: Iterable[Piece]) -> list[Piece]:
    """The pieces of a strip from the left."""
    return sorted(strip, key=lambda piece: piece.box[0])


def goes_across_text(read: Sequence[Piece]) -> bool:
    """True where an order leaves lines of running text for lines beside them, and comes back to go on with the text."""
    left = 0
    for place, (line, beside) in enumerate(pairwise(read), 2):
        if (
            line.is_prose
            and beside.is_prose
            and beside.box[0] >= line.box[2]
            and abs(beside.middle - line.middle) < line.em
        ):
            left += any(is_next_line(line, later) for later in read[place:])
            if left > MOST_LEFT:
                return True
    return False


def is_next_line(line: Piece, later: Piece) -> bool:
    """True for running text that stands right below a line."""
    gap = later.box[1] - line.box[3]
    return (
        later.is_prose
        and -SLACK_EM * line.em < gap < LINE_GAP_EM * line.em
        and later.box[0] < line.box[2]
        and later.box[2] > line.box[0]
    )


def follows_cuts(read: Sequence[Piece], depth: int) -> bool:
    """True where an order follows cuts, down to single pieces."""
    if len(read) < 2:
        return True
    for direction in (DOWN, ACROSS):
        places = cuts(read, direction)
        if places:
            parts = [read[start:end] for start, end in pairwise([0, *places, len(read)])]
            if direction == ACROSS and (is_table_of_numbers(parts) or any(map(ends_below, parts, parts[1:]))):
                return False
            return depth > 0 and all(follows_cuts(part, depth - 1) for part in parts)
    return False


def cuts(read: Sequence[Piece], direction: int) -> list[int]:
    """Where an order can be cut in two, so that all before stands above (or left of) all after."""
    ends = accumulate((piece.box[direction + 2] - SLACK_EM * piece.em for piece in read), max)
    starts = list(accumulate((piece.box[direction] for piece in reversed(read)), min))[::-1]
    return [k for k, (end, start) in enumerate(zip(ends, starts[1:], strict=False), 1) if end <= start]


def ends_below(part: Sequence[Piece], other: Sequence[Piece]) -> bool:
    """True where a part stands wholly below another one, or its last row does, far from all else: a page's footer."""
    bottom = max(piece.box[3] for piece in other)
    if min(piece.box[1] for piece in part) >= bottom:
        return True
    if part[-1].box[1] - bottom < FOOTER_EM * part[-1].em:
        return False
    *rest, last = rows_of(part)
    bottom = max(bottom, *(piece.box[3] for row in rest for piece in row))
    return min(piece.box[1] - bottom - FOOTER_EM * piece.em for piece in last) >= 0


def is_table_of_numbers(parts: Sequence[Sequence[Piece]]) -> bool:
    """True for parts beside each other that share several rows with numbers, many of whose pieces are numbers."""
    pieces = [piece for part in parts for piece in part]
    if sum(piece.number for piece in pieces) < NUMBERS * len(pieces):
        return False
    place = {piece.members: k for k, part in enumerate(parts) for piece in part}
    shared = (row for row in rows_of(pieces) if len({place[piece.members] for piece in row}) > 1)
    return sum(any(piece.number for piece in row) for row in shared) >= TABLE_ROWS
