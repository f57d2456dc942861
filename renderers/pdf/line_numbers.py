"""Numbers that count lines in a margin, as drafts and listings have them: each is read with the line beside it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from statistics import median

from renderers.pdf.frames import union
from renderers.pdf.pieces import Piece

LEAST = 5  # numbers below each other that count on
STEP = 10  # from one to the next, at most: some drafts count every fifth line
MOST = 1000  # numbers of a page that are compared
GAP_EM = 8.0  # white space between a number and its line, at most
OFF = 0.4  # of a line's height, so far above or below it: some drafts count by a measure of their own
FULL_EM, FULL_SHARE = 0.5, 0.6  # so many of a column's lines end within so much of each other
OTHERS = 0.2  # as many other numbers among those of a run, at most
BESIDE = 0.3  # of the numbers that stand at the height of a line, at least; others count blank ones


def with_line_numbers(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces, each number of a line and the line as one, which stands where the line does."""
    counted = sum(piece.value >= 0 for piece in pieces)
    if not LEAST <= counted <= MOST:
        return list(pieces)
    numbers = [piece for piece in pieces if piece.value >= 0]
    runs = [
        run
        for run in runs_of(numbers)
        if len(run) >= LEAST and count_among(run, numbers) <= OTHERS * len(run)
    ]
    taken = {number.members for run in runs for number in run}
    lines = sorted((piece for piece in pieces if piece.members not in taken), key=lambda piece: piece.box[1])
    before: dict[int, list[Piece]] = {}  # by a line's rank
    after: dict[int, list[Piece]] = {}  # on its right, and those of blank lines behind it
    held: set[tuple[int, ...]] = set()
    full: set[int] = set()  # the ranks of lines that run to the end of their column
    for run in runs:
        found = list(beside(run, lines))
        for number, line, first in found:
            (before if first else after).setdefault(line.rank, []).append(number)
            held.add(number.members)
        if are_full([line for _, line, _ in found]):
            full |= {line.rank for _, line, _ in found}
    ranked = {line.rank: line for line in lines if line.rank not in after and line.rank not in before}
    whole: list[Piece] = []
    for piece in pieces:
        if piece.rank in before or piece.rank in after:
            row = [piece, *goes_on_in_row(piece, ranked)] if piece.rank in before else [piece]
            if piece.rank in full and sum(part.is_prose for part in row) == 2:  # another column's line
                row = [piece]
            held.update(part.members for part in row)
            whole.append(numbered(row, before.get(piece.rank, ()), after.get(piece.rank, ())))
    return sorted([*whole, *(p for p in pieces if p.members not in held)], key=lambda piece: piece.rank)


def count_among(run: Sequence[Piece], numbers: Iterable[Piece]) -> int:
    """How many other numbers stand among those of a run: the pages in a table of contents count on with gaps."""
    box = reduce(union, (number.box for number in run))
    inside = (box[0] < (n.box[0] + n.box[2]) / 2 < box[2] and box[1] < n.middle < box[3] for n in numbers)
    return sum(inside) - len(run)


def goes_on_in_row(line: Piece, ranked: Mapping[int, Piece]) -> Iterator[Piece]:
    """What the content has right after a numbered line on its base line: the rest of a listing's line."""
    last = line
    while (next_ := ranked.get(last.rank + 1)) is not None and (
        next_.box[0] >= last.box[2] and line.box[1] < next_.middle < line.box[3]
    ):
        yield next_
        last = next_


def are_full(lines: Sequence[Piece]) -> bool:
    """True for lines of running text that mostly end at one place: a column's, and no listing's."""
    ends = [line.box[2] for line in lines if line.is_prose]
    if not ends or 2 * len(ends) < len(lines):
        return False
    usual = median(ends)
    return sum(abs(end - usual) < FULL_EM * lines[0].em for end in ends) >= FULL_SHARE * len(ends)


def runs_of(numbers: Iterable[Piece]) -> list[list[Piece]]:
    """The numbers in runs that stand below each other and count on by one step."""
    runs: list[list[Piece]] = []
    for number in sorted(numbers, key=lambda piece: piece.box[1]):
        run = next((run for run in reversed(runs) if counts_on(run, number)), None)
        if run is None:
            runs.append([number])
        else:
            run.append(number)
    return runs


def counts_on(run: Sequence[Piece], number: Piece) -> bool:
    """True where a number is the next one of a run."""
    last = run[-1]
    step = number.value - last.value
    if not 0 < step <= STEP or (len(run) > 1 and step != last.value - run[-2].value):
        return False
    return number.box[0] < last.box[2] and number.box[2] > last.box[0] and number.middle > last.box[3]


def beside(run: Sequence[Piece], lines: Sequence[Piece]) -> Iterator[tuple[Piece, Piece, bool]]:
    """Each number of a run with its line, and whether it is read before it; none where these are no lines' numbers.

    `lines` are in the order of their tops. A number beside nothing counts a blank line: it goes with the last
    line above, the first ones with the first line.
    """
    best: list[tuple[Piece, Piece | None, float]] = []
    left = False
    for side in (False, True):
        column = [line for line in lines if 0 <= gap_of(run, line, side) <= GAP_EM * run[0].em]
        found = list(at_heights(run, column, side))
        if rated(found) > rated(best):
            best, left = found, side
    if sum(line is not None for _, line, _ in best) < BESIDE * len(run):
        return
    last = next(line for _, line, _ in best if line is not None)
    before = True
    for number, line, _ in best:
        yield number, line or last, not left if line else before
        last, before = line or last, before and line is None


def rated(found: Sequence[tuple[Piece, Piece | None, float]]) -> tuple[int, float]:
    """How many numbers have a line, and how near these are."""
    gaps = [gap for _, line, gap in found if line is not None]
    return len(gaps), -median(gaps) if gaps else 0.0


def gap_of(run: Sequence[Piece], line: Piece, left: bool) -> float:
    """The white space between a run and a line at its left or right; negative where it is not there."""
    if left:
        return min(number.box[0] for number in run) - line.box[2]
    return line.box[0] - max(number.box[2] for number in run)


def at_heights(
    run: Sequence[Piece], column: Sequence[Piece], left: bool
) -> Iterator[tuple[Piece, Piece | None, float]]:
    """For each number the nearest line of a column (in the order of tops) at its height, and how far it is."""
    tops = [line.box[1] for line in column]
    tallest = max((line.box[3] - line.box[1] for line in column), default=0.0)
    for number in run:
        start = bisect_left(tops, number.middle - (1 + OFF) * tallest)
        near = [
            (abs(line.middle - number.middle) / (line.box[3] - line.box[1] or 1.0), line)
            for line in column[start : bisect_right(tops, number.middle + OFF * tallest)]
        ]
        rated = [(off > 0.5, gap_of([number], line, left), line) for off, line in near if off < 0.5 + OFF]
        _, gap, line = min(rated, key=lambda one: one[:2], default=(False, 0.0, None))
        yield number, line, gap


def numbered(row: Sequence[Piece], before: Sequence[Piece], after: Sequence[Piece]) -> Piece:
    """The parts of a line as one piece, with numbers before and after it."""
    members = tuple(index for one in (*before, *row, *after) for index in one.members)
    box = reduce(union, (piece.box for piece in row))
    long = any(piece.is_prose for piece in row)
    return row[0]._replace(box=box, chars=sum(p.chars for p in row), members=members, is_prose=long)
