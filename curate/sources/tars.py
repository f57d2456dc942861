"""WebDataset tars: files with one base name are one row, the image as bytes, JSON fields and texts beside it.

One pass notes where each file of a row lies; reading then seeks. The files of a row may lie anywhere in the
tar. A packed tar is unpacked once into the work folder.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.errors import InputError
from curate.sources import index
from curate.sources.columns import record_batch
from curate.sources.inputs import Input, suffixes
from curate.sources.lines import json_row
from curate.sources.reading import BATCH_BYTES, BATCH_ROWS, DETAIL, PROBLEM, Forward, Source
from curate.sources.streams import open_bytes

IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "avif")
BINARY = (*IMAGES, "npy", "npz", "pt", "pth", "pkl", "pickle", "mp3", "mp4", "wav", "flac", "bin")
KEY = "__key__"
FILE_BYTES = 2**28  # a larger file is not read

Sample = tuple[str, dict[str, tuple[int, int]]]


def open_tar(source: Input, work: Path) -> Source:
    """The tar's rows, in the order in which their first files come.

    Raises:
        InputError: not a tar, truncated, or without files.
    """
    source = _unpacked(source, work)
    found = index.remembered(index.place(work, source, "samples", None), lambda: _scan(source))
    schema = index.schema(found.columns)
    schema = schema.append(pa.field(PROBLEM, pa.string())).append(pa.field(DETAIL, pa.string()))

    def begin(row: int) -> tuple[int, Iterator[pa.RecordBatch]]:
        return row, _batches(source, found.samples[row:], schema)

    return Forward(source.uri, found.rows, schema, begin)


def _unpacked(source: Input, work: Path) -> Input:
    if not suffixes(source.name)[1]:
        return source

    def unpack(file: Any) -> None:
        with open_bytes(source) as packed:
            shutil.copyfileobj(packed, file, 4 * 2**20)

    path = index.made_once(index.place(work, source, "tar", None), unpack)
    return Input(str(path), path.name, path.stat().st_size, source.fingerprint)


def _scan(source: Input) -> index.Index:
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    kinds = index.Kinds()
    with open_bytes(source) as file:
        size = file.size()
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    tar.members.clear()  # type: ignore[attr-defined]  # else it keeps every header
                    if member.offset_data + member.size > size:
                        raise tarfile.ReadError(f"it ends within {member.name!r}")
                    key, _, suffix = _split(member.name)
                    if member.isreg() and not member.sparse and key and suffix:
                        samples.setdefault(key, {})[suffix] = (member.offset_data, member.size)
        except tarfile.TarError as error:
            raise InputError(
                f"{source.uri} is not a whole tar: {error}; fetch it again or leave it out"
            ) from None
        for chunk in _chunks(file, list(samples.items()), with_images=False):
            kinds.see(row for row in chunk if PROBLEM not in row)
    if not samples:
        raise InputError(f"{source.uri} holds no files of the form NAME.EXT")
    columns = kinds.columns() | {KEY: "string", "image": "binary"}
    return index.Index(len(samples), columns, samples=list(samples.items()))


def _split(name: str) -> tuple[str, str, str]:
    """Folder and base name up to the first dot, the dot, the suffix; empty for hidden files."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    return (folder + slash + stem if stem else "", dot, suffix.lower())


def _batches(source: Input, samples: list[Sample], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with open_bytes(source) as file:
        for chunk in _chunks(file, samples, with_images=True):
            yield record_batch(chunk, schema)


def _chunks(file: Any, samples: list[Sample], with_images: bool) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    size = 0
    for key, files in samples:
        chunk.append(_row(file, key, files, with_images))
        size += sum(length for _, length in files.values())
        if len(chunk) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _row(file: Any, key: str, files: dict[str, tuple[int, int]], with_images: bool) -> dict[str, Any]:
    """One row; the fields of its .json stand beside its other files, each under its suffix.

    Of files that are no text the image alone is taken: not a mask `seg.png`, nor arrays or sound.
    """
    row: dict[str, Any] = {}
    for suffix, (offset, length) in files.items():
        if suffix in IMAGES and (not with_images or "image" in row):
            continue
        if suffix not in IMAGES and suffix.rpartition(".")[2] in BINARY:
            continue
        if length > FILE_BYTES:
            row |= {PROBLEM: "too_large", DETAIL: f"{suffix}: {length} bytes, more than {FILE_BYTES}"}
            continue
        file.seek(offset)
        content = file.read(length)
        if suffix in IMAGES:
            row["image"] = content
        elif suffix == "json":
            row = json_row(content) | row
        else:
            row[suffix] = content.decode("utf-8", "surrogateescape")
    return row | {KEY: key}
