"""Packs and dropped rows to Parquet, published whole."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from curate.packing.sequences import pack_schema
from curate.packing.settings import PackSettings
from curate.schema import DROPPED
from curate.storage.image_index import write_groups
from curate.storage.listing import DROPPED_FILES, files_table, write_files
from curate.storage.shards import MIN_GROUP_ROWS, Shard, writer_options
from curate.storage.store import HashingSink, Store
from curate.version import __version__

LEVEL = 3  # of zstd, as in shards


def write_packs(
    store: Store, sequences: Iterator[pa.Table], settings: PackSettings, said: dict[str, Any], grids: bool
) -> list[Shard]:
    """Write `pack-000000.parquet` and so on, and say what was written."""
    about = {
        "version": __version__,
        "seq_len": settings.seq_len,
        "image_tokens": settings.image_tokens,
        **said,
    }
    schema = pack_schema(grids).with_metadata({"curate": json.dumps(about, sort_keys=True)})
    groups = _groups(sequences, settings.row_group_bytes)
    files: list[Shard] = []
    for first in groups:
        name = f"pack-{len(files):06d}.parquet"
        files.append(_write(store, name, _until(first, groups, settings.file_bytes), schema))
    if not files:
        files.append(_write(store, "pack-000000.parquet", iter(()), schema))
    return files


def write_dropped(store: Store, dropped: list[pa.Table]) -> None:
    """Write `_dropped/dropped-000000.parquet`, if anything was dropped, and the table that lists it."""
    files = []
    if dropped:
        table = pa.concat_tables(dropped).unify_dictionaries()
        files.append(_write(store, "_dropped/dropped-000000.parquet", iter([table]), DROPPED))
    write_files(store, DROPPED_FILES, files_table(files))


def _groups(tables: Iterator[pa.Table], size: int) -> Iterator[pa.Table]:
    """Row groups of about `size` bytes and at least 100 rows, but for the last one."""
    waiting: list[pa.Table] = []
    for table in tables:
        rows = max(MIN_GROUP_ROWS, table.num_rows * size // max(table.nbytes, 1))
        for start in range(0, table.num_rows, rows):
            waiting.append(table.slice(start, rows))
            enough = sum(t.num_rows for t in waiting) >= MIN_GROUP_ROWS
            if enough and sum(t.nbytes for t in waiting) >= size * 0.9:
                yield pa.concat_tables(waiting)
                waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _until(first: pa.Table, more: Iterator[pa.Table], size: int) -> Iterator[pa.Table]:
    """The first table and as many more as fill `size` bytes."""
    filled = 0
    for table in itertools.chain([first], more):
        yield table
        filled += table.nbytes
        if filled >= size:
            return


def _write(store: Store, name: str, tables: Iterator[pa.Table], schema: pa.Schema) -> Shard:
    rows = 0
    options = writer_options(schema, LEVEL)

    def fill(sink: HashingSink) -> None:
        nonlocal rows
        rows = write_groups(sink, (table.unify_dictionaries() for table in tables), schema, options)

    written = store.write(name, fill)
    return Shard(written.path, rows, written.bytes, written.sha256)
