"""Find the byte ranges of the values of an uncompressed, plainly encoded Parquet column in its file.

Such a value is stored as its length (4 bytes, little endian) and then its bytes, unchanged; the values of a page follow
one another. So an image can be read by its byte range, without decoding anything. The page headers are encoded in
Thrift's compact protocol; this module reads only the types of fields that page headers have.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

Ints = npt.NDArray[np.int64]
Buffer = bytes | bytearray | memoryview

PAGE_V1, DICTIONARY_PAGE, PAGE_V2 = 0, 2, 3
PLAIN = 0
LENGTH = struct.Struct("<I")


class Places(NamedTuple):
    """The byte ranges of a row group's values that are not null, in order."""

    offset: Ints  # bytes from the start of the file
    size: Ints  # bytes


class Header(NamedTuple):
    """A page's header."""

    kind: int  # PAGE_V1, DICTIONARY_PAGE or PAGE_V2
    size: int  # bytes of the page, without the header
    fields: dict[int, Any]  # of the data page's own header
    length: int  # bytes of the header
    crc: int | None = None  # CRC-32 of the page, where the writer noted it


def value_places(chunk: Buffer, column: Any, levels: int) -> Places:
    """The byte ranges of the values in a column chunk, given its bytes and its metadata.

    `levels` is how many kinds of levels stand before the values: definition levels, and in a list repetition levels.

    Raises:
        ValueError: the column is compressed or not plain, or its pages are inconsistent or damaged.
    """
    if column.compression != "UNCOMPRESSED":
        raise ValueError(f"{column.path_in_schema} is compressed ({column.compression})")
    if column.has_dictionary_page:
        raise ValueError(f"{column.path_in_schema} has a dictionary")
    offsets: list[int] = []
    sizes: list[int] = []
    start, at = column.data_page_offset, 0
    while at < len(chunk):
        header, at, end = _page(chunk, at, column)
        walk_values(chunk, values_start(chunk, at, header, levels), end, start, offsets, sizes)
        at = end
    return Places(np.array(offsets, np.int64), np.array(sizes, np.int64))


def dictionary_places(chunk: Buffer, column: Any) -> Places:
    """The byte ranges of the values in a column chunk's dictionary, given the chunk's bytes and its metadata.

    Raises:
        ValueError: the column is compressed or has no dictionary, or the dictionary's page is damaged.
    """
    if column.compression != "UNCOMPRESSED":
        raise ValueError(f"{column.path_in_schema} is compressed ({column.compression})")
    offsets: list[int] = []
    sizes: list[int] = []
    header, at, end = _page(chunk, 0, column)
    if header.kind != DICTIONARY_PAGE:
        raise ValueError(f"{column.path_in_schema} does not begin with its dictionary")
    walk_values(chunk, at, end, column.dictionary_page_offset, offsets, sizes)
    return Places(np.array(offsets, np.int64), np.array(sizes, np.int64))


def _page(chunk: Buffer, at: int, column: Any) -> tuple[Header, int, int]:
    """The header of the page that begins at byte `at`, and the offsets of its content's beginning and end.

    Raises:
        ValueError: the page is cut short, or damaged.
    """
    header = page_header(chunk, at)
    at, end = at + header.length, at + header.length + header.size
    if end > len(chunk):
        raise ValueError(f"a page of {column.path_in_schema} is cut short")
    if header.crc is not None and zlib.crc32(chunk[at:end]) != header.crc & 0xFFFFFFFF:
        raise ValueError(f"a page of {column.path_in_schema} is damaged")
    return header, at, end


def chunk_range(metadata: pq.RowGroupMetaData, path: str) -> tuple[Any, int, int]:
    """A column's metadata in a row group, and its chunk's first byte and size in the file.

    Raises:
        ValueError: no such column.
    """
    for number in range(metadata.num_columns):
        column = metadata.column(number)
        if column.path_in_schema == path:
            start = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
            return column, start, column.total_compressed_size
    raise ValueError(f"there is no column {path}")


def walk_values(chunk: Buffer, at: int, end: int, start: int, offsets: list[int], sizes: list[int]) -> None:
    """Find the values from byte `at` to byte `end` of a chunk that begins at byte `start` of its file.

    Appends the values' offsets in the file and their sizes, both in bytes, to `offsets` and `sizes`.

    Raises:
        ValueError: a value goes beyond the end.
    """
    while at + 4 <= end:
        (size,) = LENGTH.unpack_from(chunk, at)
        offsets.append(start + at + 4)
        sizes.append(size)
        at += 4 + size
    if at != end:
        raise ValueError("a value goes beyond its page")


def values_start(chunk: Buffer, at: int, header: Header, levels: int) -> int:
    """The offset in the chunk of the first value, behind the levels of a page whose content begins at byte `at`.

    Raises:
        ValueError: the page holds no plain values.
    """
    try:
        return _values_start(chunk, at, header, levels)
    except (KeyError, TypeError, struct.error):
        raise ValueError("a page header cannot be read") from None


def encoding(header: Header) -> int:
    """The number of the encoding of a data page's values, such as PLAIN."""
    return int(header.fields[4 if header.kind == PAGE_V2 else 2])


def _values_start(chunk: Buffer, at: int, header: Header, levels: int) -> int:
    if header.kind == PAGE_V2:
        skipped = header.fields[5] + header.fields[6]
    elif header.kind == PAGE_V1:
        skipped = 0
        for _ in range(levels):
            skipped += 4 + LENGTH.unpack_from(chunk, min(at + skipped, len(chunk) - 4))[0]
    else:
        raise ValueError(f"a page of kind {header.kind} stands among the data")
    if (found := encoding(header)) != PLAIN:
        raise ValueError(f"a page is not plain but encoded ({found})")
    return at + int(skipped)


def page_header(chunk: Buffer, at: int) -> Header:
    """The header of the page that begins at byte `at` of the chunk.

    Raises:
        ValueError: there is no header, or it is incomplete or malformed.
    """
    try:
        fields, end = _struct(chunk, at)
        header = Header(fields[1], fields[3], fields.get(5) or fields.get(8) or {}, end - at, fields.get(4))
    except (IndexError, KeyError, RecursionError):
        raise ValueError("a page header cannot be read") from None
    if not isinstance(header.size, int) or not isinstance(header.crc, int | None):
        raise ValueError("a page header cannot be read")
    if header.size < 0:
        raise ValueError("a page has a negative size")
    return header


def _struct(data: Buffer, at: int) -> tuple[dict[int, Any], int]:
    """A Thrift struct's fields by number, and the offset of its end."""
    fields: dict[int, Any] = {}
    number = 0
    while (byte := data[at]) != 0:
        at += 1
        if byte >> 4:
            number += byte >> 4
        else:
            number, at = _zigzag(data, at)
        fields[number], at = _value(data, at, byte & 0x0F)
    return fields, at + 1


def _value(data: Buffer, at: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2):  # true, false
        return kind == 1, at
    if kind == 3:  # a byte
        return data[at], at + 1
    if kind in (4, 5, 6):  # integers of any size
        return _zigzag(data, at)
    if kind == 7:  # a double
        return None, at + 8
    if kind == 8:  # bytes
        size, at = _varint(data, at)
        return None, at + size
    if kind == 12:
        return _struct(data, at)
    raise KeyError(kind)  # lists, sets and maps occur in no page header


def _varint(data: Buffer, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, at = value | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise KeyError(shift)  # no number is that long


def _zigzag(data: Buffer, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
