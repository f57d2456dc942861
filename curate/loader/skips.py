"""Counts the samples that the data sets leave out because an image is damaged."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch.utils.data import get_worker_info

from curate.errors import DamagedError, InputError

log = logging.getLogger("curate")

MAX_WORKERS = 1024  # beyond these, several workers share a counter


class Skips:
    """Counts the samples that are left out, in memory that all worker processes share."""

    def __init__(self) -> None:
        self._counts = torch.zeros(MAX_WORKERS, dtype=torch.int64).share_memory_()

    @property
    def total(self) -> int:
        """Samples that all workers together left out."""
        return int(self._counts.sum())

    def count(self, samples: int, why: Sequence[DamagedError]) -> None:
        """Count samples that are left out, and log the errors that are the reason."""
        for error in why:
            log.warning("left out: %s", error)
        worker = get_worker_info()
        self._counts[worker.id % MAX_WORKERS if worker else 0] += samples


def check_damaged(damaged: str, check: bool) -> None:
    """Check a data set's argument `damaged`, given whether images are compared with their checksums (`check`).

    Raises:
        InputError: `damaged` is neither `raise` nor `skip`, or is `skip` without `check`.
    """
    if damaged not in ("raise", "skip"):
        raise InputError(f'damaged is "raise" or "skip", not {damaged!r}')
    if damaged == "skip" and not check:
        raise InputError('damaged="skip" needs check=True: what is not checked is not found')
