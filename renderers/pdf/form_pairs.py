"""Labels of a form and their values: where labels stand below each other, each is read with what stands beside it.

Forms are often written all labels first, then all values. A label ends in a colon, or looks otherwise than its value.
A column of labels is told by how many of its lines do, and its values by standing at the labels' height, in a column.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from renderers.pdf.pieces import Piece, rows_of, together

LEAST = 3  # labels below each other, and values beside them
MOST = 2000  # pieces among which labels are looked for
EDGE_EM = 0.5  # edges so near each other are one column's
LABELS = 0.6  # of the lines in a column of labels
WRAPPED = 2  # lines of a label before the one with its colon, at most
FAR_EM = 20.0  # from the longest label to the values, at most
LEVEL_EM, LEVEL = (
    0.25,
    0.7,
)  # values whose middles are so near their labels' stand at their height; share of them
ALIGNED = 0.6  # of the values begin, or end, below each other
LEADING_EM = 0.45  # lines no further apart are one value's
LONGER = 0.5  # lines beyond the first, for each of several values that no white space parts: with more it is a column
WITH_VALUE = 0.5  # of the labels
IN_CONTENT = 0.5  # of the pairs follow each other in the content: with fewer the content tells no order
STYLED_ROWS = 4  # of labels that are told by their style alone, at least
APART_EM = 0.5  # white space between such rows, at least: lines of text stand closer
SAME_ROWS = 0.6  # of the rows of two columns of pairs stand at one height: these are read across


class Pair(NamedTuple):
    """The lines of a label, and of its value (none where it is empty), each from the top."""

    label: list[Piece]
    value: list[Piece]

    @property
    def lines(self) -> list[Piece]:
        """All of them in order."""
        return [*self.label, *self.value]

    @property
    def goes_on(self) -> bool:
        """True where the value is next in the content."""
        return bool(self.value) and self.value[0].rank == self.label[-1].rank + 1


def with_pairs(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces, each label of a form and its value as one; where the content does not know them, all rows as one."""
    if len(pieces) > MOST:
        return list(pieces)
    styled = labels_by_style(pieces)
    pieces = [piece._replace(is_label=True) if piece.members in styled else piece for piece in pieces]
    labels = [piece for piece in pieces if piece.is_label]
    if len(labels) < LEAST:
        return pieces
    found: list[list[Pair]] = []
    held: set[tuple[int, ...]] = set()
    for run in label_runs(labels, pieces):
        pairs = pairs_of(run, [piece for piece in pieces if piece.members not in held])
        if pairs:
            found.append(pairs)
            held |= {piece.members for pair in pairs for piece in pair.lines}
    blocks = [block for group in side_by_side(found) for block in as_blocks(group)]
    rest = (piece for piece in pieces if piece.members not in held)
    return sorted([*blocks, *rest], key=lambda piece: piece.rank)


def labels_by_style(pieces: Sequence[Piece]) -> set[tuple[int, ...]]:
    """The labels (their members) that are told by their looks alone: bold ones, say, each before a plain value.

    Rows, set apart from each other, hold nothing but labels of one style and values of another, in columns.
    """
    found: set[tuple[int, ...]] = set()
    run: list[list[Piece]] = []
    for row in [*rows_of(pieces), []]:
        if run and not (row and goes_on_with(run[-1], row)):
            prose = sum(piece.is_prose for one in run for piece in one)
            if len(run) >= STYLED_ROWS and 4 * prose <= sum(map(len, run)):  # half of the values, at most
                found |= {piece.members for one in run for piece in one[::2]}
            run = []
        if is_styled(row):
            run.append(row)
    return found


def is_styled(row: Sequence[Piece]) -> bool:
    """True for a row of short labels of one style, each with a value of another one."""
    if len(row) < 2 or len(row) % 2 or any(piece.is_prose for piece in row[::2]):
        return False
    if not all(piece.chars for piece in row):  # a block that was put in order already
        return False
    styles = {piece.style for piece in row[::2]}, {piece.style for piece in row[1::2]}
    return len(styles[0]) == len(styles[1]) == 1 and styles[0] != styles[1]


