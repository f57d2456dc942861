"""Read columns of kept rows by the names of curate's schema, from shards and from the parts of a selection.

A part of a selection has the columns of its source, under the names that the source's publisher chose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.adapters import values
from curate.adapters.mapping import first
from curate.schema import SHARD
from curate.storage.selected import KEY_COLUMN, TEXT_COLUMN

OURS = {"key": KEY_COLUMN, "text": TEXT_COLUMN}
PUBLISHED = ("url", "width", "height", "clip_score")  # columns that a source may have under another name


class KeptColumns:
    """Reads kept rows of one run; `manifest` (the whole of its `_manifest.json`) says how columns are named."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        of: Mapping[str, Any] = manifest.get("manifest", {})
        self._names: Mapping[str, Sequence[str]] = of.get("columns", {})
        self._all = {"dataset": of.get("name"), "task": of.get("task")}

    def read(self, file: pq.ParquetFile, columns: Sequence[str], group: int | None = None) -> pa.Table:
        """Read columns (names of SHARD, or leaves of them) of a file or of its row group number `group` (N rows).

        Columns of a selection's part are converted as a run would convert them; those that it lacks are null.
        """
        wanted, is_part = list(columns), KEY_COLUMN in file.schema_arrow.names
        if is_part:
            there = self._there(file.schema_arrow.names)
            wanted = list({there[name] for name in columns if name in there})
        if group is None:
            table = file.read(columns=wanted, use_threads=False)
        else:
            table = file.read_row_group(group, columns=wanted)
        return self._named(table, [name.partition(".")[0] for name in columns], there) if is_part else table

    def _there(self, names: Sequence[str]) -> dict[str, str]:
        """The columns of ours that a part has, each with its name in the part."""
        found = {name: first(names, self._names.get(name, (name,))) for name in PUBLISHED}
        return OURS | {name: there for name, there in found.items() if there is not None}

    def _named(self, table: pa.Table, columns: Sequence[str], there: Mapping[str, str]) -> pa.Table:
        made = {}
        for name in dict.fromkeys(columns):
            kind = SHARD.field(name).type
            if name in there:
                made[name] = _as_read(name, table[there[name]]).cast(kind)
            elif name in self._all:
                made[name] = pa.repeat(self._all[name], table.num_rows).dictionary_encode().cast(kind)
            else:
                made[name] = pa.nulls(table.num_rows, kind)
        return pa.table(made)


def _as_read(name: str, column: pa.ChunkedArray) -> pa.Array:
    """A published column as a run reads it (N rows)."""
    if name in ("width", "height"):
        return values.size(column)
    if name == "clip_score":
        return values.cosine(column)
    return pc.utf8_trim_whitespace(values.text(values.plain(column))[0])
