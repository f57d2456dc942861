"""Rows of text formats become columns. Broken UTF-8 passes through: the adapter judges it row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from curate.sources.index import JSON

encode_json = msgspec.json.Encoder(decimal_format="number").encode


def record_batch(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """The rows as one batch; what a row lacks is null, what does not fit its column is null too (N rows)."""
    return pa.record_batch([_column([row.get(f.name) for row in rows], f) for f in schema], schema=schema)


def _column(values: list[Any], column: pa.Field) -> pa.Array:
    if column.metadata == JSON:
        values = [None if value is None else encode_json(value).decode() for value in values]
    try:
        return pa.array(values, column.type)
    except UnicodeEncodeError:
        return _broken_text(values, column.type)


def _broken_text(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Strings with lone surrogates, as the bytes they came from; whoever reads them must check (N rows)."""
    if pa.types.is_list(kind):
        items = [[_bytes(item) for item in value] if value is not None else None for value in values]
        return pa.array(items, pa.list_(pa.binary())).cast(pa.list_(pa.string()), safe=False)
    return pa.array([_bytes(value) for value in values], pa.binary()).cast(options=_UNCHECKED)


_UNCHECKED = pa.compute.CastOptions(target_type=pa.string(), allow_invalid_utf8=True)


def _bytes(value: str | None) -> bytes | None:
    if value is None:
        return None
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that a JSON escape named, not bytes that were no UTF-8
        return value.encode("utf-8", "surrogatepass")