def goes_on_with(last: Sequence[Piece], row: Sequence[Piece]) -> bool:
    """True where a row of labels and values stands below the last one, in its columns and styles, set apart from it."""
    if not is_styled(row) or len(row) != len(last):
        return False
    away = min(piece.box[1] for piece in row) - max(piece.box[3] for piece in last)
    return away >= APART_EM * row[0].em and all(
        piece.style == above.style and abs(piece.box[0] - above.box[0]) <= EDGE_EM * piece.em
        for piece, above in zip(row, last, strict=True)
    )


def as_blocks(runs: Sequence[Sequence[Pair]]) -> list[Piece]:
    """The pairs of columns beside each other: each a block where the content knows it, else all one, row by row."""
    blocks = [together(pair.lines) for pairs in runs for pair in pairs]
    if len(runs) < 2:
        return blocks
    return [together([block for row in rows_of(blocks) for block in row])]


def side_by_side(runs: Sequence[list[Pair]]) -> list[list[list[Pair]]]:
    """Columns of pairs whose order the content does not tell and that have the same rows, together; others alone."""
    out: list[list[list[Pair]]] = []
    for run in sorted(runs, key=lambda run: run[0].label[0].box[0]):
        if not in_content(run):
            for group in out:
                if not in_content(group[0]) and same_rows(group[0], run):
                    group.append(run)
                    break
            else:
                out.append([run])
        else:
            out.append([run])
    return out


def in_content(pairs: Sequence[Pair]) -> bool:
    """True where the content goes from most labels to their values."""
    return sum(pair.goes_on for pair in pairs) >= IN_CONTENT * len(pairs)


def same_rows(one: Sequence[Pair], other: Sequence[Pair]) -> bool:
    """True where most labels of two columns stand at the same heights."""
    heights = sorted(pair.label[0].middle for pair in one)
    level = sum(
        bisect_left(heights, pair.label[0].box[1]) < bisect_right(heights, pair.label[0].box[3])
        for pair in other
    )
    return level >= SAME_ROWS * max(len(one), len(other))


def label_runs(labels: Sequence[Piece], pieces: Sequence[Piece]) -> Iterator[list[list[Piece]]]:
    """Columns of labels, from the top, each label with the lines before its colon: left-aligned ones first."""
    taken: set[tuple[int, ...]] = set()
    for edge in (left_edge, right_edge):
        free = [label for label in labels if label.members not in taken]
        for group in grouped(free, edge):
            at, near = edge(group[0]), EDGE_EM * group[0].em
            column = [piece for piece in pieces if -near <= edge(piece) - at <= 2 * near]
            for run in runs_in(column):
                if len(run) >= LEAST and len(run) >= LABELS * sum(map(len, run)):
                    taken |= {label[-1].members for label in run}
                    yield run


def left_edge(piece: Piece) -> float:
    """Where a piece begins."""
    return piece.box[0]


def right_edge(piece: Piece) -> float:
    """Where a piece ends."""
    return piece.box[2]


def grouped(pieces: Iterable[Piece], edge: Callable[[Piece], float]) -> list[list[Piece]]:
    """The pieces whose edges lie within EDGE_EM, LEAST of them at least, together."""
    out: list[list[Piece]] = []
    for piece in sorted(pieces, key=edge):
        if out and edge(piece) - edge(out[-1][0]) <= EDGE_EM * piece.em:
            out[-1].append(piece)
        else:
            out.append([piece])
    return [group for group in out if len(group) >= LEAST]


