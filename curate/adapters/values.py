"""Convert published values to curate's types: text of broken UTF-8, sizes as text or float, images as structs."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.sources.input_index import JSON

JSON_TEXT = r"(?s)^(?:\{.*\}|\[.*\])$"  # matches every JSON object or list, and other texts in such brackets
Floats = npt.NDArray[np.float64]

LARGEST_INT32 = 2**31 - 1
LARGEST_COSINE = 1.001  # rounding can make a cosine a little larger than 1; more is no cosine


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the column as one array without dictionaries, views or extension types, strings as large ones (N rows)."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # more than fits one array of 32-bit offsets
        array = pa.concat_arrays([_widened(chunk) for chunk in array.chunks])
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    return _widened(array)


def _widened(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return array.cast(pa.large_string())
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind):
        return array.cast(pa.large_binary())
    return array


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of that type holds texts."""
    known = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_of(kind) for is_of in known)


def text(column: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """Return the values as text (N rows), and where they were not valid UTF-8.

    Numbers become their text, a list of one item that item; values of other types become null. The second array is true
    where a text was not valid UTF-8 and now has U+FFFD in place of the bad bytes; it is None if all texts were valid.
    """
    array = _single(column)
    if pa.types.is_large_binary(array.type):
        array = array.cast(options=pc.CastOptions(pa.large_string(), allow_invalid_utf8=True))
    elif not pa.types.is_large_string(array.type):
        return (
            number_text(array) if _is_number(array.type) else pa.nulls(len(array), pa.large_string())
        ), None
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return _repaired(array)
    return array, None


def _repaired(array: pa.Array) -> tuple[pa.Array, pa.Array]:
    fixed: list[str | None] = []
    broken: list[bool] = []
    for value in array.cast(pa.large_binary()).to_pylist():
        if value is None:
            fixed.append(None)
            broken.append(False)
            continue
        repaired = value.decode("utf-8", "replace")
        fixed.append(repaired)
        broken.append(repaired.encode() != value)
    return pa.array(fixed, pa.large_string()), pa.array(broken)


def without_json(array: pa.Array) -> pa.Array:
    """Return the texts, null where one is a JSON object, or a JSON list with an item that is not a number (N rows).

    A column of JSON Lines that holds texts and other values has those other values as JSON text.

    Args:
        array: trimmed texts.
    """
    places = pc.indices_nonzero(pc.match_substring_regex(array, JSON_TEXT)).to_numpy()
    structured = np.zeros(len(array), bool)
    structured[[place for place in places.tolist() if _is_structured(array[place].as_py())]] = True
    return pc.if_else(pa.array(structured), pa.scalar(None, array.type), array) if len(places) else array


def _is_structured(text: str) -> bool:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(value, dict) or any(isinstance(item, str | dict | list) for item in value)


def trimmed(array: pa.Array) -> pa.Array:
    """Return the texts without white space around them; null where nothing is left (N rows)."""
    array = pc.utf8_trim_whitespace(array)
    return pc.if_else(pc.equal(array, ""), pa.scalar(None, array.type), array)


def size(column: pa.Array) -> pa.Array:
    """Return sizes in pixels as int32, from numbers or texts (N rows); null unless whole, positive and small enough."""
    array = _single(column)
    if pa.types.is_large_string(array.type):
        number = pc.replace_substring_regex(text(array)[0], r"^\s*\+?(\d{1,10})(?:\.0*)?\s*$", r"\1")
        whole = pc.match_substring_regex(number, r"^\d{1,10}$")
        array = pc.if_else(whole, number, pa.scalar(None, pa.large_string())).cast(pa.int64())
    elif not _is_number(array.type):
        return pa.nulls(len(array), pa.int32())
    array = array.cast(pa.float64(), safe=False)  # exact for every number that an int32 can hold
    fits = pc.and_(pc.greater(array, 0), pc.less_equal(array, LARGEST_INT32))
    fits = pc.and_(fits, pc.equal(pc.floor(array), array))
    return pc.if_else(fits, array, pa.scalar(None, pa.float64())).cast(pa.int32())


def cosine(column: pa.Array) -> pa.Array:
    """Return cosine similarities as float32 (N rows), of a list the largest; null unless a number from -1 to 1."""
    array = _floats(_best(plain(column))).cast(pa.float32(), safe=False)
    return pc.if_else(
        pc.less_equal(pc.abs(array), LARGEST_COSINE), array, pa.scalar(None, pa.float32())
    )  # comparisons with NaN are false, so NaN becomes null


def number(column: pa.Array | None, rows: int) -> Floats:
    """Return numbers, or texts of numbers, as float64 (N); NaN where there is none, and everywhere without a column.

    `rows` is N.
    """
    if column is None:
        return np.full(rows, np.nan)
    numbers: Floats = _floats(plain(column)).to_numpy(zero_copy_only=False)
    return numbers


def numbers(column: pa.ChunkedArray, field: pa.Field, count: int) -> Floats:
    """Return lists of exactly `count` numbers as an array (N x count); a row of NaN for any other value.

    Args:
        column: lists, or JSON texts of lists (N rows).
        field: the column's Arrow field; its metadata says whether the texts are JSON.
        count: numbers in each list.
    """
    lists = _lists(column, field, list[float], pa.list_(pa.float64()))
    fits = pc.equal(pc.list_value_length(lists), count).fill_null(False)
    out = np.full((len(lists), count), np.nan)
    found = pc.list_flatten(lists.filter(fits)).to_numpy(zero_copy_only=False)
    out[fits.to_numpy(zero_copy_only=False)] = found.reshape(-1, count)
    return out


def lists_of_numbers(column: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    """Return lists of lists of numbers (N rows), also from JSON texts; any other value becomes an empty list."""
    return _lists(column, field, list[list[float]], pa.list_(pa.list_(pa.float64()))).fill_null([])


def _lists(column: pa.ChunkedArray, field: pa.Field, kind: Any, arrow: pa.DataType) -> pa.Array:
    """Return lists of the type `arrow`, from lists or JSON texts of lists (N rows); null for any other value.

    `kind` is the same type as msgspec's.
    """
    array = plain(column)
    if field.metadata != JSON and not pa.types.is_large_string(array.type):
        try:
            return array.cast(arrow)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return pa.nulls(len(array), arrow)
    return pa.array([_decoded(value, kind) for value in array.to_pylist()], arrow)


def _decoded(value: str | None, kind: Any) -> Any:
    try:
        return None if value is None else msgspec.json.decode(value, type=kind)
    except msgspec.DecodeError:  # the base of ValidationError, too
        return None


def _floats(array: pa.Array) -> pa.Array:
    """Return numbers, or texts of numbers, as float64 (N rows); null where there is none."""
    if pa.types.is_large_string(array.type):
        array = trimmed(text(array)[0])
        numeric = pc.match_substring_regex(array, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$")
        return pc.if_else(numeric, array, pa.scalar(None, pa.large_string())).cast(pa.float64())
    return (
        array.cast(pa.float64(), safe=False) if _is_number(array.type) else pa.nulls(len(array), pa.float64())
    )


def image(column: pa.Array) -> tuple[pa.Array | None, pa.Array | None]:
    """Return the encoded bytes and the local paths in a column of images (N rows each); None for what it does not have.

    The column holds bytes, paths, or structs of `bytes` and `path`.
    """
    array = _single(column)
    if pa.types.is_struct(array.type):
        names = [array.type.field(i).name for i in range(array.type.num_fields)]
        parts = [
            _widened(pc.struct_field(array, name)) if name in names else None for name in ("bytes", "path")
        ]
        return parts[0], None if parts[1] is None else text(parts[1])[0]
    if pa.types.is_large_binary(array.type):
        return array, None
    if pa.types.is_large_string(array.type):
        return None, text(array)[0]
    return None, None


def path(column: pa.Array) -> pa.Array:
    """Return the local path, file name or number of each image as text (N rows)."""
    found = image(column)[1]
    return text(column)[0] if found is None else found


def number_text(array: pa.Array) -> pa.Array:
    """Return numbers as text (N rows). A whole float becomes the integer's text, so that ids do not depend on types."""
    if pa.types.is_floating(array.type):
        wide = array.cast(pa.float64())
        whole = pc.and_(pc.equal(pc.floor(wide), wide), pc.less(pc.abs(wide), float(2**63)))
        ints = pc.if_else(whole, wide, pa.scalar(None, pa.float64())).cast(pa.int64(), safe=False)
        return pc.coalesce(ints.cast(pa.large_string()), wide.cast(pa.large_string()))
    return array.cast(pa.large_string())


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _best(array: pa.Array) -> pa.Array:
    """Return the largest item of each list (N rows); a column without lists is returned as it is."""
    if not _is_list(array.type):
        return array
    items = pa.table({"row": pc.list_parent_indices(array), "value": plain(pc.list_flatten(array))})
    best = items.group_by("row").aggregate([("value", "max")]).combine_chunks()
    places = pc.index_in(pa.array(range(len(array)), pa.int64()), plain(best["row"]))
    return plain(best["value_max"]).take(places)


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _single(column: pa.Array) -> pa.Array:
    """Return the item of each list of one item, null for longer and empty lists (N rows).

    A column without lists is returned as it is.
    """
    array = plain(column)
    if not _is_list(array.type):
        return array
    array = array.cast(pa.large_list(array.type.value_type))
    one = pc.equal(pc.list_value_length(array), 1)
    places = pc.if_else(one, array.offsets[:-1], pa.scalar(None, pa.int64()))
    return plain(array.values.take(places))
