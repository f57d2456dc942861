"""`curate verify`: every checksum and invariant of a finished run, computed again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import tasks
from curate.children import Children
from curate.image_checks import decoders, image_problems
from curate.record import UnitRecord
from curate.retry import finished_manifest
from curate.schema import DROPPED, SHARD, conform
from curate.shards import dropped_name, unit_of
from curate.staging import DONE
from curate.store import Store

BLOCK = 2**20
NAMED = 5  # damaged images that are named, of one row group
RENDERED = ["dataset", "task", "language", "text", "regions", "width", "height"]


def verify(folder: str) -> dict[str, Any]:
    """What is damaged, file by file; nothing where all is well.

    Raises:
        InputError: the folder holds no complete run.
    """
    manifest, store = finished_manifest(folder), Store(folder)
    damaged: dict[str, list[str]] = {}
    keys: list[np.ndarray] = []
    with decoders(manifest, len(os.sched_getaffinity(0))) as children:
        for shard in manifest["shards"]:
            if problems := list(_shard_problems(store, shard, keys, children)):
                damaged[shard["path"]] = problems
    listed = {shard["path"] for shard in manifest["shards"]}
    for name in store.names():
        if unit_of(name) is not None and name not in listed:
            damaged[name] = ["it is not in the manifest"]
    damaged |= _dropped_problems(store, manifest)
    if problems := list(_count_problems(store, manifest, keys)):
        damaged["_manifest.json"] = problems
    return {"shards": len(listed), "rows": manifest["rows_out"], "damaged": damaged}


def _shard_problems(
    store: Store, shard: dict[str, Any], keys: list[np.ndarray], children: Children
) -> Iterator[str]:
    path = shard["path"]
    if not store.exists(path):
        yield "it is missing"
        return
    size, sha256 = _digest(store, path)
    if (size, sha256) != (shard["bytes"], shard["sha256"]):
        there, listed = f"{size} bytes, sha256 {sha256[:12]}…", f"{shard['bytes']}, {shard['sha256'][:12]}…"
        yield f"{there}, instead of {listed}"
    try:
        with store.fs.open_input_file(store.path(path)) as file:
            reader = pq.ParquetFile(file, page_checksum_verification=True)
            if not reader.schema_arrow.equals(SHARD):
                yield "its columns are not a shard's"
                return
            if reader.metadata.num_rows != shard["rows"]:
                yield f"{reader.metadata.num_rows} rows instead of {shard['rows']}"
            first = 0
            for group in range(reader.num_row_groups):
                table = reader.read_row_group(group)
                keys.append(_key_hashes(table["key"]))
                yield from _row_problems(table)
                yield from islice(image_problems(table, first, children), NAMED)
                first += table.num_rows
    except (OSError, pa.ArrowException) as error:
        yield f"cannot be read: {' '.join(str(error).split())[:200]}"


def _row_problems(table: pa.Table) -> Iterator[str]:
    """What is wrong with rows of SHARD, once a kind of problem."""
    image = table["image"].combine_chunks()
    bodies, paths = pc.struct_field(image, "bytes"), pc.struct_field(image, "path")
    hashes = [None if not b.is_valid else hashlib.sha256(b.as_buffer()).hexdigest() for b in bodies]
    if not pa.array(hashes, pa.string()).equals(table["sha256"].combine_chunks()):
        yield "an image is not the one that sha256 names"
    if pc.any(pc.invert(pc.match_substring_regex(table["key"], "^[0-9a-f]{32}$"))).as_py():
        yield "a key is not 32 hex digits"
    if not _rendered_the_same(table, paths):
        yield "a prompt or target is not what its row's columns say"
    if _outside(table):
        yield "a region lies outside its image"


def _rendered_the_same(table: pa.Table, paths: pa.Array) -> bool:
    """Whether prompts and targets follow from the other columns, where a shard holds all of these."""
    told = pc.invert(pc.is_in(_one(table["task"]).cast(pa.string()), pa.array(["vqa", "ocr_vqa"])))
    rows = table.filter(told)
    rendered = tasks.render(conform(rows.select(RENDERED)), paths.filter(told))
    return all(
        made.cast(pa.string()).equals(_one(rows[name]))
        for made, name in zip(rendered, ("prompt", "target"), strict=True)
    )


def _outside(table: pa.Table) -> bool:
    """Whether a corner of a region lies outside its image by more than a pixel."""
    regions = _one(table["regions"])
    parents = pc.list_parent_indices(regions)
    if not len(parents):
        return False
    quads = (
        pc.list_flatten(pc.struct_field(pc.list_flatten(regions), "quad"))
        .to_numpy(zero_copy_only=False)
        .reshape(-1, 8)
    )
    width = table["width"].take(parents).to_numpy()[:, None]
    height = table["height"].take(parents).to_numpy()[:, None]
    x, y = quads[:, 0::2], quads[:, 1::2]
    return bool((~((x >= -1) & (x <= width + 1) & (y >= -1) & (y <= height + 1))).any())


def _count_problems(store: Store, manifest: dict[str, Any], keys: list[np.ndarray]) -> Iterator[str]:
    dropped = sum(manifest["dropped"].values())
    if manifest["rows_in"] != manifest["rows_out"] + dropped:
        yield f"{manifest['rows_in']} rows in, but {manifest['rows_out']} out and {dropped} dropped"
    kept = sum(shard["rows"] for shard in manifest["shards"])
    if kept != manifest["rows_out"]:
        yield f"its shards hold {kept} rows instead of {manifest['rows_out']}"
    every = np.concatenate([np.zeros(0, dtype="S32"), *keys])
    if len(np.unique(every)) != len(every):
        yield f"{len(every) - len(np.unique(every))} keys occur twice"


def _dropped_problems(store: Store, manifest: dict[str, Any]) -> dict[str, list[str]]:
    """What is wrong with the files of dropped rows, by name; the journal knows how many rows each holds."""
    damaged, written = dict[str, list[str]](), dict[str, int]()
    for name in (f"_dropped/{name}" for name in store.names("_dropped") if name.endswith(".parquet")):
        try:
            written[name] = _read_dropped(store, name)
        except (OSError, pa.ArrowException) as error:
            damaged[name] = [f"cannot be read: {' '.join(str(error).split())[:200]}"]
    if manifest["manifest"]["drops"]["sample"] < 1:
        return damaged
    for record in _records(store):
        name, expected = dropped_name(record.unit), sum(record.dropped.values())
        if name not in damaged and written.get(name, 0) != expected:
            damaged[name] = [f"holds {written.get(name, 0)} rows instead of {expected}"]
    total, dropped = sum(written.values()), sum(manifest["dropped"].values())
    if not damaged and total != dropped:
        damaged["_dropped"] = [f"holds {total} rows instead of {dropped}"]
    return damaged


def _read_dropped(store: Store, name: str) -> int:
    """The rows of a file of dropped rows, once all of it has been read."""
    with store.fs.open_input_file(store.path(name)) as file:
        reader = pq.ParquetFile(file, page_checksum_verification=True)
        if not reader.schema_arrow.equals(DROPPED):
            raise pa.ArrowInvalid("its columns are not those of dropped rows")
        return sum(reader.read_row_group(group).num_rows for group in range(reader.num_row_groups))


def _records(store: Store) -> Iterator[UnitRecord]:
    """The journal's records, as far as they are still there."""
    for name in store.names(DONE):
        data = store.read_bytes(f"{DONE}/{name}")
        if data and name.endswith(".json"):
            yield msgspec.json.decode(data, type=UnitRecord)


def _digest(store: Store, name: str) -> tuple[int, str]:
    size, sha256 = 0, hashlib.sha256()
    with store.fs.open_input_stream(store.path(name)) as stream:
        while block := stream.read(BLOCK):
            size += len(block)
            sha256.update(block)
    return size, sha256.hexdigest()


def _key_hashes(key: pa.ChunkedArray) -> np.ndarray:
    return np.array(key.to_pylist(), dtype="S32")


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
