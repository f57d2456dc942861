"""From a unit's finished table to its files: first staged, then published.

Where rules across the whole run are still to speak, a unit is staged first: on a disk its files lie under
`_run/staged`, on an object store, where no file can be renamed, they bear their final names at once. Publishing
links them to their final names, or writes them again without what fell, and last writes the record that marks
the unit as done; repeated after a kill it does the same again. A staged unit is never fetched again. Without
such rules a unit's files are written once, under their final names.
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
from curate.engine import dialogue_images
from curate.engine.record import UnitRecord, add_counts, count_reasons
from curate.engine.records import DONE, STAGED, read_record, write_record
from curate.engine.spool import Spool
from curate.engine.staged_pairs import ACROSS_STAGE, fallen_detail, pairs_of_shard, spill_pairs
from curate.engine.tombstones import without_names
from curate.errors import UnitError
from curate.manifest.settings import Manifest
from curate.marking import RULE_STAGES, alive, sampled
from curate.schema import DROPPED, SHARD, SHARD_FORMS, shard_metadata
from curate.storage.shards import (
    Shard,
    as_dropped,
    dropped_name,
    has_repeated,
    image_hashes,
    image_path,
    row_groups,
    shard_name,
    to_shard,
    write_tables,
)
from curate.storage.store import Store

LOST = [name for name in DROPPED.names if name in SHARD.names] + [
    "sha256",
    "extra",
]  # what is kept of a row that falls

Fallen = Mapping[int, str]  # place of a row to the reason why it falls


class Staging:
    """The output side of one run."""

    def __init__(self, manifest: Manifest, store: Store, judged_later: bool = True) -> None:
        self.manifest, self.store = manifest, store
        self._prefix = f"{STAGED}/" if judged_later and store.local else ""
        self.scorer: dict[str, Any] | None = None  # who scored what is staged from now on

    def write_dropped(self, unit: int, table: pa.Table) -> Shard | None:
        """Stage the table's dropped rows (N rows of SAMPLE); None where none is to be written down."""
        dropped = without_names(self._written(table.filter(pc.invert(alive(table)))))
        if not dropped.num_rows:
            return None
        rows = as_dropped(dropped.append_column("reason", dropped["dropped"])).combine_chunks()
        return self._stage(dropped_name(unit), [rows], DROPPED)

    def write(self, unit: int, table: pa.Table, spool: Spool) -> list[Shard]:
        """Stage the table's alive rows as shards (N rows of SAMPLE)."""
        rows = pc.indices_nonzero(alive(table))
        kept, places, first, shards = table.take(rows), rows.to_numpy(), 0, []
        form = SHARD_FORMS[self.manifest.image.fingerprints]
        schema = form.with_metadata(shard_metadata(self.manifest.digest(), self.scorer, form))
        shown = dialogue_images.shown(kept, places, spool)
        for part, groups in enumerate(row_groups(shown, self.manifest.shard)):
            pieces = self._groups(kept.slice(first), places[first:], groups, spool)
            shards.append(self._stage(shard_name(unit, part), pieces, schema, shown.repeated))
            first += sum(groups)
        return shards

    def place(self, name: str) -> str:
        """Where a staged file lies that will be called `name`."""
        return f"{self._prefix}{name}"

    def spilled(self, number: int, phase: str = "bytes") -> pa.Table:
        """What a phase of the rules across the run needs of a staged unit (SPILL; `row` counts its kept rows)."""
        shards = self.record(number, STAGED).shards
        pairs = [pairs_of_shard(self.store, self.place(shard.path), phase) for shard in shards]
        return spill_pairs(pairs, number)

    def publish(self, record: UnitRecord, fallen: Fallen, details: Mapping[int, str]) -> UnitRecord:
        """Give a staged unit's files their final names, less the rows that fell (places among the kept).

        `details` says of some of these what decided; of the others their image's hash does.
        """
        if fallen:
            record = self._publish_less(record, fallen, details)
        elif self._prefix:
            files = [*record.shards, *([record.dropped_file] if record.dropped_file else [])]
            for file in files:
                self.store.link(self.place(file.path), file.path)
        self.keep(record, DONE)
        return record

    def keep(self, record: UnitRecord, folder: str) -> None:
        """Write a unit's record: the mark that it is staged or done."""
        write_record(self.store, folder, record)

    def record(self, number: int, folder: str) -> UnitRecord:
        """The record of a staged or done unit."""
        record = read_record(self.store, folder, number)
        if record is None:
            raise UnitError(f"unit {number} has no record in {folder}: run the same command again")
        return record

    def _groups(
        self, kept: pa.Table, places: np.ndarray, groups: list[int], spool: Spool
    ) -> Iterator[pa.Table]:
        """The kept rows as row groups of SHARD, with their images."""
        first = 0
        for rows in groups:
            sample = kept.slice(first, rows)
            mine = places[first : first + rows]
            _, where, which = np.unique(spool.identities(mine), return_index=True, return_inverse=True)
            stored = spool.take(mine[where])
            prompt, target = tasks.row_strings(sample, image_path(sample))
            image, hashes = (column.take(pa.array(which)) for column in (stored, image_hashes(stored)))
            form = SHARD_FORMS[self.manifest.image.fingerprints]
            yield to_shard(sample, image, prompt, target, dialogue_images.taken(sample, spool), hashes, form)
            first += rows

    def _written(self, dropped: pa.Table) -> pa.Table:
        """Those dropped rows that are written down: every failure, and a share of what fell to rules."""
        by_rule = pc.is_in(dropped["stage"], pa.array(RULE_STAGES))
        share = sampled(dropped["key"], self.manifest.drops.sample)
        return dropped.filter(pc.or_(pc.invert(by_rule), share))

    def _publish_less(self, record: UnitRecord, fallen: Fallen, details: Mapping[int, str]) -> UnitRecord:
        """Publish a staged unit's files without the fallen rows, which join the dropped ones.

        The dropped rows go first. Where staged files bear their final names already, a kill can come between:
        a file that is not the staged one any more is then the one that an earlier attempt wrote.
        """
        dropped = self._rewritten(dropped_name(record.unit), record.dropped_file)
        if dropped is None:
            dropped = self._write_lost(record, fallen, details)
        shards = self._all_less(record, fallen)
        rows_out = sum(shard.rows for shard in shards)
        return msgspec.structs.replace(
            record,
            rows_out=rows_out,
            shards=tuple(shards),
            dropped_file=dropped,
            dropped=add_counts([record.dropped, count_reasons(pa.array(list(fallen.values())))]),
            stages=(*record.stages[:-1], msgspec.structs.replace(record.stages[-1], rows_out=rows_out)),
        )

    def _write_lost(self, record: UnitRecord, fallen: Fallen, details: Mapping[int, str]) -> Shard:
        """Write the unit's dropped rows again, with those that fell since."""
        first, lost = 0, self._staged_dropped(record)
        for shard in record.shards:
            for table, reason, detail in self._groups_of(shard, first, fallen, details, LOST):
                lost.append(self._lost(table, reason, detail))
            first += shard.rows
        return self._write(dropped_name(record.unit), lost, DROPPED)

    def _all_less(self, record: UnitRecord, fallen: Fallen) -> list[Shard]:
        """The unit's shards under their final names, without the fallen rows; one that loses all is none."""
        first, shards = 0, []
        for shard in record.shards:
            rows = range(first, first + shard.rows)
            first += shard.rows
            if not all(row in fallen for row in rows):
                shards.append(self._less(shard, rows, fallen))
        return shards

    def _less(self, shard: Shard, rows: range, fallen: Fallen) -> Shard:
        """A shard under its final name, without the fallen rows (`rows` are its places among the kept)."""
        if not any(row in fallen for row in rows):
            if self._prefix:
                self.store.link(self.place(shard.path), shard.path)
            return shard
        if (rewritten := self._rewritten(shard.path, shard)) is not None:
            return rewritten
        kept = (
            table.filter(pc.is_null(reason))
            for table, reason, _ in self._groups_of(shard, rows.start, fallen, {})
        )
        tables = (table for table in kept if table.num_rows)
        return self._write(shard.path, tables, *self._schema(shard))

    def _rewritten(self, name: str, staged: Shard | None) -> Shard | None:
        """What an earlier attempt wrote over a staged file (None: where none was); None where it did not.

        The number of rows tells: a shard has lost some, the file of dropped rows has gained them.
        """
        if self._prefix:
            return None
        try:
            with self.store.fs.open_input_file(self.store.path(name)) as file:
                rows = pq.ParquetFile(file).metadata.num_rows
        except FileNotFoundError:
            return None
        if staged is not None and rows == staged.rows:
            return None
        written = self.store.describe(name)
        return Shard(name, rows, written.bytes, written.sha256)

    def _schema(self, shard: Shard) -> tuple[pa.Schema, bool]:
        """A staged shard's schema, with what it says of itself, and whether its images are repeated."""
        with self.store.fs.open_input_file(self.store.path(self.place(shard.path))) as file:
            reader = pq.ParquetFile(file)
            return reader.schema_arrow, has_repeated(reader)

    def _groups_of(
        self,
        shard: Shard,
        first: int,
        fallen: Fallen,
        details: Mapping[int, str],
        columns: list[str] | None = None,
    ) -> Iterator[tuple[pa.Table, pa.Array, pa.Array]]:
        """A staged shard's row groups, each row's reason to fall (null: it stays), and what decided."""
        with self.store.fs.open_input_file(self.store.path(self.place(shard.path))) as file:
            reader = pq.ParquetFile(file, page_checksum_verification=True)
            for group in range(reader.num_row_groups):
                table = reader.read_row_group(group, columns)
                rows = range(first, first + table.num_rows)
                reason, detail = (
                    pa.array(map(of.get, rows), pa.string(), size=len(rows)) for of in (fallen, details)
                )
                first += table.num_rows
                yield table, reason, detail

    def _lost(self, table: pa.Table, reason: pa.Array, detail: pa.Array) -> pa.Table:
        """Rows of SHARD that fell across the run, as rows of DROPPED, as far as they are written down."""
        detail = pc.coalesce(detail, fallen_detail(table))
        rows = table.append_column("reason", reason).append_column("detail", detail)
        rows = rows.filter(pc.is_valid(reason))
        rows = rows.filter(sampled(rows["key"], self.manifest.drops.sample))
        return as_dropped(rows.append_column("stage", pa.repeat(ACROSS_STAGE, rows.num_rows)))

    def _staged_dropped(self, record: UnitRecord) -> list[pa.Table]:
        if record.dropped_file is None:
            return []
        with self.store.fs.open_input_file(self.store.path(self.place(record.dropped_file.path))) as file:
            return [pq.read_table(file)]

    def _stage(
        self, name: str, tables: Iterable[pa.Table], schema: pa.Schema, repeated: bool = False
    ) -> Shard:
        """Stage one file; its record bears its final name."""
        written = self._write(self.place(name), tables, schema, repeated)
        return msgspec.structs.replace(written, path=name)

    def _write(
        self, name: str, tables: Iterable[pa.Table], schema: pa.Schema, repeated: bool = False
    ) -> Shard:
        """Write one file, a row group a table; `repeated`: several rows show the same image."""
        return write_tables(self.store, name, tables, schema, self.manifest.shard, repeated)
