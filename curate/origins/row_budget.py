"""What a unit's rows may take in memory: a few kilobytes of input can name the same long text in every row.

Judged before an adapter sees the rows, so that those beyond it cost no more than being read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.manifest.settings import InputSettings
from curate.sources import DETAIL, PROBLEM
from curate.sources.columns import decoded_bytes, holds_images, value_bytes

SHORT = 4096  # bytes of a text that is left to a row beyond the budget: its address, its id

Ints = npt.NDArray[np.int64]


class RowBudget:
    """Bytes that are left for a unit's rows; those beyond it are `too_large`, however the rows are batched."""

    def __init__(self, settings: InputSettings) -> None:
        self._max, self._explode, self._taken = settings.max_unit_bytes, settings.explode, 0

    def spend(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The unit's next rows (N rows); those beyond the budget have that problem, and none of their long values."""
        if not self._explode:
            size = sum(decoded_bytes(column) for column in batch.columns if not holds_images(column.type))
            if self._taken + size <= self._max:
                self._taken += size
                return batch
        taken = self._taken + np.cumsum(_row_bytes(batch, self._explode))
        fits = int(np.searchsorted(taken, self._max, side="right"))
        if fits == batch.num_rows:
            self._taken = int(taken[-1]) if fits else self._taken
            return batch
        self._taken = self._max + 1  # the rows behind do not fit either, though one of them might
        return _without(
            batch, fits, f"beyond input.max_unit_bytes = {self._max} of its unit: lower shard.rows"
        )


def _row_bytes(batch: pa.RecordBatch, explode: Sequence[str]) -> Ints:
    """Bytes of each row (N rows), without images; what is repeated for each item of a list counts as often."""
    own, repeated = np.zeros(batch.num_rows, np.int64), np.zeros(batch.num_rows, np.int64)
    times = np.ones(batch.num_rows, np.int64)
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.name in explode:
            own += value_bytes(column)
            times = np.maximum(times, _items(column))
        elif explode or not holds_images(field.type):
            repeated += value_bytes(column)
    total: Ints = own + repeated * times
    return total


def _items(column: pa.Array) -> Ints:
    """About how many items each list holds (N rows), at least as many as it does; lists may be JSON."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        binary = column.cast(pa.large_binary())
        objects = pc.count_substring(binary, b"{")
        found = pc.if_else(pc.greater(objects, 0), objects, pc.count_substring(binary, b","))
    elif pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        found = pc.list_value_length(column)
    else:
        return np.ones(len(column), np.int64)
    items: Ints = found.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64) + 1
    return items


def _without(batch: pa.RecordBatch, first: int, detail: str) -> pa.RecordBatch:
    """The batch, its rows from `first` on with that problem and without their long values."""
    lost = np.arange(batch.num_rows) >= first
    columns: dict[str, pa.Array] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        gone = lost & (value_bytes(column) > SHORT)
        kept = pa.array(np.arange(batch.num_rows), mask=gone)
        columns[name] = column.take(kept) if gone.any() else column
    nothing = pa.nulls(batch.num_rows, pa.string())
    for name, said in ((PROBLEM, "too_large"), (DETAIL, detail)):
        here = columns.get(name, nothing).cast(pa.string())
        columns[name] = pc.coalesce(here, pc.if_else(pa.array(lost), said, pa.scalar(None, pa.string())))
    return pa.RecordBatch.from_pydict(columns)
