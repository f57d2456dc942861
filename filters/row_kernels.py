"""Apply functions only to the rows that need them: rows beyond plain ASCII, or rows where a mask is true."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BLOCK = 1 << 18  # bytes that are compared at a time, so that they stay in the processor's cache


def rewrite(values: pa.Array, mask: pa.BooleanArray, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """The values with `change` made to the rows where `mask` is true (N rows); its nulls count as false."""
    mask = pc.fill_null(mask, False)
    if not pc.any(mask, min_count=0).as_py():
        return values
    return pc.replace_with_mask(values, mask, change(values.filter(mask)))


def containing(text: pa.StringArray, characters: bytes) -> pa.BooleanArray:
    """True for texts with one of a few ASCII characters in them; false for null (N rows).

    One comparison of all bytes at once: a third of the time of a regular expression, which is run row by row.
    """
    _, ends, data = text.buffers()
    if not data:
        return pa.array(np.zeros(len(text), dtype=bool))
    wide = np.int64 if pa.types.is_large_string(text.type) else np.int32
    starts = np.frombuffer(ends, wide)[text.offset : text.offset + len(text) + 1]
    letters = np.frombuffer(data, np.uint8)[starts[0] : starts[-1]]
    mask = np.zeros(len(text), dtype=bool)
    for first in range(0, len(letters), BLOCK):
        block = letters[first : first + BLOCK]
        for character in characters:
            places = np.flatnonzero(block == character) + (first + starts[0])
            mask[np.searchsorted(starts, places, side="right") - 1] = True
    return pc.and_(pa.array(mask), pc.is_valid(text))


def keep_unless(text: pa.StringArray, bad: Callable[[pa.StringArray], pa.BooleanArray]) -> pa.BooleanArray:
    """False where `bad` holds, asked only of texts that are not all printable ASCII (N rows).

    `bad` returns true for texts to drop. Finding the other texts takes one pass over the bytes, which is several times
    faster than a regular expression.
    """
    plain = pc.ascii_is_printable(text)
    rest = pc.fill_null(pc.invert(plain), False)
    return pc.replace_with_mask(plain, rest, pc.invert(bad(text.filter(rest))))


def found(text: pa.StringArray, pattern: str) -> pa.StringArray:
    """What an RE2 pattern matches first in each text; null where it is not found."""
    return pc.struct_field(pc.extract_regex(text, f"(?P<found>{pattern})"), 0)


def named(text: pa.StringArray) -> pa.StringArray:
    """Each text with the code points it is made of: `U+0416 Ж`."""
    encoded = pc.dictionary_encode(text)
    names = [
        None if value is None else " ".join(f"U+{ord(character):04X}" for character in value) + f" {value}"
        for value in encoded.dictionary.to_pylist()  # as many as there are different ones
    ]
    return pa.array(names, text.type).take(encoded.indices)
