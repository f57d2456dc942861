"""Write the source's other columns as one JSON text for each row, column by column."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curate.adapters.values import plain, text
from curate.sources.input_index import JSON

ESCAPED = '["\\\\\\x00-\\x1f]'
encode = msgspec.json.Encoder(enc_hook=str).encode


def extra(table: pa.Table, names: Sequence[str]) -> pa.Array:
    """Return a JSON object of the columns `names` for each row (N rows): integers exact, NaN null, bytes as base64."""
    if not names:
        return pa.array(["{}"] * table.num_rows, pa.large_string())
    parts: list[Any] = []
    for i, name in enumerate(names):
        parts += [("," if i else "{") + json.dumps(name, ensure_ascii=False) + ":"]
        parts += [_values(table[name], table.schema.field(name))]
    scalars = [part if isinstance(part, pa.Array) else pa.scalar(part, pa.large_string()) for part in parts]
    end = pa.scalar("}", pa.large_string())
    return pc.binary_join_element_wise(*scalars, end, pa.scalar("", pa.large_string()))


def _values(column: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    """Return each value as JSON text (N rows); null becomes the text `null`."""
    array = plain(column)
    if field.metadata == JSON:
        return array.fill_null("null")
    try:
        values = _in_columns(array)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # such as times in an unknown time zone
        values = None
    if values is None:
        values = pa.array([_json(value) for value in array], pa.large_string())
    return values.fill_null("null")


def _in_columns(array: pa.Array) -> pa.Array | None:
    """Return each value as JSON text by Arrow's kernels (N rows); None if the type needs Python."""
    kind = array.type
    if pa.types.is_floating(kind):
        wide = array if kind == pa.float64() else array.cast(pa.float32())
        return pc.if_else(pc.is_finite(wide), wide, pa.scalar(None, wide.type)).cast(pa.large_string())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        return array.cast(pa.large_string())
    if pa.types.is_large_string(kind):
        return _quoted(text(array)[0])
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return _quoted(array.cast(pa.large_string()))
    return None


def _quoted(array: pa.Array) -> pa.Array:
    """Return the texts as JSON strings (N rows). Python encodes only those with characters to escape, as it is slow."""
    quote = pa.scalar('"', pa.large_string())
    quoted = pc.binary_join_element_wise(quote, array, quote, pa.scalar("", pa.large_string()))
    special = pc.match_substring_regex(array, ESCAPED)
    if pc.any(special).as_py():
        special = special.fill_null(False)
        escaped = [encode(value).decode() for value in array.filter(special).to_pylist()]
        quoted = pc.replace_with_mask(quoted, special, pa.array(escaped, quoted.type))
    return quoted


def _json(value: pa.Scalar) -> str | None:
    try:
        return encode(value.as_py()).decode()
    except (
        ValueError,
        OverflowError,
        pa.ArrowException,
    ):  # broken UTF-8, or a date that Python's datetime cannot hold: this value alone becomes null
        return None
