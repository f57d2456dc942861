"""Draw the rows that a calibration reads: blocks of neighbouring rows, spread over all inputs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

BLOCK_ROWS = 1000


class Block(NamedTuple):
    """Rows `start` to `stop` (not included) of input number `input`.

    A block that was drawn across the end of an input or stretch is several `Block`s with the same `number`.
    """

    number: int
    input: int
    start: int
    stop: int


def draw_blocks(rows: Sequence[int], wanted: int, seed: int) -> list[Block]:
    """Draw about `wanted` rows from all inputs together, as blocks; all rows if there are not more than that.

    The rows of all inputs are divided into stretches of equal length, as many as there are blocks. From each stretch
    one block is taken, at a random start. A block that would pass the end of its stretch goes on at the stretch's
    beginning, so that every row is equally likely to be taken.

    Args:
        rows: the number of rows in each input.
        wanted: about how many rows to draw.
        seed: the seed of the random starts.

    Returns:
        The blocks, in the order of their numbers.
    """
    total = sum(rows)
    if wanted >= total:
        starts = np.arange(0, total, BLOCK_ROWS)
        return list(_within_inputs(rows, starts, np.minimum(starts + BLOCK_ROWS, total)))
    size = min(BLOCK_ROWS, max(1, wanted // 20))  # so that a small sample, too, has at least twenty blocks
    edges = np.linspace(0, total, max(1, wanted // size) + 1).round().astype(np.int64)
    starts = edges[:-1] + np.floor(
        np.random.default_rng(seed).random(len(edges) - 1) * np.diff(edges)
    ).astype(np.int64)
    past = np.maximum(
        0, starts + size - edges[1:]
    )  # rows of a block that lie past the end of its stretch: as many are taken from the stretch's beginning
    begun = [
        _within_inputs(rows, edges[:-1], edges[:-1] + past),
        _within_inputs(rows, starts, starts + size - past),
    ]
    return sorted(block for some in begun for block in some)


def _within_inputs(rows: Sequence[int], starts: np.ndarray, stops: np.ndarray) -> Iterator[Block]:
    """Split ranges over the rows of all inputs together into ranges within single inputs."""
    ends = list(accumulate(rows))
    for number, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        while start < stop:
            index = bisect_right(ends, start)
            first = ends[index] - rows[index]
            end = min(stop, ends[index])
            yield Block(number, index, start - first, end - first)
            start = end
