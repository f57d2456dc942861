"""Finds the rows of a run that are to be removed, reading only the columns of its shards that are needed."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.engine.records import in_parallel
from curate.engine.tombstones import Tombstone, Tombstones
from curate.errors import DamagedError
from curate.images.decoded_prints import DecodedPrints
from curate.images.fingerprint import VIEW_BYTES
from curate.lineage.evaluation_overlap import EvaluationOverlap
from curate.schema import FINGERPRINT
from curate.storage.filesystems import one_line
from curate.storage.shard_images import DIALOGUE_IMAGES, images_of_group
from curate.storage.shards import Shard
from curate.storage.store import Store

NAMES = frozenset({"key", "url", "host", "prefix"})


class ShardMatch(NamedTuple):
    """The rows of a shard that are to be removed."""

    shard: Shard
    rows: list[int]  # numbers of the rows, ascending
    marks: set[Tombstone]  # the requested removals that they match
    overlaps: Counter[str]  # rule -> number of rows that it found in evaluation sets
    copies: list[dict[str, Any]]  # the rows that show evaluation images: see `Overlap.copy`


def matches(
    store: Store, shards: Sequence[Shard], wanted: Tombstones, overlap: EvaluationOverlap
) -> Iterator[ShardMatch]:
    """Yield the shards that hold rows to remove, in order; a bounded number of shards is read at once.

    Args:
        store: the run's folder.
        shards: the shards to read.
        wanted: what to remove.
        overlap: the evaluation sets whose images and texts to remove.

    Raises:
        DamagedError: a shard cannot be read.
    """
    with DecodedPrints() if wanted.by_fingerprint or overlap.by_image else nullcontext() as decoded:

        def look(shard: Shard) -> ShardMatch:
            return _match(store, shard, wanted, overlap, decoded)

        if store.local:
            with ThreadPoolExecutor(len(os.sched_getaffinity(0)) + 2) as pool:
                for start in range(0, len(shards), 1024):
                    yield from (one for one in pool.map(look, shards[start : start + 1024]) if one.rows)
        else:
            yield from (one for one in in_parallel(look, shards) if one.rows)


def _match(
    store: Store,
    shard: Shard,
    wanted: Tombstones,
    overlap: EvaluationOverlap,
    decoded: DecodedPrints | None,
) -> ShardMatch:
    try:
        with store.fs.open_input_file(store.path(shard.path)) as file:
            reader = pq.ParquetFile(file, page_checksum_verification=True)
            if reader.metadata.num_rows != shard.rows:
                raise ValueError(f"{reader.metadata.num_rows} rows instead of {shard.rows}")
            found = [*_found(reader, wanted, decoded)]
            same = [*overlap.of_shard(reader, decoded)]
    except (OSError, ValueError, KeyError) as error:
        raise DamagedError(
            f"cannot read {store.uri}/{shard.path}: {one_line(error)}; `curate verify {store.uri}` names every "
            "damaged file"
        ) from None
    return ShardMatch(
        shard,
        sorted({row for row, _ in found} | {one.row for one in same}),
        {mark for _, mark in found} | {one.mark for one in same},
        Counter(rule for rule, _ in {(one.rule, one.row) for one in same}),
        [one.copy for one in same if one.copy is not None],
    )


def _found(
    reader: pq.ParquetFile, wanted: Tombstones, decoded: DecodedPrints | None
) -> Iterator[tuple[int, Tombstone]]:
    """Yield the number of each row that matches, and the mark that it matches."""
    if wanted.kinds & NAMES:
        columns = ["key"] if wanted.kinds & NAMES == {"key"} else ["key", "url"]
        table = reader.read(columns, use_threads=False)
        urls = table["url"].to_pylist() if "url" in columns else [None] * table.num_rows
        for row, names in enumerate(zip(table["key"].to_pylist(), urls, strict=True)):
            yield from ((row, mark) for mark in wanted.of_names(*names))
    if "sha256" in wanted.kinds:
        for row, sha256 in _hashes(reader):
            yield from ((row, mark) for mark in wanted.of_content(sha256, None))
    if decoded is not None and wanted.by_fingerprint:
        shown = list(_prints(reader, decoded))  # 32 bytes an image
        prints = np.frombuffer(b"".join(print_ for _, print_ in shown), np.uint8).reshape(-1, VIEW_BYTES)
        for (row, _), near in zip(shown, wanted.of_prints(prints), strict=True):
            if near is not None:
                yield row, near


def _prints(reader: pq.ParquetFile, decoded: DecodedPrints) -> Iterator[tuple[int, bytes]]:
    """Yield the row and the PDQ hash of every image that is not too plain; hashes the shard lacks are computed."""
    kept = FINGERPRINT.name in reader.schema_arrow.names
    if kept:
        table = reader.read([FINGERPRINT.name], use_threads=False)
        yield from ((n, bytes.fromhex(one)) for n, one in enumerate(table[0].to_pylist()) if one)
    first = 0
    for group in range(reader.num_row_groups):
        rows, bodies = images_of_group(reader, group, dialogues_alone=kept)
        for row, views in zip(rows, decoded.of(bodies), strict=True):
            if views is not None:
                yield first + row, views[:VIEW_BYTES]
        first += reader.metadata.row_group(group).num_rows


def _hashes(reader: pq.ParquetFile) -> Iterator[tuple[int, str]]:
    """Yield the row and the SHA-256 (hex) of every image; for images of dialogues it is computed."""
    table = reader.read(["sha256", "task"], use_threads=False)
    yield from ((row, one) for row, one in enumerate(table["sha256"].to_pylist()) if one)
    if "conversation" not in table["task"].cast(pa.string()).unique().to_pylist():
        return
    first = 0
    for group in range(reader.num_row_groups):
        lists = reader.read_row_group(group, [DIALOGUE_IMAGES])["images"].combine_chunks()
        parents = pc.list_parent_indices(lists).to_pylist()
        bodies = pc.struct_field(pc.list_flatten(lists), "bytes")
        for row, body in zip(parents, bodies, strict=True):
            if body.is_valid:
                yield first + row, hashlib.sha256(body.as_buffer()).hexdigest()
        first += len(lists)
