"""The tables of a finished folder's files, so that a reader need not list the folder or open the files.

`_manifest/shards.parquet` names every shard, `_manifest/dropped.parquet` every file of dropped rows. Both are
written just before `_manifest.json`, sorted by unit; a folder of an older version has neither. `_manifest.json` has
their sizes and hashes under `tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.storage.shards import Shard, unit_of
from curate.storage.store import PublishedFile, Store

FOLDER = "_manifest"
SHARDS = f"{FOLDER}/shards.parquet"
DROPPED_FILES = f"{FOLDER}/dropped.parquet"
LISTED = 10_000  # `_manifest.json` itself lists at most so many shards
GROUP_ROWS = 65_536
OUTSIDE = r"^/|\\|:|(^|/)\.\.(/|$)"  # RE2: paths that may lead out of the folder

FILES = pa.schema(
    [
        ("path", pa.string()),  # name in the folder
        ("unit", pa.int64()),  # number of the unit of work that wrote the file
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),  # hex
    ]
)


def files_table(files: Iterable[Shard]) -> pa.Table:
    """These files as rows of FILES, in the order given."""
    listed = list(files)
    columns = {name: [getattr(file, name) for file in listed] for name in ("path", "rows", "bytes", "sha256")}
    columns["unit"] = [unit_of(file.path) for file in listed]
    return pa.table(columns).select(FILES.names).cast(FILES)


def write_files(store: Store, name: str, files: pa.Table) -> PublishedFile:
    """Write a table of FILES as SHARDS or DROPPED_FILES."""

    def fill(sink: Any) -> None:
        options = {"compression": "zstd", "write_page_checksum": True, "row_group_size": GROUP_ROWS}
        pq.write_table(files.cast(FILES), pa.PythonFile(sink, mode="w"), **options)

    return store.write(name, fill)


def read_files(store: Store, name: str) -> pa.Table | None:
    """The rows of SHARDS or DROPPED_FILES; None where the folder has no such table.

    Raises:
        OSError, ValueError: the table cannot be read, or names a file outside the folder.
    """
    data = store.read_bytes(name)
    if data is None:
        return None
    table = (
        pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        .read(use_threads=False)
        .cast(FILES)
    )
    check_inside(table)
    return table


def check_inside(files: pa.Table) -> None:
    """Check that every path of these files (rows of FILES) leads into the folder that lists them.

    Raises:
        ValueError: a path is null, absolute, or has a part `..`.
    """
    paths = files["path"]
    outside = pc.fill_null(pc.match_substring_regex(paths, OUTSIDE), True)
    if (first := pc.index(outside, True).as_py()) >= 0:
        raise ValueError(f"it lists {str(paths[first].as_py())[:80]!r}, which is no file of the folder")


def listed_shards(store: Store, manifest: Mapping[str, Any]) -> list[Shard]:
    """Every shard of a finished run, in order: from its table, or from an older folder's manifest."""
    table = read_files(store, SHARDS)
    if table is None:
        return msgspec.convert(list(manifest["shards"]), list[Shard])
    return as_shards(table)


def as_shards(table: pa.Table) -> list[Shard]:
    """The rows of FILES as a list."""
    columns = (table[name].to_pylist() for name in ("path", "rows", "bytes", "sha256"))
    return [Shard(*row) for row in zip(*columns, strict=True)]
