"""Write a unit's finished table to files, which are first staged and then published.

If rules across the run must still be judged, a unit is staged first. On a disk its files are then in `_run/staged`; on
an object store, where no file can be renamed, they have their final names from the start. Publishing links the files
to their final names, or writes them again without the rows that were dropped; last it writes the record that marks the
unit as done. After a kill it can be repeated, with the same result. A staged unit is never fetched again. Without such
rules, a unit's files are written once, under their final names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import tasks
from curate.engine import dialogue_images
from curate.engine.record import UnitRecord, add_counts, count_reasons
from curate.engine.records import DONE, FOLDERS, STAGED, read_record, record_in_segments, write_record
from curate.engine.spool import Spool
from curate.engine.staged_pairs import ACROSS_STAGE, fallen_detail, pairs_of_shard, spill_pairs
from curate.engine.tombstones import without_names
from curate.errors import UnitError
from curate.manifest.settings import Manifest
from curate.marking import RULE_STAGES, alive, sampled
from curate.schema import DROPPED, SHARD, SHARD_FORMS, shard_metadata
from curate.storage.batch_files import damaged
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
]  # columns of a shard that are read for rows that are dropped

Fallen = Mapping[int, str]  # row number → the reason for which a rule across the run drops the row


class Staging:
    """Writes the output of one run."""

    def __init__(self, manifest: Manifest, store: Store, judged_later: bool = True) -> None:
        """Take `judged_later`: whether rules across the run are judged after units are staged."""
        self.manifest, self.store = manifest, store
        self._prefix = f"{STAGED}/" if judged_later and store.local else ""
        self.scorer: dict[str, Any] | None = None  # named in the shards that are staged from now on
        self._digest = manifest.digest()

    def write_dropped(self, unit: int, table: pa.Table) -> Shard | None:
        """Stage the dropped rows of a unit's table (N rows of SAMPLE); return None if none of them is written."""
        dropped = without_names(self._written(table.filter(pc.invert(alive(table)))))
        if not dropped.num_rows:
            return None
        rows = as_dropped(dropped.append_column("reason", dropped["dropped"])).combine_chunks()
        return self._stage(dropped_name(unit), [rows], DROPPED)

    def write(self, unit: int, table: pa.Table, spool: Spool) -> list[Shard]:
        """Stage the alive rows of a unit's table as shards.

        Args:
            unit: the unit's number.
            table: N rows of SAMPLE.
            spool: has the images, by row number.
        """
        rows = pc.indices_nonzero(alive(table))
        kept, places, first, shards = table.take(rows), rows.to_numpy(), 0, []
        form = SHARD_FORMS[self.manifest.image.fingerprints]
        schema = form.with_metadata(shard_metadata(self._digest, self.scorer, form))
        shown = dialogue_images.shown(kept, places, spool)
        for part, groups in enumerate(row_groups(shown, self.manifest.shard)):
            pieces = self._groups(kept.slice(first), places[first:], groups, spool)
            shards.append(self._stage(shard_name(unit, part), pieces, schema, shown.repeated))
            first += sum(groups)
        return shards

    def place(self, name: str) -> str:
        """Return the present name of a staged file whose final name is `name`."""
        return f"{self._prefix}{name}"

    def spilled(self, number: int, phase: str = "bytes") -> pa.Table:
        """Return what a phase of the rules across the run compares of a staged unit (rows of SPILL).

        `row` numbers the unit's kept rows from 0.
        """
        shards = self.record(number, STAGED).shards
        pairs = [pairs_of_shard(self.store, self.place(shard.path), phase) for shard in shards]
        return spill_pairs(pairs, number)

    def publish(self, record: UnitRecord, fallen: Fallen, details: Mapping[int, str]) -> UnitRecord:
        """Publish a staged unit's files without the rows that were dropped; return the new record.

        Args:
            record: the staged unit's record.
            fallen: rows to drop, by their numbers among the kept rows.
            details: for some of these, the value that decided; the others get one that names the image's hash.

        Raises:
            DamagedStateError: a staged file on a disk is gone, or has another size than the record says.
        """
        files = [*record.shards, *([record.dropped_file] if record.dropped_file else [])]
        for file in files if self._prefix else ():
            self._check_staged(file)
        if fallen:
            record = self._publish_without(record, fallen, details)
        elif self._prefix:
            for file in files:
                self.store.link(self.place(file.path), file.path)
        self.keep(record, DONE)
        return record

    def keep(self, record: UnitRecord, folder: str) -> None:
        """Write a unit's record, which marks it as staged or done (`folder`: STAGED or DONE)."""
        write_record(self.store, folder, record)

    def record(self, number: int, folder: str) -> UnitRecord:
        """Return the record of a unit that is staged or done (`folder`: STAGED or DONE).

        Raises:
            UnitError: it has no record there.
        """
        record = read_record(self.store, folder, number)
        if record is None:
            state = next(state for state, place in FOLDERS.items() if place == folder)
            record = record_in_segments(self.store, state, number)
        if record is None:
            raise UnitError(f"unit {number} has no record in {folder}: run the same command again")
        return record

    def _groups(
        self, kept: pa.Table, places: np.ndarray, groups: list[int], spool: Spool
    ) -> Iterator[pa.Table]:
        """Yield the kept rows as row groups (tables of SHARD), with their images."""
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
        """Return the dropped rows to be written: every failure, and the share `drops.sample` of what rules dropped."""
        by_rule = pc.is_in(dropped["stage"], pa.array(RULE_STAGES))
        share = sampled(dropped["key"], self.manifest.drops.sample)
        return dropped.filter(pc.or_(pc.invert(by_rule), share))

    def _publish_without(self, record: UnitRecord, fallen: Fallen, details: Mapping[int, str]) -> UnitRecord:
        """Publish a staged unit's files without the rows in `fallen`, and add these to the file of dropped rows.

        That file is written first. If staged files have their final names, an attempt that was killed may have replaced
        some of them: a file that is not the staged one is then a file that this attempt has finished.
        """
        dropped = self._rewritten(dropped_name(record.unit), record.dropped_file)
        if dropped is None:
            dropped = self._write_lost(record, fallen, details)
        shards = self._publish_shards(record, fallen)
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
        """Write the unit's dropped rows again, together with the rows in `fallen`."""
        first, lost = 0, self._staged_dropped(record)
        for shard in record.shards:
            for table, reason, detail in self._groups_of(shard, first, fallen, details, LOST):
                lost.append(self._lost(table, reason, detail))
            first += shard.rows
        return self._write(dropped_name(record.unit), lost, DROPPED)

    def _publish_shards(self, record: UnitRecord, fallen: Fallen) -> list[Shard]:
        """Write the unit's shards under their final names, without the rows in `fallen`; leave out empty shards."""
        first, shards = 0, []
        for shard in record.shards:
            rows = range(first, first + shard.rows)
            first += shard.rows
            if not all(row in fallen for row in rows):
                shards.append(self._publish_shard(shard, rows, fallen))
        return shards

    def _publish_shard(self, shard: Shard, rows: range, fallen: Fallen) -> Shard:
        """Write a shard under its final name, without the rows in `fallen`.

        `rows` are the numbers of the shard's rows among the unit's kept rows.
        """
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
        """Return the file that an earlier attempt has written in place of a staged file; None if it has not.

        If the staged file has its final name, the number of rows tells the two apart: a shard has lost rows, the file
        of dropped rows has gained some. `staged` is None if the unit had no such file.
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
        """Return a staged shard's schema with its metadata, and whether several of its rows show the same image."""
        with self._opened(shard) as reader:
            return reader.schema_arrow, has_repeated(reader)

    def _groups_of(
        self,
        shard: Shard,
        first: int,
        fallen: Fallen,
        details: Mapping[int, str],
        columns: list[str] | None = None,
    ) -> Iterator[tuple[pa.Table, pa.Array, pa.Array]]:
        """Yield a staged shard's row groups, with the reason to drop each row (null: it stays) and what decided.

        Args:
            shard: the staged shard.
            first: the number of its first row among the unit's kept rows.
            fallen: reasons, by row number.
            details: what decided, by row number.
            columns: the columns to read. None: all.
        """
        with self._opened(shard) as reader:
            for group in range(reader.num_row_groups):
                table = reader.read_row_group(group, columns)
                rows = range(first, first + table.num_rows)
                reason, detail = (
                    pa.array(map(of.get, rows), pa.string(), size=len(rows)) for of in (fallen, details)
                )
                first += table.num_rows
                yield table, reason, detail

    def _lost(self, table: pa.Table, reason: pa.Array, detail: pa.Array) -> pa.Table:
        """Return the rows of a shard that have a reason as rows of DROPPED, and only those that are to be written."""
        detail = pc.coalesce(detail, fallen_detail(table))
        rows = table.append_column("reason", reason).append_column("detail", detail)
        rows = rows.filter(pc.is_valid(reason))
        rows = rows.filter(sampled(rows["key"], self.manifest.drops.sample))
        return as_dropped(rows.append_column("stage", pa.repeat(ACROSS_STAGE, rows.num_rows)))

    def _staged_dropped(self, record: UnitRecord) -> list[pa.Table]:
        if record.dropped_file is None:
            return []
        with self._opened(record.dropped_file) as reader:
            return [reader.read()]

    def _check_staged(self, staged: Shard) -> None:
        """Check a staged file's size, before it is linked into the output or read. Raises: see `publish`."""
        place = self.place(staged.path)
        try:
            size = Path(self.store.path(place)).stat().st_size
        except FileNotFoundError:
            size = -1
        if size != staged.bytes:
            raise damaged(self.store, place)

    @contextmanager
    def _opened(self, staged: Shard) -> Iterator[pq.ParquetFile]:
        """Open a staged file; the checksums of its pages are verified as they are read.

        Raises:
            DamagedStateError: it is on a disk and its content cannot be read.
        """
        place = self.place(staged.path)
        try:
            with self.store.fs.open_input_file(self.store.path(place)) as file:
                yield pq.ParquetFile(file, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            of_disk = (
                isinstance(error, OSError) and error.errno is not None
            )  # Arrow's own errors have no number
            if of_disk or not place.startswith(STAGED):
                raise
            raise damaged(self.store, place) from None

    def _stage(
        self, name: str, tables: Iterable[pa.Table], schema: pa.Schema, repeated: bool = False
    ) -> Shard:
        """Stage one file; the result names it by its final name."""
        written = self._write(self.place(name), tables, schema, repeated)
        return msgspec.structs.replace(written, path=name)

    def _write(
        self, name: str, tables: Iterable[pa.Table], schema: pa.Schema, repeated: bool = False
    ) -> Shard:
        """Write one file with a row group for each table; `repeated`: several rows show the same image."""
        return write_tables(self.store, name, tables, schema, self.manifest.shard, repeated)
