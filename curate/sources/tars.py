"""Read WebDataset tars: the files with one base name are one row, with the image, JSON fields and texts as columns.

One pass notes the offset of each file of a row; reading then seeks to it. The files of a row may lie anywhere in the
tar. A compressed tar is unpacked once into the work folder.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.errors import UnreadableInputError
from curate.manifest.settings import InputSettings
from curate.sources import input_index
from curate.sources.columns import record_batch
from curate.sources.inputs import Input, suffixes
from curate.sources.line_formats import faulty, json_row, limits
from curate.sources.reading import BATCH_BYTES, BATCH_ROWS, DETAIL, PROBLEM, Forward, Source
from curate.sources.streams import ExpansionError, open_bytes

IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "avif")
BINARY = (*IMAGES, "npy", "npz", "pt", "pth", "pkl", "pickle", "mp3", "mp4", "wav", "flac", "bin")
KEY = "__key__"
HEADER_BYTES = 2**20  # limit on the bytes that describe a file: long names, tables of sparse files
CUT = -1  # in place of the offset of a file that is not complete in the tar

Sample = tuple[str, dict[str, tuple[int, int]]]


def open_tar(source: Input, settings: InputSettings, work: Path) -> Source:
    """Open a tar as a source; its rows are in the order of their first files. Its index is kept in the folder `work`.

    Raises:
        UnreadableInputError: not a tar, truncated, or without files of the form NAME.EXT.
    """
    source, is_cut = _unpacked(source, settings, work)
    place = input_index.place(work, source, "samples", limits(settings))
    found = input_index.remembered(place, lambda: _scan(source, settings, is_cut))
    schema = input_index.schema(found.columns)
    schema = schema.append(pa.field(PROBLEM, pa.string())).append(pa.field(DETAIL, pa.string()))

    def begin(row: int) -> tuple[int, Iterator[pa.RecordBatch]]:
        return row, _batches(source, settings, found.samples[row:], schema)

    return Forward(source.uri, found.rows, schema, begin)


def _unpacked(source: Input, settings: InputSettings, work: Path) -> tuple[Input, bool]:
    """The tar, unpacked into `work` if it is compressed, and whether it was cut at its limit of unpacked bytes."""
    if not suffixes(source.name)[1]:
        return source, False
    path = input_index.place(work, source, "tar", limits(settings))
    cut = path.with_suffix(".cut")

    def unpack(file: Any) -> None:
        try:
            with open_bytes(source, settings) as packed:
                shutil.copyfileobj(packed, file, 4 * 2**20)
        except ExpansionError as error:
            cut.write_text(str(error))

    input_index.made_once(path, unpack)
    return Input(str(path), path.name, path.stat().st_size, source.fingerprint), cut.exists()


class Headers:
    """A tar's file for `tarfile`, which reads headers whole into memory: it refuses to read long headers."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        """The next `size` bytes.

        Raises:
            ReadError: `size` is negative, or larger than any header.
        """
        if not 0 <= size <= HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes, more than {HEADER_BYTES}")
        content: bytes = self._file.read(size)
        return content


def _scan(source: Input, settings: InputSettings, is_cut: bool) -> input_index.RowIndex:
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    kinds = input_index.Kinds()
    with open_bytes(source, settings) as file:
        try:
            for member, is_whole in _members(file, is_cut):
                key, _, suffix = _split(member.name)
                if member.isreg() and not member.sparse and key and suffix:
                    place = member.offset_data if is_whole else CUT
                    samples.setdefault(key, {})[suffix] = (place, member.size)
        except (tarfile.TarError, UnicodeError, OverflowError) as error:
            raise UnreadableInputError(
                f"{source.uri} is not a whole tar: {error}; fetch it again or leave it out"
            ) from None
        samples = _parted(samples)
        for chunk in _chunks(file, settings, list(samples.items()), with_images=False):
            kinds.see(row for row in chunk if PROBLEM not in row)
    if not samples:
        raise UnreadableInputError(f"{source.uri} holds no files of the form NAME.EXT", "empty")
    columns = kinds.columns() | {KEY: "string", "image": "binary"}
    return input_index.RowIndex(len(samples), columns, samples=list(samples.items()))


def _members(file: Any, is_cut: bool) -> Iterator[tuple[tarfile.TarInfo, bool]]:
    """Yield the tar's members, and whether each is complete; in a tar that we cut, the last one may not be.

    Raises:
        TarError: the tar is damaged.
    """
    size, at = file.size(), -1
    with tarfile.open(fileobj=Headers(file), mode="r:") as tar:  # type: ignore[call-overload]
        while True:
            try:
                member = tar.next()
            except tarfile.ReadError:
                if is_cut:  # within a header
                    return
                raise
            if member is None:
                return
            tar.members.clear()  # else it keeps every header
            if member.size < 0 or member.offset_data <= at:
                raise tarfile.ReadError(f"{member.name!r} has {member.size} bytes")
            at = member.offset_data
            is_whole = member.offset_data + member.size <= size
            if not is_whole and not is_cut:
                raise tarfile.ReadError(f"it ends within {member.name!r}")
            yield member, is_whole
            if not is_whole:
                return


def _parted(samples: dict[str, dict[str, tuple[int, int]]]) -> dict[str, dict[str, tuple[int, int]]]:
    """Separate samples whose file names have several dots (`shot.1.jpg`, `shot.1.txt`, `shot.2.jpg`).

    By WebDataset's rule, the suffix begins at the first dot, so that `a.seg.png` belongs to `a.jpg`. This holds here
    too, with two exceptions. `NAME.1` is a sample of its own if it has an image and a file that is no image; or if it
    has an image, and no file of the sample NAME is an image by that rule.
    """
    parted: dict[str, dict[str, tuple[int, int]]] = {}
    for key, files in samples.items():
        stems: dict[str, dict[str, tuple[int, int]]] = {}
        for suffix, place in files.items():
            stem, dot, last = suffix.rpartition(".")
            stems.setdefault(f"{key}{dot}{stem}", {})[last] = place
        has_image = any(suffix in IMAGES for suffix in files)
        own = {stem for stem, mine in stems.items() if stem != key and _is_sample(mine, has_image)}
        rest = {suffix: place for suffix, place in files.items() if _stem_of(key, suffix) not in own}
        for stem in dict.fromkeys(_stem_of(key, suffix) for suffix in files):
            if stem in own:
                parted[stem] = stems[stem]
            elif rest:
                parted[key] = rest
    return parted


def _stem_of(key: str, suffix: str) -> str:
    stem, dot, _ = suffix.rpartition(".")
    return f"{key}{dot}{stem}"


def _is_sample(files: dict[str, tuple[int, int]], has_image: bool) -> bool:
    """Whether the files of one stem are a sample of their own; `has_image`: the sample before the dot has an image."""
    image = any(suffix in IMAGES for suffix in files)
    return image and (not has_image or any(suffix not in IMAGES for suffix in files))


def _split(name: str) -> tuple[str, str, str]:
    """Split a path into folder and name up to the first dot (empty for hidden files), the dot, and the suffix."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    return (folder + slash + stem if stem else "", dot, suffix.lower())


