"""Mixes several sources while they are read: every block of samples has each source's share, in the source's order.

Which source a sample comes from, and which row of it, depends only on the seed, the weights and the sample's index. So
a mixture resumes exactly from any sample, with any number of ranks and workers, like a single source.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.errors import InputError
from curate.loader.shuffle import Order, permute, runs

Ints = npt.NDArray[np.int64]

MIN_BLOCK = 1024  # samples of a block at least; in a block each source has its share, to within a sample
MAX_SOURCES = 256


class Mixture(NamedTuple):
    """How the K sources of a data set are mixed."""

    weights: tuple[float, ...]  # of each source's samples (K); they need not add up to one
    files: tuple[int, ...]  # number of files of each source (K), in the order of the data set's files
    samples: int  # of an epoch

    def digest(self, data: str) -> str:
        """Return a SHA-256 (hex) of the data's digest and of how the data is mixed."""
        told = json.dumps([data, self.weights, self.files, self.samples])
        return hashlib.sha256(told.encode()).hexdigest()


class Interleaving:
    """Decides which source each sample comes from.

    Args:
        weights: of the sources (K).
        name: seeds the shuffling.
        shuffle: whether the sources of a block's samples are shuffled; else they alternate evenly.
    """

    def __init__(self, weights: Sequence[float], name: str, shuffle: bool) -> None:
        self._shares = np.array(weights) / sum(weights)
        self._rest = int(np.argmax(self._shares))  # this source gets what is left after rounding down
        self.block = max(MIN_BLOCK, len(weights) ** 2)
        self._name, self._shuffle = name, shuffle
        self.sources_of = functools.lru_cache(maxsize=4)(self._sources_of)

    def before(self, block: int) -> Ints:
        """Return how many samples of each source are in the blocks before `block` (K)."""
        size = block * self.block
        counts = np.floor(self._shares * size).astype(np.int64)
        counts[self._rest] += size - counts.sum()
        return counts

    def _sources_of(self, block: int) -> Ints:
        """Return the source (0 to K - 1) of each sample of a block."""
        counts = self.before(block + 1) - self.before(block)
        sources = np.repeat(np.arange(len(counts)), counts)
        if self._shuffle:
            return permute(sources, f"{self._name}/mixture {block}")
        even = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in counts.tolist()])
        return sources[np.argsort(even, kind="stable")]

    def count(self, samples: int) -> Ints:
        """Return how many of the first `samples` come from each source (K)."""
        block, rest = divmod(samples, self.block)
        return self.before(block) + np.bincount(self.sources_of(block)[:rest], minlength=len(self._shares))


class MixedOrder:
    """The order of one epoch of a mixture. When all rows of a source were used, it starts again in another order.

    Args:
        file_rows: rows of each file of the data set.
        mixture: how the sources are mixed.
        interleaving: which source each sample comes from.
        epoch: from 0.
        order: `order(runs, source, passed)` returns the order of one source's rows, given the lengths of its runs, its
            number, and how often all its rows were used before.
    """

    def __init__(
        self,
        file_rows: Ints,
        mixture: Mixture,
        interleaving: Interleaving,
        epoch: int,
        order: Callable[[Ints, int, int], Order],
    ) -> None:
        ends = np.cumsum([0, *mixture.files]).tolist()
        self._rows = [file_rows[a:b] for a, b in pairwise(ends)]
        self._sizes = np.array([int(rows.sum()) for rows in self._rows])
        self._first = np.cumsum(self._sizes) - self._sizes
        self._interleaving = interleaving
        self._begun = (
            interleaving.count(mixture.samples) * epoch
        )  # samples of each source in the epochs before
        self._order = functools.lru_cache(maxsize=2 * len(self._rows))(
            lambda source, passed: order(runs(self._rows[source]), source, passed)
        )

    def take(self, places: Ints) -> Ints:
        """Return the rows at some places of the epoch; `places` must ascend."""
        found = np.empty(len(places), np.int64)
        block = places // self._interleaving.block
        source, number = np.empty_like(found), np.empty_like(found)
        for one in np.unique(block).tolist():
            mine = np.flatnonzero(block == one)
            sources = self._interleaving.sources_of(one)
            at = places[mine] - one * self._interleaving.block
            source[mine] = sources[at]
            number[mine] = self._interleaving.before(one)[sources[at]] + _earlier(sources)[at]
        number += self._begun[source]
        passed = number // self._sizes[source]
        for one, epoch in sorted(set(zip(source.tolist(), passed.tolist(), strict=True))):
            mine = np.flatnonzero((source == one) & (passed == epoch))
            within = number[mine] - epoch * self._sizes[one]
            found[mine] = self._first[one] + self._order(one, epoch).take(within)
        return found


def _earlier(sources: Ints) -> Ints:
    """Return, for each sample of a block, how many samples of the same source come before it."""
    order = np.argsort(sources, kind="stable")
    ranks = np.empty(len(sources), np.int64)
    ordered = sources[order]
    ranks[order] = np.arange(len(sources)) - np.searchsorted(ordered, ordered)
    return ranks


def checked_weights(weights: Mapping[str, float], what: str = "weight") -> dict[str, float]:
    """Check weights by path and return them; `what` is their name in an error message.

    Raises:
        InputError: there are none or more than MAX_SOURCES, or one is no finite number above 0.
    """
    if not 1 <= len(weights) <= MAX_SOURCES:
        raise InputError(f"a mixture has from 1 to {MAX_SOURCES} sources, not {len(weights)}")
    for path, weight in weights.items():
        if not isinstance(weight, int | float | np.number) or not 0 < weight < float("inf"):
            raise InputError(f"the {what} of {path} must be above 0, not {weight}")
    return {str(path): weight for path, weight in weights.items()}