def runs_in(column: Iterable[Piece]) -> list[list[list[Piece]]]:
    """The labels of a column, with the lines right before each, parted where other lines stand between them."""
    runs: list[list[list[Piece]]] = [[]]
    waiting: list[Piece] = []
    for piece in sorted(column, key=lambda piece: piece.middle):
        if waiting and piece.box[1] - waiting[-1].box[3] > LEADING_EM * piece.em:
            if len(waiting) > WRAPPED or not runs[-1]:
                runs.append([])
            waiting = []
        waiting.append(piece)
        if piece.is_label:
            if len(waiting) > WRAPPED + 1:
                runs.append([])
                waiting = [piece]
            runs[-1].append(waiting)
            waiting = []
    return runs


def pairs_of(run: Sequence[list[Piece]], pieces: Sequence[Piece]) -> list[Pair]:
    """The labels of a column with their values; none where what stands beside them is something else."""
    inside = {piece.members for label in run for piece in label}
    others = sorted(
        (piece for piece in pieces if piece.members not in inside), key=lambda piece: piece.middle
    )
    middles = [piece.middle for piece in others]
    end, em = max(piece.box[2] for label in run for piece in label), run[0][0].em
    firsts: list[Piece | None] = []
    for label in run:
        low, high = bisect_left(middles, label[0].box[1]), bisect_right(middles, label[-1].box[3])
        right = [piece for piece in others[low:high] if piece.box[0] > label[-1].box[2] - EDGE_EM * em]
        near = min(right, key=left_edge, default=None)
        is_value = near is not None and not near.is_label and near.box[0] - end < FAR_EM * em
        firsts.append(near if is_value else None)
    values = [value for value in firsts if value is not None]
    if len(values) < max(LEAST, WITH_VALUE * len(run)) or not are_beside(run, firsts, em):
        return []
    edge, near_edge = usual_edge(values), EDGE_EM * em
    column = [piece for piece in others if edge is not None and abs(left_edge(piece) - edge) <= near_edge]
    lines = lines_of(values, column, em)
    if lines is None:
        return []
    return [
        Pair(label, [] if value is None else lines[value.members])
        for label, value in zip(run, firsts, strict=True)
    ]


def are_beside(run: Sequence[list[Piece]], firsts: Sequence[Piece | None], em: float) -> bool:
    """True where most values stand at the height of a line of their label, below each other."""
    pairs = [(label, value) for label, value in zip(run, firsts, strict=True) if value is not None]
    level = sum(
        any(abs(piece.middle - value.middle) <= LEVEL_EM * em for piece in label) for label, value in pairs
    )
    values = [value for _, value in pairs]
    aligned = max(len(max(grouped(values, edge), key=len, default=[])) for edge in (left_edge, right_edge))
    return level >= LEVEL * len(pairs) and aligned >= ALIGNED * len(pairs)


def usual_edge(values: Sequence[Piece]) -> float | None:
    """Where the values begin, if they are left-aligned."""
    group = max(grouped(values, left_edge), key=len, default=[])
    return median(map(left_edge, group)) if len(group) >= ALIGNED * len(values) else None


def lines_of(
    values: Sequence[Piece], column: Sequence[Piece], em: float
) -> dict[tuple[int, ...], list[Piece]] | None:
    """The lines of each value, by its line beside the label; None where the column is running text.

    `column` are the pieces that begin where the values do, from the top.
    """
    found = {value.members: [value] for value in values}
    for cluster in clusters_of(column, em):
        starts = [k for k, piece in enumerate(cluster) if piece.members in found]
        if not starts:
            continue
        if len(starts) > 1 and len(cluster) - len(starts) > LONGER * len(starts):
            return None
        for start, end in pairwise([0, *starts[1:], len(cluster)]):
            lines = cluster[start:end]
            found[next(piece.members for piece in lines if piece.members in found)] = lines
    return found


def clusters_of(column: Sequence[Piece], em: float) -> list[list[Piece]]:
    """The pieces of a column that stand as near each other as the lines of one text."""
    out: list[list[Piece]] = []
    for piece in column:
        if out and piece.box[1] - out[-1][-1].box[3] <= LEADING_EM * em:
            out[-1].append(piece)
        else:
            out.append([piece])
    return out
