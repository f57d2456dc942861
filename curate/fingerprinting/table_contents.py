"""Finds images and texts in the columns of any table."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import InputError
from curate.images.fingerprint import VIEWS
from curate.images.sniffing import sniff
from curate.terminal import printable
from filters.evaluation_texts import words_of

HASH = re.compile(rb"[0-9a-fA-F]{64}")
BASE64_BEGIN = 64  # characters of a string that tell whether it is an image in Base64
CALLED_IMAGES = ("image", "images", "jpg", "jpeg", "png", "webp", "bytes")


def images_of(batch: pa.RecordBatch, name: str, first: int) -> Iterator[tuple[str, bytes]]:
    """Yield the encoded images of a batch, each with a name `NAME#ROW`.

    Images are values of binary columns, the `bytes` of structs, strings that hold an image in Base64 (as in the TSV
    files of MMBench, or as a `data:` URL), or lists of any of these. Bytes that do not begin like an image count as one
    only if their column's name is in CALLED_IMAGES.

    Args:
        batch: rows of a table.
        name: the table's name.
        first: the number of the batch's first row in the table.
    """
    columns = [field.name for field in batch.schema if _can_hold_images(field.type)]
    for row in range(batch.num_rows):
        for column in columns:
            for body in _bodies(batch.column(column)[row].as_py()):
                if column.lower() in CALLED_IMAGES or sniff(body):
                    yield f"{name}#{first + row}", body


def hashes_of(content: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the fingerprints of a list of PDQ hashes, each with a name `NAME:LINE` (lines count from 1).

    A line is 64 hex digits; a comma and what follows it, such as PDQ's quality, is ignored, and so are empty lines. The
    list has no hashes of crops, so the hash of the whole stands for all views.

    Raises:
        InputError: a line is no PDQ hash.
    """
    for number, line in enumerate(content.splitlines(), 1):
        digits = line.partition(b",")[0].strip()
        if not digits:
            continue
        if not HASH.fullmatch(digits):
            said = printable(digits[:40].decode("utf-8", "replace"))
            raise InputError(f"{name}, line {number} is no PDQ hash of 64 hex digits: {said!r}")
        yield f"{name}:{number}", bytes.fromhex(digits.decode()) * VIEWS


def texts_of(batch: pa.RecordBatch, columns: Sequence[str]) -> list[npt.NDArray[np.uint64]]:
    """Return the hashes of the words of each row, with the texts of the named columns joined.

    Rows without words are left out, and so are columns that the batch lacks.
    """
    named = [name for name in columns if name in batch.schema.names]
    found = []
    for row in range(batch.num_rows if named else 0):
        text = " ".join(_strings(batch.column(name)[row].as_py()) for name in named)
        if len(words := words_of(text)):
            found.append(words)
    return found


def _can_hold_images(kind: pa.DataType) -> bool:
    """Whether values of this type can hold encoded images, as bytes or in Base64."""
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _can_hold_images(kind.field(at).type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _can_hold_images(kind.value_type)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return True
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _bodies(value: Any) -> Iterator[bytes]:
    """Yield the byte strings in a value, and the images that it holds in Base64."""
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, str):
        yield from _of_base64(value)
    elif isinstance(value, dict):
        yield from _bodies(value.get("bytes"))
    elif isinstance(value, list):
        for one in value:
            yield from _bodies(one)


def _of_base64(text: str) -> Iterator[bytes]:
    """Yield the image that a string holds in Base64; only the beginning of it if the rest is damaged."""
    if text.startswith("data:image/"):
        text = text.partition(",")[2]
    try:
        beginning = binascii.a2b_base64(text[:BASE64_BEGIN], strict_mode=True)
    except ValueError:
        return
    if sniff(beginning):
        try:
            yield binascii.a2b_base64(text)
        except ValueError:
            yield beginning


def _strings(value: Any) -> str:
    """Return the text of a value: a string, or a list of strings joined by blanks, each once; else empty."""
    if isinstance(value, list):
        return " ".join(dict.fromkeys(one for one in value if isinstance(one, str)))
    return value if isinstance(value, str) else ""
