"""Parts, the files of `curate select`: rows of a source, unchanged, with two columns of curate's own.

The metadata of a part's schema names the rules by which its rows were judged. So a run on parts need not judge the
rows again, even if the parts were moved.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.storage.shards import Shard, leaf_paths
from curate.storage.store import HashingSink, Store
from curate.version import __version__

KEY_COLUMN, TEXT_COLUMN = "curate_key", "curate_text"
SELECTED_COLUMNS = (KEY_COLUMN, TEXT_COLUMN)
UNLIKE = (*SELECTED_COLUMNS, "key", "source", "url", "text")  # columns whose values hardly ever repeat
METADATA = b"curate"
GROUP_ROWS = 131_072  # a row group has at most so many rows
LOOKED_AT = 10_000  # so many first rows decide whether a column's values repeat
GROUP_BYTES = 64 * 2**20  # a row group closes at about so many bytes in memory

Rules = Mapping[str, Mapping[str, Any]]


def part_name(unit: int) -> str:
    """`part-000012.parquet`."""
    return f"part-{unit:06d}.parquet"


def part_schema(published: pa.Schema, manifest_digest: str, rules: Rules) -> pa.Schema:
    """The schema of a part: the source's columns and ours, with metadata.

    `manifest_digest` is the manifest's; `rules` are the rules, with settings, by which the rows were judged.
    """
    told = {"version": __version__, "manifest": manifest_digest, "scorer": None, "selected": rules}
    columns = [*published, pa.field(KEY_COLUMN, pa.string()), pa.field(TEXT_COLUMN, pa.string())]
    return pa.schema(columns, {METADATA: json.dumps(told, sort_keys=True).encode()})


def judged_rules(schema: pa.Schema) -> dict[str, dict[str, Any]] | None:
    """The rules by which a part's rows were judged, with their settings; None for a schema that is no part's."""
    told = (schema.metadata or {}).get(METADATA)
    if told is None or not set(SELECTED_COLUMNS) <= set(schema.names):
        return None
    try:
        return msgspec.json.decode(told, type=SelectedMetadata).selected
    except msgspec.MsgspecError:
        return None


def scorer_named(schema: pa.Schema) -> str:
    """The model that scored a shard's rows, such as `ViT-L-14 openai`; empty where the rows were not scored."""
    told = (schema.metadata or {}).get(METADATA, b"{}")
    try:
        scorer = msgspec.json.decode(told, type=ScoredMetadata).scorer or {}
    except msgspec.MsgspecError:
        return ""
    return " ".join(str(scorer[name]) for name in ("model", "pretrained") if scorer.get(name))


class SelectedMetadata(msgspec.Struct):
    """The fields of a part's metadata that are read."""

    selected: dict[str, dict[str, Any]]


class ScoredMetadata(msgspec.Struct):
    """The fields of a shard's metadata that are read."""

    scorer: dict[str, Any] | None = None


def write_part(store: Store, name: str, tables: Iterable[pa.Table], schema: pa.Schema, level: int) -> Shard:
    """Publish tables as one Parquet file, in row groups of up to GROUP_ROWS rows; `level` is the level of zstd.

    Raises:
        OSError: the file could not be written; nothing was published.
    """
    rows = 0

    def fill(sink: HashingSink) -> None:
        nonlocal rows
        groups = (table.cast(schema) for table in _grouped(tables))
        first = next(groups, schema.empty_table())
        with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, **_options(first, level)) as writer:
            for table in chain([first] if first.num_rows else [], groups):
                writer.write_table(table, row_group_size=GROUP_ROWS)
                rows += table.num_rows

    written = store.write(name, fill)
    return Shard(written.path, rows, written.bytes, written.sha256)


def _grouped(tables: Iterable[pa.Table]) -> Iterable[pa.Table]:
    """Yield the tables' rows in larger tables, each of about GROUP_ROWS rows or GROUP_BYTES."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if (
            sum(one.num_rows for one in waiting) >= GROUP_ROWS
            or sum(one.nbytes for one in waiting) >= GROUP_BYTES
        ):
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _options(first: pa.Table, level: int) -> dict[str, Any]:
    """Options of the Parquet writer for parts: zstd, statistics except on bytes, page index and page checksums.

    Columns whose values hardly ever repeat among the first rows get no dictionary, which would cost time and space.
    """
    schema = first.schema
    binary = {one.name for one in schema if holds_bytes(one.type)}
    every = leaf_paths(schema)
    unlike = {name for name in schema.names if not _repeats(first[name])}
    leaves = [leaf for leaf in every if leaf.partition(".")[0] not in binary]
    return {
        "use_dictionary": [leaf for leaf in every if leaf not in UNLIKE and leaf not in unlike],
        "compression": "zstd",
        "compression_level": level,
        "write_statistics": leaves,
        "write_page_index": True,
        "write_page_checksum": True,
        "store_schema": True,
    }


def _repeats(column: pa.ChunkedArray) -> bool:
    """Whether at most half of the first values are distinct; always true for columns of neither texts nor numbers."""
    kind, some = column.type, column.slice(0, LOOKED_AT)
    is_plain = (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
    )
    return not is_plain or bool(2 * pc.count_distinct(some, mode="all").as_py() <= len(some))


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether values of this type hold bytes, such as images, at any depth."""
    if pa.types.is_dictionary(kind):
        return holds_bytes(kind.value_type)
    if kind.num_fields:
        return any(holds_bytes(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
