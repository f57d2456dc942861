"""Writes packs and dropped rows to Parquet files, each of which appears complete."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from curate.packing.settings import PackSettings
from curate.schema import DROPPED
from curate.storage.image_index import write_groups
from curate.storage.listing import DROPPED_FILES, files_table, write_files
from curate.storage.shards import Shard, writer_options
from curate.storage.store import HashingSink, PublishedFile, Store
from curate.version import __version__

LEVEL = 3  # of zstd, as in shards
DROPPED_ROWS = 2**20  # about as many rows in a file of dropped rows


def about(settings: PackSettings, said: dict[str, Any]) -> dict[str, str]:
    """Return the metadata of a pack's schema: the settings that a reader needs, and the entries of `said`."""
    told = {
        "version": __version__,
        "seq_len": settings.seq_len,
        "image_tokens": settings.image_tokens,
        **said,
    }
    return {"curate": json.dumps(told, sort_keys=True)}


def pack_name(number: int) -> str:
    """Return the name of a pack, such as `pack-000012.parquet`."""
    return f"pack-{number:06d}.parquet"


def write_pack(
    store: Store, number: int, groups: Iterable[pa.Table], schema: pa.Schema, repeated: bool = False
) -> Shard:
    """Write pack `number`; each table of `groups` becomes a row group. For `repeated` see `writer_options`."""
    return _write(store, pack_name(number), groups, schema, repeated)


def write_dropped(store: Store, dropped: Iterable[pa.Table]) -> PublishedFile:
    """Write `_dropped/dropped-000000.parquet` and so on, about a million rows each, and the table that lists them.

    Returns that table's file.
    """
    files: list[Shard] = []
    waiting: list[pa.Table] = []

    def close() -> None:
        name = f"_dropped/dropped-{len(files):06d}.parquet"
        table = pa.concat_tables(waiting).unify_dictionaries()
        files.append(_write(store, name, iter([table]), DROPPED))
        waiting.clear()

    for table in dropped:
        waiting.append(table)
        if sum(one.num_rows for one in waiting) >= DROPPED_ROWS:
            close()
    if waiting:
        close()
    return write_files(store, DROPPED_FILES, files_table(files))


def _write(
    store: Store, name: str, tables: Iterable[pa.Table], schema: pa.Schema, repeated: bool = False
) -> Shard:
    rows = 0
    options = writer_options(schema, LEVEL, repeated)

    def fill(sink: HashingSink) -> None:
        nonlocal rows
        rows = write_groups(sink, (table.unify_dictionaries() for table in tables), schema, options)

    written = store.write(name, fill)
    return Shard(written.path, rows, written.bytes, written.sha256)
