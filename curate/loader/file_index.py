"""The index of a shard or pack: its light columns and the places and checksums of its images, mapped to memory.

It is made once a file, on first use, of the index of images that the file holds itself and of its light
columns, and kept in `_index/` beside the shards; where that cannot be written (an object store, a read-only
disk) it is kept in the user's cache folder, and where that cannot be written, in memory. Of a file without an
index of images the pages are walked, and checked by their own checksums.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from pyarrow import fs

from curate.errors import DamagedError, InputError
from curate.storage.dataset import DataFile
from curate.storage.filesystems import filesystem, one_line
from curate.storage.image_index import IndexedImages, read_index
from curate.storage.image_places import (
    IMAGE_LEAF,
    IMAGES_LEAF,
    PLACE,
    REFERENCES,
    NotInPlaceError,
    one_each,
    walked_places,
)
from curate.storage.parquet_pages import chunk_range

FORMAT = 3  # of the index itself
IMAGES = {"image": IMAGE_LEAF, "images": IMAGES_LEAF}
SEAL = 8  # bytes behind the table: XXH3-64 of it


def open_index(file: DataFile, columns: tuple[str, ...], cache: str = "") -> pa.Table:
    """The index of a file: `columns`, and the places of its images.

    `place` (PLACE) is a row's own image; in packs and shards of dialogues `places` lists a row's images (PLACE, with
    each one's `path`, in packs its `start`, and where they refer to their images the `uri` of the shard).

    Raises:
        DamagedError: the file is damaged, or not the one that its folder lists.
        InputError: its images are compressed.
    """
    name = hashlib.sha256(json.dumps([FORMAT, file.uri, file.bytes, file.mark, columns]).encode()).hexdigest()
    system, path = filesystem(file.uri)
    modified = system.get_file_info(path).mtime_ns if isinstance(system, fs.LocalFileSystem) else None
    built: pa.Table | None = None
    for folder in _folders(file, cache):
        kept = folder / f"{path.rsplit('/', 1)[-1]}-{name[:16]}.arrow"
        stale = not kept.exists() or (modified is not None and kept.stat().st_mtime_ns < modified)
        if not stale and (mapped := _map(kept)) is not None:
            return mapped
        built = _build(file, columns) if built is None else built
        if _keep(built, kept) and (mapped := _map(kept)) is not None:
            return mapped
    return built


def _map(path: Path) -> pa.Table | None:
    """The table in a file, mapped; None where the file is no table, or is damaged."""
    try:
        whole = pa.memory_map(str(path)).read_buffer()
        body = whole.slice(0, max(whole.size - SEAL, 0))
        if xxhash.xxh3_64_digest(body) != whole.slice(body.size).to_pybytes():
            return None
        return pa.ipc.open_file(body).read_all()
    except (OSError, pa.ArrowInvalid):
        return None


def _folders(file: DataFile, cache: str) -> list[Path]:
    """Where the index may lie, best first."""
    if cache:
        return [Path(cache)]
    system, path = filesystem(file.uri)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curate" / "index"
    return [Path(path).parent / "_index", home] if isinstance(system, fs.LocalFileSystem) else [home]


def _keep(table: pa.Table, path: Path) -> bool:
    """Write the table, whole or not at all; False where that is not allowed or there is no room."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        body = sink.getvalue()
        with part.open("wb") as out:
            out.write(body)
            out.write(xxhash.xxh3_64_digest(body))
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        return False
    return True


def _build(file: DataFile, columns: tuple[str, ...]) -> pa.Table:
    try:
        system, path = filesystem(file.uri)
        with system.open_input_file(path) as stream:
            parquet = pq.ParquetFile(stream, page_checksum_verification=True)
            if parquet.metadata.num_rows != file.rows:
                raise DamagedError(
                    f"{file.uri} holds {parquet.metadata.num_rows} rows instead of {file.rows}"
                )
            return _read(parquet, stream, columns)
    except NotInPlaceError as error:
        raise InputError(
            f"cannot index {file.uri}: {error}; give shards or packs as curate writes them"
        ) from None
    except (OSError, ValueError) as error:
        raise DamagedError(
            f"cannot index {file.uri}: {one_line(error)}; `curate verify` on its folder names what is damaged"
        ) from None


def _read(parquet: pq.ParquetFile, stream: pa.NativeFile, columns: tuple[str, ...]) -> pa.Table:
    """The light columns and the places of all row groups."""
    light = [column for column in columns if column not in IMAGES]
    packs = "image" not in parquet.schema_arrow.names
    several = packs or _has_dialogues(parquet)
    columns_of_images = ([] if packs else ["image"]) + (["images"] if several else [])
    refers = packs and REFERENCES.name in parquet.schema_arrow.names
    known = {name: read_index(parquet, IMAGES[name]) for name in columns_of_images if not refers}
    told = ["images.list.element.path", *(["images.list.element.start"] if packs else [])]
    extra = (
        ([] if packs else ["image.path"]) + (told if several else []) + ([REFERENCES.name] if refers else [])
    )
    tables = []
    for group in range(parquet.num_row_groups):
        table = parquet.read_row_group(group, columns=[*light, *extra])
        made = table.select(light)
        for name, index in known.items():
            places = walked_places(parquet, stream, group, IMAGES[name]) if index is None else index[group]
            image = table[name].combine_chunks()
            there = image.is_valid().to_numpy(zero_copy_only=False)
            each = one_each(there, places) if name == "image" else _many_each(image, places)
            made = made.append_column("place" if name == "image" else "places", each)
        if refers:
            made = made.append_column(
                "places", _referenced(*(table[name] for name in ("images", REFERENCES.name)))
            )
        tables.append(made)
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks() if tables else pa.table({})


def _referenced(images: pa.ChunkedArray, places: pa.ChunkedArray) -> pa.Array:
    """A list of path, start, `uri` of the shard, and place there, for each row's images.

    Raises:
        ValueError: there are more or fewer places than images.
    """
    lists = images.combine_chunks()
    flat, there = lists.flatten(), places.combine_chunks().flatten()
    if len(flat) != len(there):
        raise ValueError(f"{len(flat)} images are named, but {len(there)} places are there")
    return _listed(lists, [there.field(one.name) for one in there.type], there.type)


def _has_dialogues(parquet: pq.ParquetFile) -> bool:
    """Whether a row of a shard has a list of images: their paths' statistics tell."""
    if "images" not in parquet.schema_arrow.names:
        return False
    for number in range(parquet.num_row_groups):
        group = parquet.metadata.row_group(number)
        column = chunk_range(group, "images.list.element.path")[0]
        if column.statistics is None or column.statistics.null_count < column.num_values:
            return True
    return False


def _arrays(places: IndexedImages) -> tuple[np.ndarray, ...]:
    """The places' columns, in PLACE's order."""
    return places.offset, places.size, places.sum


def _many_each(images: pa.ListArray, places: IndexedImages) -> pa.Array:
    """A list of path, start and place for each row's images; places are null where packs only name them."""
    flat = images.flatten()
    if len(places.offset) not in (0, len(flat)):
        raise ValueError(f"{len(flat)} images are named, but {len(places.offset)} are there")
    bare = len(places.offset) == 0
    place = [
        pa.nulls(len(flat), field.type) if bare else pa.array(values, field.type)
        for values, field in zip(_arrays(places), PLACE, strict=True)
    ]
    return _listed(images, place, PLACE)


def _listed(images: pa.ListArray, places: Sequence[pa.Array], kind: pa.StructType) -> pa.Array:
    """Lists of what is told of each image but its bytes, and behind it these columns, whose names `kind` has."""
    flat = images.flatten()
    told = [field for field in flat.type if field.name != "bytes"]
    values = [*(flat.field(field.name) for field in told), *places]
    each = pa.StructArray.from_arrays(values, fields=[*told, *kind])
    lengths = np.append(0, np.cumsum(images.value_lengths().fill_null(0).to_numpy()))
    return pa.ListArray.from_arrays(pa.array(lengths, pa.int32()), each, mask=images.is_null())
