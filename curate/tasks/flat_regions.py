"""Flatten the column `regions`: from N rows to R regions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]


class Flat(NamedTuple):
    """R regions: the row of each, then its fields."""

    row: Ints
    text: pa.Array  # large_string
    start: Ints  # code points into the row's text; -1 where null
    end: Ints
    quad: npt.NDArray[np.float64]  # R x 8 px; NaN where null


def flatten(regions: pa.Array) -> Flat:
    """The R regions of a list array (N rows), in order; null lists count as empty."""
    flat = pc.list_flatten(regions)
    return Flat(
        pc.list_parent_indices(regions).to_numpy(zero_copy_only=False).astype(np.int64),
        pc.struct_field(flat, "text").cast(pa.large_string()),
        _offsets(flat, "start"),
        _offsets(flat, "end"),
        _quads(pc.struct_field(flat, "quad")),
    )


def counts(row: Ints, rows: int) -> Ints:
    """How many regions each of `rows` rows has; `row` (R) is the row of each region."""
    return np.bincount(row, minlength=rows).astype(np.int64)


def join(values: pa.Array, lengths: Ints, separator: str) -> pa.Array:
    """Join each run of strings into one: the first lengths[0] strings, the next lengths[1], … (N strings)."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    runs = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values)
    return pc.binary_join(runs, pa.scalar(separator, pa.large_string()))


def _offsets(flat: pa.Array, name: str) -> Ints:
    values: Ints = pc.struct_field(flat, name).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return values


def _quads(quads: pa.Array) -> npt.NDArray[np.float64]:
    # FixedSizeListArray.flatten leaves null lists out, so the values are read past it
    values = quads.values.slice(quads.offset * 8, len(quads) * 8)
    numbers: npt.NDArray[np.float64] = values.to_numpy(zero_copy_only=False).astype(np.float64).reshape(-1, 8)
    if quads.null_count:
        numbers[quads.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return numbers
