"""Rules that compare the rows of a data set with each other: the table has one row for each pair of image and text.

A table holds all pairs that have the same image. Its columns: `image` and `text`, 16-byte fingerprints; `length`, code
points of the clean text; `unit` and `row`, the pair's position in the source, which is unique. Rows may have any order.
No answer is null.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.rule import one_array, rule

Numbers = npt.NDArray[np.int64]
FINGERPRINT = pa.binary(16)
_EMPTY = blake2b(digest_size=16)


@rule("duplicate_pair")
def first_of_each_pair(
    image: pa.FixedSizeBinaryArray, text: pa.FixedSizeBinaryArray, unit: pa.Int32Array, row: pa.Int32Array
) -> pa.BooleanArray:
    """Keep the first pair, in source order, of those with the same image and the same text."""
    return _first_of_each(_pair_codes(image, text), _place(unit, row))


@rule("id_repeated")
def first_of_each_id(
    image: pa.FixedSizeBinaryArray, unit: pa.Int32Array, row: pa.Int32Array
) -> pa.BooleanArray:
    """Keep the first row, in source order, of those with the same key; the column `image` holds the key here."""
    return _first_of_each(_codes(image), _place(unit, row))


@rule("shorter_text_of_same_image")
def longest_of_each_image(
    image: pa.FixedSizeBinaryArray, length: pa.Int32Array, unit: pa.Int32Array, row: pa.Int32Array
) -> pa.BooleanArray:
    """Keep the longest of several texts for one image; of equally long ones the first in source order (A.1)."""
    return _first_of_each(_codes(image), -length.to_numpy().astype(np.int64), _place(unit, row))


@rule("placeholder_image")
def with_few_texts(
    image: pa.FixedSizeBinaryArray,
    text: pa.FixedSizeBinaryArray,
    *,
    max_texts: int,
    max_addresses: int = 9,
) -> pa.BooleanArray:
    """Keep images with at most `max_texts` different texts; a "not found" picture has very many.

    `max_addresses` (0: any number) limits how many addresses may redirect to one file. A run calls this function a
    second time for redirects: the column `image` then holds the address where they end, `text` the addresses that lead
    there, and `max_texts` is `max_addresses`.
    """
    for name, most in (("max_texts", max_texts), ("max_addresses", max_addresses)):
        if most < 0:
            raise ValueError(f"{name} must be at least 0, not {most}")
    codes = _codes(image)
    _, first = np.unique(_pair_codes(image, text), return_index=True)
    texts = np.bincount(codes[first], minlength=len(codes))
    return pa.array(texts[codes] <= max_texts)


def fingerprint(*columns: pa.Array | pa.ChunkedArray) -> pa.FixedSizeBinaryArray:
    """A content hash of each row (N rows of 16 bytes, never null), the same on every machine, for ever.

    It is BLAKE2b-128 of the columns' values one after the other, each as `LENGTH:BYTES` with the length in
    decimal digits, or as `-` where it is null. Columns are strings (taken as UTF-8) or binaries.
    """
    parts = [_netstrings(column) for column in columns]
    joined = pc.binary_join_element_wise(*parts, _bytes(b""))
    hashes = pa.py_buffer(blake2b_128(joined))
    return pa.FixedSizeBinaryArray.from_buffers(FINGERPRINT, len(joined), [None, hashes])


def blake2b_128(values: pa.LargeBinaryArray) -> bytes:
    """The BLAKE2b-128 of each of N values, none of them null: 16 bytes each.

    Copying an empty hash object is faster than creating one, and one loop is faster than a call for each value.
    """
    _, offsets, data = values.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[values.offset : values.offset + len(values) + 1].tolist()
    view, copy, found = memoryview(data or b""), _EMPTY.copy, []
    for start, stop in pairwise(bounds):
        one = copy()
        one.update(view[start:stop])
        found.append(one.digest())
    return b"".join(found)


def _netstrings(column: pa.Array | pa.ChunkedArray) -> pa.LargeBinaryArray:
    binary = pc.cast(one_array(column), pa.large_binary())
    sizes = pc.cast(pc.cast(pc.binary_length(binary), pa.large_string()), pa.large_binary())
    return pc.fill_null(pc.binary_join_element_wise(sizes, binary, _bytes(b":")), _bytes(b"-"))


def _bytes(value: bytes) -> pa.LargeBinaryScalar:
    return pa.scalar(value, pa.large_binary())


def _codes(values: pa.FixedSizeBinaryArray) -> Numbers:
    """A number for each value, the same for equal ones, below the number of values (N)."""
    indices: Numbers = pc.dictionary_encode(values).indices.to_numpy().astype(np.int64)
    return indices


def _pair_codes(image: pa.FixedSizeBinaryArray, text: pa.FixedSizeBinaryArray) -> Numbers:
    """A number for each pair, the same for equal pairs (N)."""
    return _codes(image) * len(text) + _codes(text)


def _place(unit: pa.Int32Array, row: pa.Int32Array) -> Numbers:
    """Numbers that grow in source order (N)."""
    place: Numbers = (unit.to_numpy().astype(np.int64) << 32) + row.to_numpy()
    return place


def _first_of_each(group: Numbers, *ranks: Numbers) -> pa.BooleanArray:
    """True at one row of each group: the least by the first rank, then by the next (N rows)."""
    order = np.lexsort((*reversed(ranks), group))
    keep = np.zeros(len(group), dtype=bool)
    starts = np.ones(len(group), dtype=bool)
    starts[1:] = np.diff(group[order]) != 0
    keep[order[starts]] = True
    return pa.array(keep)
