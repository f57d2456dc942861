"""The order of an epoch: a pure function of the data's digest, the seed and the epoch.

Row groups are permuted, then the rows of each 64 of them (a block) among one another, by the counter-based
generator Philox. A data set of up to 64 row groups is thus shuffled uniformly; in a larger one every row can
stand anywhere in the epoch, and has the rows of 64 row groups drawn from all over around it. No worker and no
rank plays a part, so any of them can compute any part of the order.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

BLOCK = 64  # row groups


class Order:
    """The order of one epoch over the rows 0 to `rows` of all row groups, one after another."""

    def __init__(
        self,
        group_rows: Sequence[int],
        digest: str,
        seed: int,
        epoch: int,
        shuffle: bool = True,
        block: int = BLOCK,
    ) -> None:
        self._name = f"{digest}/{seed}/{epoch}"
        self._shuffle = shuffle
        self._block = block
        self._rows = np.asarray(group_rows, np.int64)
        self._first = np.cumsum(self._rows) - self._rows
        groups = np.arange(len(self._rows))
        self._groups = permute(groups, f"{self._name}/groups") if shuffle else groups
        sizes = np.add.reduceat(self._rows[self._groups], groups[::block]) if len(groups) else groups
        self._ends = np.cumsum(sizes)
        self._rows_of = functools.lru_cache(maxsize=2)(self._rows_of_block)

    def take(self, start: int, stop: int) -> Ints:
        """The rows at places `start` to `stop` of the epoch."""
        found = []
        for block in range(int(np.searchsorted(self._ends, start, side="right")), len(self._ends)):
            first = int(self._ends[block - 1]) if block else 0
            if first >= stop:
                break
            found.append(self._rows_of(block)[max(start - first, 0) : stop - first])
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def _rows_of_block(self, block: int) -> Ints:
        groups = self._groups[block * self._block : (block + 1) * self._block]
        rows = np.concatenate([self._first[group] + np.arange(self._rows[group]) for group in groups])
        return permute(rows, f"{self._name}/block {block}") if self._shuffle else rows


def permute(values: Ints, name: str) -> Ints:
    """The values in an order that the name alone decides, on any machine and with any numpy."""
    key = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], "<u8")
    # the raw stream of a bit generator is fixed for ever, Generator.permutation is not
    words = np.random.Philox(key=key).random_raw(len(values))
    permuted: Ints = values[np.argsort(words, kind="stable")]
    return permuted


def share(size: int, batch: int, rank: int, world: int, number: int) -> tuple[int, int]:
    """The places of a rank's part of global batch `number`, of `world` times `batch` samples in `size`.

    The last batch of an epoch is parted evenly, so that parts differ by one sample at most.
    """
    start = number * batch * world
    left = min(size - start, batch * world)
    return start + left * rank // world, start + left * (rank + 1) // world
