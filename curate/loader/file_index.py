"""The index of a shard or pack: its columns except images, and where each image is in the file, with its checksum.

The index is an Arrow file that is mapped to memory. It is made when the shard is first used, from the shard's columns
and from the image index that the shard itself holds. It is kept in `_index/` beside the shards; if that cannot be
written (an object store, a read-only disk), in the user's cache folder; if that cannot be written either, in memory.
For a shard without an image index, all Parquet pages are read and checked by their own checksums.
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

FORMAT = 3  # version of the index file
IMAGES = {"image": IMAGE_LEAF, "images": IMAGES_LEAF}
SEAL = 8  # bytes after the Arrow table: its XXH3-64 hash


def open_index(file: DataFile, columns: tuple[str, ...], cache: str = "") -> pa.Table:
    """Open the index of a file, making it if there is none: N rows with `columns`, and where each image is.

    In the column `place` (type PLACE) is a row's own image. In packs and in shards with dialogues, `places` lists the
    images of a row: PLACE's fields and the `path` of each; in packs also its `start` token; in packs that refer to
    images in shards also the `uri` of the shard.

    Args:
        file: the shard or pack.
        columns: the columns to keep; `image` and `images` among them are ignored.
        cache: the folder for the index; empty: the folders that the module names.

    Raises:
        DamagedError: the file is damaged, or has another number of rows than its folder lists.
        InputError: its images cannot be located, because it was not written as curate writes shards.
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
    """Map the table in an index file to memory; None if the file is damaged or no index."""
    try:
        whole = pa.memory_map(str(path)).read_buffer()
        body = whole.slice(0, max(whole.size - SEAL, 0))
        if xxhash.xxh3_64_digest(body) != whole.slice(body.size).to_pybytes():
            return None
        return pa.ipc.open_file(body).read_all()
    except (OSError, pa.ArrowInvalid):
        return None


def _folders(file: DataFile, cache: str) -> list[Path]:
    """Return the folders for the index of a file, the preferred one first."""
    if cache:
        return [Path(cache)]
    system, path = filesystem(file.uri)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curate" / "index"
    return [Path(path).parent / "_index", home] if isinstance(system, fs.LocalFileSystem) else [home]


def _keep(table: pa.Table, path: Path) -> bool:
    """Write a complete index file and return True; False, and no file, if it cannot be written."""
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
    """Read the index of all row groups: the columns except images, and where each image is."""
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
    """Return, for each row's images, a list of path, start, `uri` of the shard, and place in that shard.

    Raises:
        ValueError: there are more or fewer places than images.
    """
    lists = images.combine_chunks()
    flat, there = lists.flatten(), places.combine_chunks().flatten()
    if len(flat) != len(there):
        raise ValueError(f"{len(flat)} images are named, but {len(there)} places are there")
    return _listed(lists, [there.field(one.name) for one in there.type], there.type)


def _has_dialogues(parquet: pq.ParquetFile) -> bool:
    """Whether any row of a shard has a list of images, by the Parquet statistics of the images' paths."""
    if "images" not in parquet.schema_arrow.names:
        return False
    for number in range(parquet.num_row_groups):
        group = parquet.metadata.row_group(number)
        column = chunk_range(group, "images.list.element.path")[0]
        if column.statistics is None or column.statistics.null_count < column.num_values:
            return True
    return False


def _arrays(places: IndexedImages) -> tuple[np.ndarray, ...]:
    """Return the columns of image places in the order of PLACE's fields."""
    return places.offset, places.size, places.sum


def _many_each(images: pa.ListArray, places: IndexedImages) -> pa.Array:
    """Return, for each row's images, a list of path, start and place.

    The places are null if the pack holds only the names of its images, not their bytes.
    """
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
    """Return lists of structs, one for each image: the fields of `images` except `bytes`, then those of `places`.

    `kind` has the names and types of `places`.
    """
    flat = images.flatten()
    told = [field for field in flat.type if field.name != "bytes"]
    values = [*(flat.field(field.name) for field in told), *places]
    each = pa.StructArray.from_arrays(values, fields=[*told, *kind])
    lengths = np.append(0, np.cumsum(images.value_lengths().fill_null(0).to_numpy()))
    return pa.ListArray.from_arrays(pa.array(lengths, pa.int32()), each, mask=images.is_null())
