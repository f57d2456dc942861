"""Shuffles more rows than fit in memory: each row draws a random place, whose highest bits are its bucket.

A row's place in the order is a 64-bit number that depends only on the seed and the row's number. So the order is
uniform and the same on every machine, and only one bucket must be in memory at a time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]


def draw(seed: int, stream: int, numbers: npt.NDArray[np.integer]) -> Words:
    """Return a random 64-bit number for each of `numbers`, by SplitMix64; different streams are independent."""
    with np.errstate(over="ignore"):
        state = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(stream)
        steps = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return _mix(_mix(np.array([state])) + steps)


def shares(words: Words) -> npt.NDArray[np.float64]:
    """Convert 64-bit numbers to numbers from 0 to below 1."""
    parts: npt.NDArray[np.float64] = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return parts


def _mix(word: Words) -> Words:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Words = word ^ (word >> np.uint64(31))
    return mixed
