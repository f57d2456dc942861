"""The order of an epoch: a pure function of the data's digest, the seed and the epoch.

Each file's rows are cut into runs of at most 1,024. The runs are permuted, then the rows of each 64 of them (a
block) among one another, by the counter-based generator Philox. A data set of up to 64 runs is thus shuffled
uniformly; in a larger one every row can stand anywhere in the epoch, and has the rows of 64 runs drawn from
all over around it. No worker and no rank plays a part, so any of them can compute any part of the order.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

RUN_ROWS = 1024
BLOCK = 64  # runs


class Order:
    """The order of one epoch over the rows 0 to `rows` of all runs, one after another."""

    def __init__(
        self,
        run_rows: Sequence[int] | Ints,
        digest: str,
        seed: int,
        epoch: int,
        shuffle: bool = True,
        block: int = BLOCK,
    ) -> None:
        self._name = f"{digest}/{seed}/{epoch}"
        self._shuffle = shuffle
        self._block = block
        self._rows = np.asarray(run_rows, np.int64)
        self._first = np.cumsum(self._rows) - self._rows
        groups = np.arange(len(self._rows))
        self._groups = permute(groups, f"{self._name}/groups") if shuffle else groups
        sizes = np.add.reduceat(self._rows[self._groups], groups[::block]) if len(groups) else groups
        self._ends = np.cumsum(sizes)
        self._rows_of = functools.lru_cache(maxsize=2)(self._rows_of_block)

    def take(self, places: Ints) -> Ints:
        """The rows at those places of the epoch, which ascend."""
        block = np.searchsorted(self._ends, places, side="right")
        found = [np.zeros(0, np.int64)]
        for number in np.unique(block).tolist():
            first = self._ends[number - 1] if number else 0
            found.append(self._rows_of(number)[places[block == number] - first])
        return np.concatenate(found)

    def _rows_of_block(self, block: int) -> Ints:
        groups = self._groups[block * self._block : (block + 1) * self._block]
        rows = np.concatenate([self._first[group] + np.arange(self._rows[group]) for group in groups])
        return permute(rows, f"{self._name}/block {block}") if self._shuffle else rows


def runs(file_rows: Ints) -> Ints:
    """The lengths of the runs that files of so many rows (N) are cut into, each file's as even as can be."""
    count = -(-file_rows // RUN_ROWS)
    file = np.repeat(np.arange(len(file_rows)), count)
    number = np.arange(len(file)) - np.repeat(np.cumsum(count) - count, count)
    ends: Ints = file_rows[file] * (number + 1) // count[file] - file_rows[file] * number // count[file]
    return ends


def permute(values: Ints, name: str) -> Ints:
    """The values in an order that the name alone decides, on any machine and with any numpy."""
    key = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], "<u8")
    # the raw stream of a bit generator is fixed for ever, Generator.permutation is not
    words = np.random.Philox(key=key).random_raw(len(values))
    permuted: Ints = values[np.argsort(words, kind="stable")]
    return permuted


def share(size: int, batch: int, rank: int, world: int, number: Ints) -> tuple[Ints, Ints]:
    """Where a rank's part of each global batch `number` begins and ends, in `size` samples.

    A global batch has `world` times `batch`; the last of an epoch is parted evenly, to a sample.
    """
    start = number * batch * world
    left = np.minimum(size - start, batch * world)
    return start + left * rank // world, start + left * (rank + 1) // world
