"""The order of an epoch: a pure function of the data's digest, the seed and the epoch.

Each file's rows are cut into runs of at most 1,024 rows. The runs are permuted, then the rows within each 64
consecutive runs (a block), by the counter-based generator Philox. So a data set of up to 64 runs is shuffled uniformly.
In a larger one a row can be anywhere in the epoch, and its neighbours come from 64 runs drawn from the whole data set.
The order does not depend on ranks and workers, so each of them can compute any part of it.
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
    """The order of one epoch over all rows, which are numbered run by run from 0.

    Args:
        run_rows: rows of each run.
        digest, seed, epoch: what the order depends on.
        shuffle: False keeps the rows in their own order.
        block: number of runs whose rows are shuffled together.
    """

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
        """Return the rows at some places of the epoch; `places` must ascend."""
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
    """Return the lengths of the runs into which files with `file_rows` rows (N) are cut, as evenly as possible."""
    count = -(-file_rows // RUN_ROWS)
    file = np.repeat(np.arange(len(file_rows)), count)
    number = np.arange(len(file)) - np.repeat(np.cumsum(count) - count, count)
    ends: Ints = file_rows[file] * (number + 1) // count[file] - file_rows[file] * number // count[file]
    return ends


def permute(values: Ints, name: str) -> Ints:
    """Return the values in an order that depends on `name` only, on any machine and with any version of numpy."""
    key = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], "<u8")
    # numpy guarantees the raw stream of a bit generator for ever, but not Generator.permutation
    words = np.random.Philox(key=key).random_raw(len(values))
    permuted: Ints = values[np.argsort(words, kind="stable")]
    return permuted


def share(size: int, batch: int, rank: int, world: int, number: Ints) -> tuple[Ints, Ints]:
    """Return where a rank's part of each global batch begins and ends (two arrays like `number`).

    A global batch has `world` times `batch` samples. The last one of an epoch may have fewer: the ranks' parts of it
    differ by at most one sample.

    Args:
        size: samples of the epoch, over all ranks.
        batch: samples of a batch of one rank.
        rank: from 0 to `world` - 1.
        world: number of ranks.
        number: the numbers of the global batches.
    """
    start = number * batch * world
    left = np.minimum(size - start, batch * world)
    return start + left * rank // world, start + left * (rank + 1) // world
