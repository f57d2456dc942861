"""Limits the memory of a unit's rows: a few kilobytes of input can repeat the same long text in every row.

The limit is applied before the adapter gets the rows, so that rows beyond it cost no more than being read.
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

SHORT = 4096  # bytes: rows beyond the limit keep texts up to this length, such as an address or an id

Ints = npt.NDArray[np.int64]


class RowBudget:
    """Counts the bytes of a unit's rows; rows beyond `input.max_unit_bytes` are `too_large`, however rows are batched.

    `settings` are those of the manifest's table `input`.
    """

    def __init__(self, settings: InputSettings) -> None:
        self._max, self._explode, self._taken = settings.max_unit_bytes, settings.explode, 0

    def spend(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Count the unit's next rows (N) and return them; rows beyond the limit get a problem and lose long values."""
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
        self._taken = self._max + 1  # all later rows are refused, even if a short one would fit
        return _without(
            batch, fits, f"beyond input.max_unit_bytes = {self._max} of its unit: lower shard.rows"
        )


def _row_bytes(batch: pa.RecordBatch, explode: Sequence[str]) -> Ints:
    """Return the bytes of each row (N), without images.

    If a list in `explode` makes a row of each item, the row's other values count once for each item.
    """
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
    """Return an upper estimate of the number of items of each list (N); lists may be JSON texts."""
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
    """Return the batch; rows from `first` on get the problem `too_large` with `detail`, and lose their long values."""
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
