"""Turn rows of text formats into columns. Broken UTF-8 is kept as it is: the adapter judges it row by row."""

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

OFFSET = 4  # bytes a row that the offset of a value of variable length takes

encode_json = msgspec.json.Encoder(decimal_format="number").encode


def record_batch(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """The rows as one batch (N rows); a value that a row lacks is null.

    In a text column, other values are written as JSON, and bytes that are no UTF-8 are kept as they are.
    """
    return pa.record_batch([_column([row.get(f.name) for row in rows], f) for f in schema], schema=schema)


def unique(names: Sequence[str]) -> list[str]:
    """The names, made unique: an empty name becomes `column_3`, a repeated one gets its position (`text_3`)."""
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
    """The value as JSON text; NaN becomes null."""
    try:
        return encode_json(value).decode()
    except UnicodeEncodeError:  # a lone surrogate: the standard library writes it as an escape
        return json.dumps(value)


def _unruly(values: list[Any], kind: pa.DataType) -> pa.Array:
    """A text column of mixed values (N rows): others than texts become JSON; bytes that are no UTF-8 are kept."""
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
        return json_text(value).encode()
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # the surrogates come from JSON escapes, not from bytes that were no UTF-8
        return value.encode("utf-8", "surrogatepass")


def decoded_bytes(array: pa.Array) -> int:
    """Bytes that the array's values would take without dictionary encoding.

    The sizes of an array's slices add up to the size of the array.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _dictionary_bytes(array)
    if isinstance(kind, pa.BaseExtensionType):
        return decoded_bytes(array.storage)
    if pa.types.is_struct(kind):
        return sum(map(decoded_bytes, array.flatten()))
    if pa.types.is_map(kind):
        entries = array.slice(0)
        low, high = _bounds(entries, np.int32)
        inside = (entries.keys.slice(low, high - low), entries.items.slice(low, high - low))
        return OFFSET * len(array) + sum(map(decoded_bytes, inside))
    if kind.num_fields and hasattr(array, "flatten"):
        return OFFSET * len(array) + decoded_bytes(array.flatten())
    if offset := _offset(kind):
        low, high = _bounds(array, offset)
        return OFFSET * len(array) + high - low
    return _fixed_bytes(array)


def _fixed_bytes(array: pa.Array) -> int:
    """Bytes of values that all have the same width."""
    try:
        return max(1, int(array.type.bit_width) // 8) * len(array)
    except ValueError:  # the type has no width: the null type, and types that Parquet does not have
        return int(array.nbytes)


def _offset(kind: pa.DataType) -> type[np.signedinteger[Any]] | None:
    """The integer type of the offsets of texts or bytes; None for other types."""
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return np.int32
    return np.int64 if _is_large(kind) else None


def _bounds(array: pa.Array, kind: type[np.signedinteger[Any]]) -> tuple[int, int]:
    """Start and end of the array's values in their buffer; `kind` is the type of its offsets."""
    buffer = array.buffers()[1]
    if not len(array) or buffer is None:
        return 0, 0
    offsets = np.frombuffer(buffer, kind)
    return int(offsets[array.offset]), int(offsets[array.offset + len(array)])


def _dictionary_bytes(array: pa.Array) -> int:
    """Bytes of the values that the indices name, counted once for each index."""
    values = array.dictionary
    if _offset(values.type):
        sizes = pc.binary_length(values).cast(pa.int64())
        return OFFSET * len(array) + (pc.sum(sizes.take(array.indices)).as_py() or 0)
    return decoded_bytes(values) // max(1, len(values)) * len(array)


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_binary(kind) or pa.types.is_large_string(kind))


def fitting(batch: pa.RecordBatch, most: int) -> int:
    """How many rows from the first on take at most `most` bytes together, counted as by `decoded_bytes`."""
    low, high = 0, batch.num_rows
    while low < high:
        middle = (low + high + 1) // 2
        if sum(map(decoded_bytes, batch.slice(0, middle).columns)) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def holds_images(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold images: its values are bytes, or structs with a field of bytes."""
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
