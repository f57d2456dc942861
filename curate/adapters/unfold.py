"""Unfold nested lists into rows: an image's regions, a book's questions, a reference's sentences.

A list of objects in the column `regions` gives a column `regions.FIELD` for each field of the objects; a list of
texts gives one column of the list's name. Several lists are unfolded side by side: their i-th items are one record. The
other columns are repeated. A row without any item becomes one record with the problem `COLUMN_missing`. An object of
objects is unfolded like a list of them; `regions.__key__` has the name of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.adapters.values import plain
from curate.sources import DETAIL, PROBLEM
from curate.sources.columns import record_batch
from curate.sources.input_index import JSON, Kinds, schema

Ints = npt.NDArray[np.int64]

decode = msgspec.json.Decoder().decode


def unfold(batch: pa.Table, names: Sequence[str]) -> tuple[pa.Table, Ints, Ints]:
    """Return one row for each item of the lists in the columns `names` (N rows in, M out).

    Also returns, for each of the M rows, the number of the row in `batch` that it comes from and its number there, both
    from 0. Without any of these columns, `batch` is returned as it is.
    """
    lists = [items(batch[name], batch.schema.field(name)) for name in names if name in batch.column_names]
    if not lists:
        return batch, np.arange(batch.num_rows), np.zeros(batch.num_rows, np.int64)
    most = np.max([counts for counts, _ in lists], axis=0)
    rows = np.maximum(most, 1)
    parent = np.repeat(np.arange(batch.num_rows), rows)
    rank = np.arange(len(parent)) - np.repeat(np.cumsum(rows) - rows, rows)
    table = batch.drop_columns([name for name in names if name in batch.column_names]).take(pa.array(parent))
    for counts, columns in lists:
        place = (np.cumsum(counts) - counts)[parent] + rank
        taken = columns.take(pa.array(place, mask=rank >= counts[parent]))
        for name in columns.column_names:
            table = _with(table, taken.schema.field(name), taken[name])
    return _empty_marked(table, most[parent] == 0, f"{names[0]}_missing"), parent, rank


def items(column: pa.ChunkedArray, field: pa.Field) -> tuple[Ints, pa.Table]:
    """Return how many items each list holds (N), and the items as a table (M rows).

    A list may also be JSON text; what is no list has no items. Columns are named as the module says.

    Args:
        column: lists (N rows).
        field: the column's Arrow field; its name begins the names of the items' columns.
    """
    array = plain(column)
    if field.metadata == JSON or pa.types.is_large_string(array.type):
        return _decoded(array, field.name)
    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
        return np.zeros(len(array), np.int64), pa.table({field.name: pa.nulls(0)})
    counts = pc.list_value_length(array).fill_null(0).to_numpy().astype(np.int64)
    flat = plain(pc.list_flatten(array))
    if not pa.types.is_struct(flat.type):
        return counts, pa.table({field.name: flat})
    names = [flat.type.field(i).name for i in range(flat.type.num_fields)]
    return counts, pa.table({f"{field.name}.{name}": pc.struct_field(flat, name) for name in names})


def _decoded(texts: pa.Array, name: str) -> tuple[Ints, pa.Table]:
    """Return the items of lists in JSON, as `items` does; a value that is no list has none."""
    lists = [_list(text) for text in texts.to_pylist()]
    rows = [
        {f"{name}.{key}": value for key, value in item.items()} if isinstance(item, dict) else {name: item}
        for found in lists
        for item in found
    ]
    kinds = Kinds()
    kinds.see(rows)
    made = schema(kinds.columns())
    return np.array([len(found) for found in lists], np.int64), pa.table(record_batch(rows, made))


def _list(text: str | None) -> list[Any]:
    try:
        found = None if text is None else decode(text)
    except msgspec.DecodeError:
        return []
    if isinstance(found, dict) and all(isinstance(value, dict) for value in found.values()):
        return [{"__key__": key, **value} for key, value in found.items()]
    return found if isinstance(found, list) else []


def _with(table: pa.Table, field: pa.Field, column: pa.ChunkedArray) -> pa.Table:
    """Return the table with the column added, in place of one of the same name."""
    if field.name in table.column_names:
        table = table.drop_columns([field.name])
    return table.append_column(field, column)


def _empty_marked(table: pa.Table, empty: npt.NDArray[np.bool_], reason: str) -> pa.Table:
    """Return the table with the problem `reason` for rows without any item that have no problem yet."""
    problem = pc.if_else(pa.array(empty), reason, pa.scalar(None, pa.string()))
    if PROBLEM in table.column_names:
        problem = pc.coalesce(plain(table[PROBLEM]).cast(pa.string()), problem)
    table = _with(table, pa.field(PROBLEM, pa.string()), pa.chunked_array([problem]))
    if DETAIL not in table.column_names:
        table = table.append_column(DETAIL, pa.nulls(table.num_rows, pa.string()))
    return table
