"""Compute shares of a sample's rows, and the uncertainty that comes from drawing the sample in blocks."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from curate.errors import InputError

Z95 = 1.96  # a 95 % confidence interval is so many standard errors wide on either side

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def share_of(given: str | float) -> float:
    """Parse a share as people write it, `14%` or `0.14`; the result is above 0 and at most 1.

    Raises:
        InputError: it is not such a share.
    """
    try:
        number = float(given) if isinstance(given, int | float) else _number(given)
    except ValueError:
        raise InputError(f"{given!r} is no share: write 14% or 0.14") from None
    if not 0 < number <= 1:
        raise InputError(
            f"{given!r} is no share to keep: write one above 0% and up to 100%, such as 14% or 0.14"
        )
    return number


def _number(text: str) -> float:
    plain = text.strip()
    return float(plain[:-1]) / 100 if plain.endswith("%") else float(plain)


class Sampled:
    """A sample of N rows that was drawn in blocks."""

    def __init__(self, block: Ints, of: int) -> None:
        """Take the number of each row's block, from 0 (N), and `of`, the number of rows in all inputs."""
        self.rows, self.of = len(block), of
        self._block = block
        self._sizes = np.bincount(block) if len(block) else np.zeros(0, np.int64)

    @property
    def blocks(self) -> int:
        """The number of blocks that have rows."""
        return int(np.count_nonzero(self._sizes))

    @property
    def is_whole(self) -> bool:
        """Whether every row is in the sample, so that no share is an estimate."""
        return self.rows >= self.of

    def share(self, rows: Bools) -> float:
        """Return the share, 0 to 1, of the sample's rows for which `rows` is true (N)."""
        return float(np.count_nonzero(rows)) / max(1, self.rows)

    def error(self, rows: Bools) -> float:
        """Return half the width of the 95 % confidence interval of `share(rows)`; 0 if every row is in the sample.

        Rows of one block are more alike than rows of several, so the variance is that of a ratio over blocks, as for
        cluster samples, with the correction for a finite population. With fewer than two blocks it is unknown: 0, too.
        """
        if self.is_whole or self.blocks < 2:
            return 0.0
        share = self.share(rows)
        hits = np.bincount(self._block, weights=rows, minlength=len(self._sizes))
        there = self._sizes > 0
        off = hits[there] - share * self._sizes[there]
        variance = float(np.sum(off**2)) * self.blocks / (self.blocks - 1) / self.rows**2
        return Z95 * math.sqrt(variance * max(0.0, 1 - self.rows / self.of))
