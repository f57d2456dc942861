"""Find rows of a run, kept or dropped, by key, URL or source.

In a small run, a look-up reads from every file the columns that can hold the name, in parallel. In a large run (at
least INDEXED_FILES files) the first look-up reads all files and writes an index beside the shards (or in the user's
cache folder). From then on a look-up reads one partition of the index, and the files that the partition names.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.reporting import row_index
from curate.reporting.kept_columns import KeptColumns
from curate.storage.finished import listed_dropped, listed_files
from curate.storage.shards import demand_columns
from curate.storage.store import Store

KEY = re.compile(r"[0-9a-f]{32}")
PLACE = re.compile(r"#\d+$")
NEEDED = ("key", "stage", "reason")  # columns that say what became of a dropped row
INDEXED_FILES = 1000  # reading a column of so many files takes longer than a person likes to wait
REMOTE_READS = 32  # reads at once from an object store

Found = tuple[str, list[int]]  # a file and the numbers of rows in it, from 0


def find_rows(store: Store, manifest: Mapping[str, Any], name: str, limit: int) -> Iterator[Found]:
    """Yield files that have rows with that key, URL or source, shards first, each with at most `limit` row numbers.

    Once `limit` rows were found, further files are left out.

    Raises:
        DamagedError: the tables of the run's files cannot be read, or a file lacks a column.
        OSError, pa.ArrowException: a file cannot be read.
    """
    files, digest = run_files(store, manifest)
    columns = ["key"] if KEY.fullmatch(name) else ["url", "source"]
    names, kept = spellings(name), KeptColumns(manifest)
    if len(files) >= INDEXED_FILES:
        candidates = [row_index.look_up(store, files, digest, one, kept) for one in names]
        if None not in candidates:
            some = {file for found in candidates for file in found or ()}
            files = [file for file in files if file in some]
    rows = 0
    with ThreadPoolExecutor(_threads(store)) as pool:
        for file, places in zip(
            files, pool.map(lambda one: _places(store, one, columns, names, kept), files), strict=True
        ):
            if places and rows < limit:
                rows += len(places)
                yield file, places[:limit]


def run_files(store: Store, manifest: Mapping[str, Any]) -> tuple[list[str], str]:
    """The names of a run's shards, then of its files of dropped rows, and a digest of their contents.

    Raises:
        DamagedError: the tables of the run's files cannot be read.
    """
    shards, dropped = listed_files(store, manifest), listed_dropped(store)
    names = shards["path"].to_pylist()
    hashes = shards["sha256"].to_pylist()
    if dropped is not None:
        names += dropped["path"].to_pylist()
        hashes += dropped["sha256"].to_pylist()
    else:
        names += [f"_dropped/{name}" for name in store.names("_dropped") if name.endswith(".parquet")]
        hashes.append(str(manifest.get("finished")))
    return names, row_index.digest(hashes)


def spellings(name: str) -> list[str]:
    """A name, and the URLs that it may mean: with its HTML entities decoded, and with each `&` as `&amp;`."""
    plain = html.unescape(name)
    return list(dict.fromkeys([name, plain, name.replace("&amp;", "&").replace("&", "&amp;")]))


def read_rows(
    store: Store,
    name: str,
    places: Sequence[int],
    columns: Sequence[str] | None,
    kept: KeptColumns | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows with these numbers (`places`, from 0) of a file, each with its number as `row`, without nulls.

    `columns` are columns of kept rows, which `kept` reads; None: all columns of a file of dropped rows, as they are.

    Raises:
        DamagedError: the file lacks a column.
        OSError, pa.ArrowException: it cannot be read.
    """
    kept = kept or KeptColumns({})
    with store.fs.open_input_file(store.path(name)) as file:
        reader = pq.ParquetFile(file, page_checksum_verification=True)
        first = 0
        for group in range(reader.num_row_groups):
            rows = reader.metadata.row_group(group).num_rows
            mine = [place for place in places if first <= place < first + rows]
            if mine:
                table = reader.read_row_group(group) if columns is None else kept.read(reader, columns, group)
                demand_columns(store, name, table.column_names, columns[:1] if columns else NEEDED)
                table = table.take(pa.array([place - first for place in mine]))
                for place, row in zip(mine, table.to_pylist(), strict=True):
                    yield {"row": place} | {n: value for n, value in row.items() if value is not None}
            first += rows


def _places(
    store: Store, file: str, columns: list[str], names: Sequence[str], kept: KeptColumns
) -> list[int]:
    """The numbers of a file's rows that have one of these names in one of these columns."""
    with store.fs.open_input_file(store.path(file)) as opened:
        parquet = pq.ParquetFile(opened, page_checksum_verification=True)
        table = kept.read(parquet, columns)
    demand_columns(store, file, table.column_names, columns)
    hit = pc.is_in(table[columns[0]], pa.array(names, table.schema.field(columns[0]).type))
    if "source" in columns:
        hit = pc.or_kleene(hit, pc.match_substring_regex(table["source"], source_of(names[0])))
    places: list[int] = pc.indices_nonzero(hit.fill_null(False)).to_pylist()
    return places


def source_of(name: str) -> str:
    """A regular expression that matches the sources that a name stands for.

    `FILE#7` stands for page or row 7 and its parts, `FILE` for every page or row of the file.
    """
    part = rf"({row_index.PART})?"
    within = part if PLACE.search(name) else rf"(#\d+{part})?"
    return rf"^([^!]*!)?{re.escape(name)}{within}$"


def _threads(store: Store) -> int:
    return len(os.sched_getaffinity(0)) + 2 if store.local else REMOTE_READS
