"""What a row is called for ever, and the language of its text."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import pyarrow as pa
import pyarrow.compute as pc

LETTERS_A_HAN = 3  # a Chinese character says about as much as three letters


def keys(dataset: str, parts: Sequence[pa.Array]) -> pa.Array:
    """32 hex digits for each row (N rows), from the data set's name and the row's identifying strings.

    Every string goes in with its length, so that no two rows run together. Nothing else counts: not the file,
    the order, the other columns or how numbers were stored.
    """
    pieces: list[pa.Array | pa.Scalar] = [_string(f"{dataset}\n")]
    for part in parts:
        pieces += [
            pc.binary_length(part).cast(pa.large_string()).fill_null("-"),
            _string(":"),
            part.fill_null(""),
        ]
    material = pc.binary_join_element_wise(*pieces, _string(""))
    digests = [
        blake2b(value, digest_size=16).digest() for value in material.cast(pa.large_binary()).to_pylist()
    ]
    text = pa.py_buffer(b"".join(digests).hex().encode())
    return pa.Array.from_buffers(pa.binary(32), len(digests), [None, text]).cast(pa.string())


def digests(images: pa.Array) -> pa.Array:
    """A hex digest of each image's bytes (N rows); null stays null."""
    return pa.array(
        [
            None if not value.is_valid else blake2b(value.as_buffer(), digest_size=16).hexdigest()
            for value in images
        ],
        pa.large_string(),
    )


def languages(texts: pa.Array) -> pa.Array:
    """`zh` where three times the Han characters reach the number of Latin letters, else `en` (N rows)."""
    other = pc.invert(pc.string_is_ascii(texts)).fill_null(False)
    some = texts.filter(other)
    han = pc.count_substring_regex(some, r"\p{Han}")
    latin = pc.count_substring_regex(some, r"\p{Latin}")
    chinese = pc.and_(pc.greater(han, 0), pc.greater_equal(pc.multiply(han, LETTERS_A_HAN), latin))
    english = pa.repeat("en", len(texts))
    return pc.replace_with_mask(english, other, pc.if_else(chinese, "zh", "en"))


def _string(value: str) -> pa.Scalar:
    return pa.scalar(value, pa.large_string())
