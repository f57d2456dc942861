"""Choose and read the rows that a report measures: all of a small run, an evenly spread part of a large one.

The choice depends only on the run, so a second report shows the same. Single row groups are read, never a whole file
at once, and only the columns that are measured; of texts only the lengths are kept. Images are read from a few row
groups only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.reporting.kept_columns import KeptColumns
from curate.schema import DROPPED
from curate.storage.finished import listed_dropped
from curate.storage.store import Store

MAX_FILES = 64
MAX_ROWS = 100_000
MAX_BYTES = 256 * 2**20  # of the measured columns, uncompressed
IMAGE_GROUPS = 8  # row groups whose images are read
MEASURED = ("key", "task", "language", "width", "height", "clip_score", "text", "url", "sha256")
BOXES = "regions.list.element.score"  # the smallest leaf of a region: only the number of regions is wanted
TALKS = (
    "images.list.element.path",
    "messages.list.element.role",
)  # columns of dialogues: only the numbers of images and turns are wanted
SHOWN = (
    "key",
    "task",
    "language",
    "width",
    "height",
    "clip_score",
    "text",
    "image",
    "regions",
    "url",
    "source",
)
HOST = r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^/?#@]*@)?(?P<host>\[[^\]/]*\]|[^/?#:\\]*)"


@dataclass(frozen=True)
class Group:
    """One row group of one shard."""

    path: str
    number: int


@dataclass(frozen=True)
class Kept:
    """What was read of the kept rows; `place` is the index of a row's group in `groups`, `row` its number there."""

    # key, task, language, width, height, clip_score, chars, boxes, images, turns, host, url, sha256, place, row
    table: pa.Table
    groups: tuple[Group, ...]
    columns: KeptColumns

    @property
    def dialogues(self) -> bool:
        """Whether any row is a dialogue."""
        return bool(self.table["turns"].null_count < self.table.num_rows)


def evenly(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spread over all of them, in order; the first is always among them."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def read_kept(store: Store, shards: Sequence[dict[str, Any]], columns: KeptColumns | None = None) -> Kept:
    """Measure up to 100,000 kept rows, spread over up to 64 shards or parts.

    `shards` are entries of the manifest (only `path` is read); `columns` says how the run names its columns (None: as
    SHARD does).

    Raises:
        OSError, pa.ArrowException: a shard cannot be read.
    """
    chosen, columns = evenly(shards, MAX_FILES), columns or KeptColumns({})
    tables: list[pa.Table] = [_placed(_measures(_nothing()), 0)]
    groups: list[Group] = []
    for shard in chosen:
        with store.fs.open_input_file(store.path(shard["path"])) as file:
            reader = pq.ParquetFile(file)
            for number in _affordable(reader, MAX_ROWS // len(chosen), MAX_BYTES // len(chosen)):
                talks = TALKS if {"images", "messages"} <= set(reader.schema_arrow.names) else ()
                measured = _measures(columns.read(reader, [*MEASURED, BOXES, *talks], number))
                tables.append(_placed(measured, len(groups)))
                groups.append(Group(shard["path"], number))
    return Kept(pa.concat_tables(tables), tuple(groups), columns)


def read_dropped(store: Store) -> pa.Table:
    """All dropped rows (DROPPED) of up to 64 files, spread evenly over the run's.

    Raises:
        OSError, pa.ArrowException: a file cannot be read.
    """
    parts = [DROPPED.empty_table()]
    listed = listed_dropped(store)
    if listed is None:
        names = [f"_dropped/{name}" for name in store.names("_dropped") if name.endswith(".parquet")]
    else:
        names = listed["path"].to_pylist()
    for name in evenly(names, MAX_FILES):
        with store.fs.open_input_file(store.path(name)) as file:
            parts.append(pq.read_table(file, columns=DROPPED.names).cast(DROPPED))
    return pa.concat_tables(parts).unify_dictionaries()


def read_rows(store: Store, kept: Kept, picked: pa.Table, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield columns of the rows `picked` (some of `kept.table`), each with its `shard` and its number `row` there."""
    for place in pc.unique(picked["place"]).to_pylist():
        group = kept.groups[place]
        rows = picked.filter(pc.equal(picked["place"], place))["row"]
        with store.fs.open_input_file(store.path(group.path)) as file:
            reader = pq.ParquetFile(file)
            table = kept.columns.read(reader, columns, group.number).take(rows)
            first = sum(reader.metadata.row_group(n).num_rows for n in range(group.number))
        for row, values in zip(rows.to_pylist(), table.to_pylist(), strict=True):
            yield values | {"shard": group.path, "row": first + row}


def _affordable(reader: pq.ParquetFile, max_rows: int, max_bytes: int) -> list[int]:
    """Row groups, evenly spread over the file, that together have about so many rows and bytes; at least one."""
    wanted = {*MEASURED, BOXES}
    cost = []
    for number in range(reader.num_row_groups):
        group = reader.metadata.row_group(number)
        columns = (group.column(c) for c in range(group.num_columns))
        size = sum(c.total_uncompressed_size for c in columns if c.path_in_schema in wanted)
        cost.append(max(group.num_rows / max_rows, size / max_bytes))
    count = max(1, int(len(cost) / max(1.0, sum(cost))))
    return evenly(range(len(cost)), count)


def _measures(table: pa.Table) -> pa.Table:
    """What is measured of a shard's rows (N rows): one column for each measure."""
    plain = {name: table[name] for name in ("width", "height", "clip_score", "key", "url", "sha256")}
    labels = {name: table[name].cast(pa.string()) for name in ("task", "language")}
    made = {
        "chars": pc.utf8_length(table["text"]),
        "boxes": pc.list_value_length(table["regions"]),
        "images": _number(table, "images"),
        "turns": _number(table, "messages"),
        "host": hosts(table["url"]),
    }
    return pa.table(plain | labels | made)


def _number(table: pa.Table, name: str) -> pa.Array | pa.ChunkedArray:
    """How many items each row's list `name` has; null for rows that are no dialogue, and in older shards."""
    there = name in table.column_names
    return pc.list_value_length(table[name]) if there else pa.nulls(table.num_rows, pa.int32())


def hosts(url: pa.ChunkedArray) -> pa.ChunkedArray:
    """The host of each URL in lower case, without `www.`; null where it has none (N rows)."""
    found = pc.struct_field(pc.extract_regex(url, HOST), "host")
    found = pc.replace_substring_regex(pc.utf8_lower(found), r"^www\.", "")
    return pc.if_else(pc.equal(found, ""), None, found)


def _placed(measured: pa.Table, group: int) -> pa.Table:
    """The rows of one row group, with the columns `place` (the group's index) and `row` (the number in it)."""
    place = pa.repeat(pa.scalar(group, pa.int32()), measured.num_rows)
    rows = pa.array(np.arange(measured.num_rows, dtype=np.int32))
    return measured.append_column("place", place).append_column("row", rows)


def _nothing() -> pa.Table:
    text = pa.array([], pa.string())
    columns = dict.fromkeys(MEASURED, text)
    numbers = {"width": pa.int32(), "height": pa.int32(), "clip_score": pa.float32()}
    columns |= {name: pa.array([], kind) for name, kind in numbers.items()}
    return pa.table(columns | {"regions": pa.array([], pa.list_(pa.null()))})
