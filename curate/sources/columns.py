"""Rows of text formats become columns. Broken UTF-8 passes through: the adapter judges it row by row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.sources.input_index import JSON

encode_json = msgspec.json.Encoder(decimal_format="number").encode


def record_batch(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """The rows as one batch; what a row lacks is null, what does not fit its column is null too (N rows)."""
    return pa.record_batch([_column([row.get(f.name) for row in rows], f) for f in schema], schema=schema)


def unique(names: Sequence[str]) -> list[str]:
    """The names, those that are empty or there before with their place added."""
    given: dict[str, None] = {}
    for i, name in enumerate(names):
        name = name or f"column_{i + 1}"
        while name in given:
            name = f"{name}_{i + 1}"
        given[name] = None
    return list(given)


def _column(values: list[Any], column: pa.Field) -> pa.Array:
    if column.metadata == JSON:
        values = [None if value is None else json_text(value) for value in values]
    try:
        return pa.array(values, column.type)
    except (UnicodeEncodeError, pa.ArrowTypeError):
        return _unruly(values, column.type)


def json_text(value: Any) -> str:
    """The value as JSON; NaN is null."""
    try:
        return encode_json(value).decode()
    except UnicodeEncodeError:  # a lone surrogate: the standard library writes it as an escape
        return json.dumps(value)


def _unruly(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Strings, among them other values or bytes that are no UTF-8; the latter stay as they are (N rows)."""
    if pa.types.is_list(kind):
        items = [None if value is None else [_bytes(item) for item in value] for value in values]
        binary = pa.array(items, pa.list_(pa.binary()))
        strings = binary.values.cast(options=UNCHECKED)
        return pa.ListArray.from_arrays(binary.offsets, strings, mask=binary.is_null())
    return pa.array([_bytes(value) for value in values], pa.binary()).cast(options=UNCHECKED)


UNCHECKED = pc.CastOptions(target_type=pa.string(), allow_invalid_utf8=True)


def _bytes(value: Any) -> bytes | None:
    if value is None or value != value:  # NaN
        return None
    if not isinstance(value, str):
        return encode_json(value)
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that a JSON escape named, not bytes that were no UTF-8
        return value.encode("utf-8", "surrogatepass")


def decoded_bytes(array: pa.Array) -> int:
    """Bytes that the array's values take without dictionaries."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _dictionary_bytes(array)
    if pa.types.is_map(kind):
        return decoded_bytes(array.flatten())
    if pa.types.is_struct(kind):
        return sum(map(decoded_bytes, array.flatten()))
    if kind.num_fields and hasattr(array, "flatten"):
        return int(array.nbytes) if not _has_dictionary(kind) else decoded_bytes(array.flatten())
    return int(array.nbytes)


def _dictionary_bytes(array: pa.Array) -> int:
    values = array.dictionary
    if pa.types.is_binary(values.type) or pa.types.is_string(values.type) or _is_large(values.type):
        sizes = pc.binary_length(values).cast(pa.int64())
        return pc.sum(sizes.take(array.indices)).as_py() or 0
    return decoded_bytes(values) // max(1, len(values)) * len(array)


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_binary(kind) or pa.types.is_large_string(kind))


def _has_dictionary(kind: pa.DataType) -> bool:
    return pa.types.is_dictionary(kind) or any(
        _has_dictionary(kind.field(i).type) for i in range(kind.num_fields)
    )


def holds_images(kind: pa.DataType) -> bool:
    """Whether values of this type are bytes, by themselves or beside a path, as images are."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        return any(holds_images(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def value_bytes(column: pa.Array) -> npt.NDArray[np.int64]:
    """Bytes of each value (N rows): exact for texts and bytes, the mean for the rest."""
    sizes: npt.NDArray[np.int64]
    if pa.types.is_dictionary(column.type):
        indices = column.indices.fill_null(0).to_numpy(zero_copy_only=False)
        values = value_bytes(column.dictionary)
        sizes = values.take(indices) if len(values) else np.zeros(len(column), np.int64)
        return sizes
    try:
        sizes = pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    except pa.ArrowNotImplementedError:
        sizes = np.full(len(column), decoded_bytes(column) // max(1, len(column)), np.int64)
    return sizes
