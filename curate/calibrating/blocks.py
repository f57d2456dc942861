"""Which rows a calibration looks at: blocks of neighbours, spread over all inputs and what they are cut into."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

BLOCK_ROWS = 1000


class Block(NamedTuple):
    """Rows `start` to `stop` of input number `input`; blocks of one `number` were drawn as one."""

    number: int
    input: int
    start: int
    stop: int


def draw_blocks(rows: Sequence[int], wanted: int, seed: int) -> list[Block]:
    """About `wanted` rows of inputs that have so many rows each: all of them, or blocks, one from each stretch.

    All rows together are parted into as many stretches of one length as blocks are wanted, and of each a block is
    taken at a place drawn by lot; one that would pass its stretch's end goes on at the beginning. So every row is as
    likely as any other to be taken.
    """
    total = sum(rows)
    if wanted >= total:
        starts = np.arange(0, total, BLOCK_ROWS)
        return list(_within_inputs(rows, starts, np.minimum(starts + BLOCK_ROWS, total)))
    size = min(BLOCK_ROWS, max(1, wanted // 20))  # of a small sample at least twenty blocks
    edges = np.linspace(0, total, max(1, wanted // size) + 1).round().astype(np.int64)
    starts = edges[:-1] + np.floor(
        np.random.default_rng(seed).random(len(edges) - 1) * np.diff(edges)
    ).astype(np.int64)
    past = np.maximum(
        0, starts + size - edges[1:]
    )  # of a stretch's end: what is taken of its beginning instead
    begun = [
        _within_inputs(rows, edges[:-1], edges[:-1] + past),
        _within_inputs(rows, starts, starts + size - past),
    ]
    return sorted(block for some in begun for block in some)


def _within_inputs(rows: Sequence[int], starts: np.ndarray, stops: np.ndarray) -> Iterator[Block]:
    """Stretches of all rows as stretches of single inputs."""
    ends = list(accumulate(rows))
    for number, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        while start < stop:
            index = bisect_right(ends, start)
            first = ends[index] - rows[index]
            end = min(stop, ends[index])
            yield Block(number, index, start - first, end - first)
            start = end
