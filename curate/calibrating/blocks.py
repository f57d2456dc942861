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
    taken at a place drawn by lot: every row is as likely as any other to be taken.
    """
    total = sum(rows)
    if wanted >= total:
        starts = np.arange(0, total, BLOCK_ROWS)
        return list(_within_inputs(rows, starts, np.minimum(starts + BLOCK_ROWS, total)))
    size = min(BLOCK_ROWS, max(1, wanted // 20))  # of a small sample at least twenty blocks
    count = max(1, wanted // size)
    edges = np.linspace(0, total, count + 1)
    room = np.diff(edges) - size
    starts = np.floor(edges[:-1] + np.random.default_rng(seed).random(count) * np.maximum(room, 0)).astype(
        np.int64
    )
    return list(_within_inputs(rows, starts, np.minimum(starts + size, total)))


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
