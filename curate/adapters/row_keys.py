"""Compute a row's key, which stays the same for ever, and the language of its text."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.duplicates import blake2b_128

# HAN and LETTER say of each byte value whether it is counted. A character from U+4000 to U+9FFF, which are nearly all
# Han characters in use, begins with a byte from E4 to E9 in UTF-8.
HAN_FROM, HAN_UP = np.uint8(0xE4), np.uint8(0xE9 - 0xE4)
HAN = np.array([0xE4 <= byte <= 0xE9 for byte in range(256)])
LETTER = np.array([byte < 128 and chr(byte).isalpha() for byte in range(256)])
Bools = npt.NDArray[np.bool_]

LONG = 4096  # bytes: if texts are longer than this on average, their characters are counted text by text
LETTERS_A_HAN = 3  # one Chinese character carries about as much meaning as three letters


def keys(dataset: str, parts: Sequence[pa.Array]) -> pa.Array:
    """Return a key of 32 hex digits for each row (N rows), a hash of the data set's name and the row's strings.

    Each string is hashed with its length, so that `ab`, `c` and `a`, `bc` give different keys; null differs from an
    empty string. Nothing else counts: not the file, the order, the other columns or how numbers were stored.

    Args:
        dataset: the data set's name.
        parts: columns of strings that identify a row (N rows each).
    """
    pieces: list[pa.Array | pa.Scalar] = [_string(f"{dataset}\n")]
    for part in parts:
        pieces += [
            pc.binary_length(part).cast(pa.large_string()).fill_null("-"),
            _string(":"),
            part.fill_null(""),
        ]
    material = pc.binary_join_element_wise(*pieces, _string(""))
    text = pa.py_buffer(blake2b_128(material.cast(pa.large_binary())).hex().encode())
    return pa.Array.from_buffers(pa.binary(32), len(material), [None, text]).cast(pa.string())


def digests(images: pa.Array) -> pa.Array:
    """Return a hash of each image's bytes, as 32 hex digits (N rows); null stays null."""
    return pa.array(
        [
            None if not value.is_valid else blake2b(value.as_buffer(), digest_size=16).hexdigest()
            for value in images
        ],
        pa.large_string(),
    )


def languages(texts: pa.Array) -> pa.Array:
    """Return `zh` for texts with Han characters, if three times their number is at least that of A-Z, a-z; else `en`.

    N rows.
    """
    chinese = np.zeros(len(texts), bool)
    places = np.flatnonzero(_with_han(texts))
    some = texts.take(pa.array(places))
    chinese[places] = LETTERS_A_HAN * _counts(some, HAN) >= _counts(some, LETTER)
    return pc.if_else(pa.array(chinese), "zh", "en")


def _with_han(texts: pa.Array) -> Bools:
    """Return true for the texts with a Han character (N rows), by one comparison over the bytes of the whole column."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data else np.empty(0, np.uint8)
    places = np.flatnonzero(content - HAN_FROM <= HAN_UP) + ends[0]  # bytes below HAN_FROM wrap to large ones
    found = np.zeros(len(texts), bool)
    found[np.searchsorted(ends, places, side="right") - 1] = True
    return found


def _counts(texts: pa.Array, wanted: np.ndarray) -> np.ndarray:
    """Return how many bytes of each text are `wanted` (N rows). A regular expression takes ten times as long."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data else np.empty(0, np.uint8)
    ends = ends - ends[0]
    if len(content) > LONG * len(texts):  # the running sum below takes five times the memory of the texts
        spans = pairwise(ends.tolist())
        return np.array([np.count_nonzero(wanted[content[start:end]]) for start, end in spans])
    sums = np.zeros(len(content) + 1, np.int32)
    np.cumsum(wanted[content], out=sums[1:], dtype=np.int32)
    return np.diff(sums[ends])


def _string(value: str) -> pa.Scalar:
    return pa.scalar(value, pa.large_string())