def _batches(
    source: Input, settings: InputSettings, samples: list[Sample], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    with open_bytes(source, settings) as file:
        for chunk in _chunks(file, settings, samples, with_images=True):
            yield record_batch(chunk, schema)


def _chunks(
    file: Any, settings: InputSettings, samples: list[Sample], with_images: bool
) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    size = 0
    for key, files in samples:
        chunk.append(_row(file, settings, key, files, with_images))
        size += sum(min(length, settings.max_value_bytes) for _, length in files.values())
        if len(chunk) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _row(
    file: Any, settings: InputSettings, key: str, files: dict[str, tuple[int, int]], with_images: bool
) -> dict[str, Any]:
    """One row: the image, the fields of its .json file, and each other text file in a column named by its suffix.

    Of binary files only the image is taken: not a mask `seg.png`, nor arrays or sound.
    """
    row: dict[str, Any] = {}
    for suffix, (offset, length) in files.items():
        if suffix in IMAGES and (not with_images or "image" in row):
            continue
        if suffix not in IMAGES and suffix.rpartition(".")[2] in BINARY:
            continue
        if length > settings.max_value_bytes or offset == CUT:
            row |= faulty("too_large", _too_large(suffix, offset, length, settings))
            continue
        file.seek(offset)
        content = file.read(length)
        if suffix in IMAGES:
            row["image"] = content
        elif suffix == "json":
            row = json_row(content, settings.max_depth) | row
        else:
            row[suffix] = content.decode("utf-8", "surrogateescape")
    return row | {KEY: key}


def _too_large(suffix: str, offset: int, length: int, settings: InputSettings) -> str:
    if offset == CUT:
        return f"{suffix}: the tar unpacks to more than input.max_expansion = {settings.max_expansion} times its size"
    return f"{suffix}: {length} bytes, more than {settings.max_value_bytes}"
