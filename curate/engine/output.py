"""From a unit's finished table to its files: first staged, then published.

A unit's files are staged under `_run/staged` until the rules across the whole run have spoken. Publishing
links them to their final names, or writes them again without what fell, and last writes the record that marks
the unit as done; repeated after a kill it does the same again. A staged unit is never fetched again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import tasks
from curate.engine.across import SPILL, spill_rows
from curate.engine.record import UnitRecord, add_counts, count_reasons
from curate.engine.spool import Spool
from curate.manifest.settings import Manifest
from curate.marking import RULE_STAGES, alive, sampled
from curate.schema import DROPPED, SHARD, shard_metadata
from curate.storage.shards import (
    Shard,
    as_dropped,
    dropped_name,
    image_path,
    read_columns,
    row_groups,
    shard_name,
    to_shard,
    write_tables,
)
from curate.storage.store import Store

STAGED = "_run/staged"
DONE = "_run/done"

Fallen = Mapping[int, str]  # place of a row to the reason why it falls


class Staging:
    """The output side of one run."""

    def __init__(self, manifest: Manifest, store: Store) -> None:
        self.manifest, self.store = manifest, store
        self.scorer: dict[str, Any] | None = None  # who scored what is staged from now on

    def write_dropped(self, unit: int, table: pa.Table) -> Shard | None:
        """Stage the table's dropped rows (N rows of SAMPLE); None where none is to be written down."""
        dropped = self._written(table.filter(pc.invert(alive(table))))
        if not dropped.num_rows:
            return None
        rows = as_dropped(dropped.append_column("reason", dropped["dropped"]))
        return self._stage(dropped_name(unit), [rows], DROPPED)

    def write(self, unit: int, table: pa.Table, spool: Spool) -> list[Shard]:
        """Stage the table's alive rows as shards (N rows of SAMPLE)."""
        rows = pc.indices_nonzero(alive(table))
        kept, places, first, shards = table.take(rows), rows.to_numpy(), 0, []
        schema = SHARD.with_metadata(shard_metadata(self.manifest.digest(), self.scorer))
        for part, groups in enumerate(row_groups(spool.lengths(places), self.manifest.shard)):
            pieces = self._groups(kept.slice(first), places[first:], groups, spool)
            shards.append(self._stage(shard_name(unit, part), pieces, schema))
            first += sum(groups)
        return shards

    def spilled(self, number: int) -> pa.Table:
        """What rules across the run need of a staged unit's images (SPILL; `row` counts its kept rows)."""
        first, parts = 0, [SPILL.empty_table()]
        for shard in self.record(number, STAGED).shards:
            table = read_columns(self.store, f"{STAGED}/{shard.path}", ["sha256", "text"])
            rows = pa.array(np.arange(first, first + table.num_rows))
            image, text = table["sha256"].combine_chunks(), table["text"].combine_chunks()
            parts.append(spill_rows(image, text, number, rows))
            first += table.num_rows
        return pa.concat_tables(parts)

    def publish(self, record: UnitRecord, fallen: Fallen, details: Mapping[int, str]) -> UnitRecord:
        """Give a staged unit's files their final names, less the rows that fell (places among the kept).

        `details` says of some of these what decided; of the others their image's hash does.
        """
        if fallen:
            record = self._publish_less(record, fallen, details)
        else:
            for name in (*(shard.path for shard in record.shards), dropped_name(record.unit)):
                if self.store.exists(f"{STAGED}/{name}"):
                    self.store.link(f"{STAGED}/{name}", name)
        self.keep(record, DONE)
        return record

    def keep(self, record: UnitRecord, folder: str) -> None:
        """Write a unit's record: the mark that it is staged or done."""
        self.store.write_bytes(f"{folder}/{record.unit:06d}.json", msgspec.json.encode(record.check()))

    def record(self, number: int, folder: str) -> UnitRecord:
        """The record of a staged or done unit."""
        data = self.store.read_bytes(f"{folder}/{number:06d}.json")
        assert data is not None, f"unit {number} is not in {folder}"
        return msgspec.json.decode(data, type=UnitRecord)

    def _groups(
        self, kept: pa.Table, places: np.ndarray, groups: list[int], spool: Spool
    ) -> Iterator[pa.Table]:
        """The kept rows as row groups of SHARD, with their images."""
        first = 0
        for rows in groups:
            sample = kept.slice(first, rows)
            image = spool.take(places[first : first + rows])
            prompt, target = tasks.render(sample, image_path(sample))
            yield to_shard(sample, image, prompt, target)
            first += rows

    def _written(self, dropped: pa.Table) -> pa.Table:
        """Those dropped rows that are written down: every failure, and a share of what fell to rules."""
        by_rule = pc.is_in(dropped["stage"], pa.array(RULE_STAGES))
        share = sampled(dropped["key"], self.manifest.drops.sample)
        return dropped.filter(pc.or_(pc.invert(by_rule), share))

    def _publish_less(self, record: UnitRecord, fallen: Fallen, details: Mapping[int, str]) -> UnitRecord:
        """Publish a staged unit's files without the fallen rows, which join the dropped ones."""
        first, shards, lost = 0, [], self._staged_dropped(record.unit)
        for shard in record.shards:
            pieces = self._without(shard, first, fallen, details, lost)
            if all(row in fallen for row in range(first, first + shard.rows)):
                list(pieces)
            else:
                shards.append(
                    write_tables(self.store, shard.path, pieces, self._schema(shard), self.manifest.shard)
                )
            first += shard.rows
        dropped = write_tables(self.store, dropped_name(record.unit), lost, DROPPED, self.manifest.shard)
        rows_out = sum(shard.rows for shard in shards)
        return msgspec.structs.replace(
            record,
            rows_out=rows_out,
            shards=tuple(shards),
            dropped_file=dropped,
            dropped=add_counts([record.dropped, count_reasons(pa.array(list(fallen.values())))]),
            stages=(*record.stages[:-1], msgspec.structs.replace(record.stages[-1], rows_out=rows_out)),
        )

    def _schema(self, shard: Shard) -> pa.Schema:
        """A staged shard's schema, with what it says of itself."""
        with self.store.fs.open_input_file(self.store.path(f"{STAGED}/{shard.path}")) as file:
            return pq.read_schema(file)

    def _without(
        self, shard: Shard, first: int, fallen: Fallen, details: Mapping[int, str], lost: list[pa.Table]
    ) -> Iterator[pa.Table]:
        """A staged shard's row groups less the fallen rows, which are added to `lost` (rows of DROPPED)."""
        with self.store.fs.open_input_file(self.store.path(f"{STAGED}/{shard.path}")) as file:
            reader = pq.ParquetFile(file, page_checksum_verification=True)
            for group in range(reader.num_row_groups):
                table = reader.read_row_group(group)
                rows = range(first, first + table.num_rows)
                reason, detail = (
                    pa.array(map(of.get, rows), pa.string(), size=len(rows)) for of in (fallen, details)
                )
                first += table.num_rows
                lost.append(self._lost(table, reason, detail))
                kept = table.filter(pc.is_null(reason))
                if kept.num_rows:
                    yield kept

    def _lost(self, table: pa.Table, reason: pa.Array, detail: pa.Array) -> pa.Table:
        """Rows of SHARD that fell across the run, as rows of DROPPED, as far as they are written down."""
        detail = pc.coalesce(detail, pc.binary_join_element_wise("sha256", table["sha256"], "="))
        rows = table.append_column("reason", reason).append_column("detail", detail)
        rows = rows.filter(pc.is_valid(reason))
        rows = rows.filter(sampled(rows["key"], self.manifest.drops.sample))
        return as_dropped(rows.append_column("stage", pa.repeat("across", rows.num_rows)))

    def _staged_dropped(self, unit: int) -> list[pa.Table]:
        name = f"{STAGED}/{dropped_name(unit)}"
        if not self.store.exists(name):
            return []
        with self.store.fs.open_input_file(self.store.path(name)) as file:
            return [pq.read_table(file)]

    def _stage(self, name: str, tables: Iterable[pa.Table], schema: pa.Schema) -> Shard:
        """Stage one file; its record bears its final name."""
        shard = write_tables(self.store, f"{STAGED}/{name}", tables, schema, self.manifest.shard)
        return msgspec.structs.replace(shard, path=name)
