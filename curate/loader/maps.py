"""Rows of shards and packs by number, as PyTorch data sets that a sampler orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from curate.errors import DamagedError
from curate.loader.skips import Skips, check_damaged
from curate.loader.source import PACK_COLUMNS, SHARD_COLUMNS, Row, ShardSource


class ShardMap(Dataset[Any]):  # type: ignore[misc]
    """The rows of shards by number, in their own order: for samplers, and for trainers that skip samples themselves.

    The arguments are those of `OrderedDataset`. With `damaged="skip"` samples are left out of a batch only: a damaged
    sample that is asked for alone raises DamagedError.
    """

    stem = "shard"
    columns: tuple[str, ...] = SHARD_COLUMNS

    def __init__(
        self,
        paths: str | Sequence[str],
        *,
        columns: Sequence[str] | None = None,
        transform: Callable[[Row], Any] | None = None,
        cache: str = "",
        check: bool = True,
        damaged: str = "raise",
    ) -> None:
        check_damaged(damaged, check)
        listed = [paths] if isinstance(paths, str) else list(paths)
        self.source = ShardSource(listed, self.stem, tuple(columns or self.columns), cache, check)
        self.damaged, self._skips = damaged, Skips()
        self.transform = transform

    @property
    def skipped(self) -> int:
        """Samples left out for a damaged image since the data set was made, by all workers."""
        return self._skips.total

    def __len__(self) -> int:
        return self.source.rows

    def __getitem__(self, number: int) -> Any:
        found = self._read([number], None)
        return found[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """Return several samples, as DataLoader asks for a batch; with `damaged="skip"` without damaged ones."""
        lost: list[DamagedError] | None = [] if self.damaged == "skip" else None
        found = self._read(numbers, lost)
        if lost:
            self._skips.count(len(numbers) - len(found), lost)
        return found

    def _read(self, numbers: Sequence[int], lost: list[DamagedError] | None) -> list[Any]:
        rows = np.asarray(numbers, np.int64)
        if len(rows) and not (-len(self) <= rows.min() and rows.max() < len(self)):
            raise IndexError(f"{numbers} of {len(self)} samples")
        samples = self.source.read(np.where(rows < 0, rows + len(self), rows), lost)
        return [self.transform(sample) for sample in samples] if self.transform else samples


class PackMap(ShardMap):
    """The sequences of packs by number; see `ShardMap`."""

    stem = "pack"
    columns = PACK_COLUMNS
