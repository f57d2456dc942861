"""Kernels on those rows that need them: the rows beyond plain ASCII, the rows a mask names."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc


def rewrite(values: pa.Array, mask: pa.BooleanArray, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """The values with `change` made to the rows where `mask` is true (N rows); its nulls count as false."""
    mask = pc.fill_null(mask, False)
    if not pc.any(mask, min_count=0).as_py():
        return values
    return pc.replace_with_mask(values, mask, change(values.filter(mask)))


def keep_unless(text: pa.StringArray, bad: Callable[[pa.StringArray], pa.BooleanArray]) -> pa.BooleanArray:
    """False where `bad` holds, asked only of texts that are not all printable ASCII (N rows).

    One pass over the bytes tells the two apart, several times faster than a regular expression.
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
