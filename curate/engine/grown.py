"""Output of a run to which inputs were added: the older units are published already, and changed only if necessary.

Because of added rows, a rule across the run may now drop a row of an older unit: its picture turns out to be a
placeholder, or a longer text for its image was added. Then the unit's files are replaced by new ones without the row.
Doing this again, after a kill, gives the same files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.engine.output import LOST, Fallen, Staging
from curate.engine.plan import Run
from curate.engine.record import UnitRecord, add_counts, count_reasons
from curate.engine.records import DONE, STAGED, before_stem, read_segments, segment_names
from curate.engine.similar import RULE as SIMILAR
from curate.engine.similar import details_of
from curate.engine.staged_pairs import ACROSS_STAGE, pairs_of_fallen, pairs_of_shard, spill_pairs
from curate.errors import UnitError
from curate.schema import DROPPED
from curate.storage.listing import DROPPED_FILES, SHARDS, as_shards, read_files
from curate.storage.shards import Shard, as_dropped, dropped_name, unit_of
from curate.storage.store import Store

PLACEHOLDER = "placeholder_image"  # a row dropped for this keeps the reason, whatever inputs are added
LABELS_AS_TEXT = pa.schema([(name, pa.string()) for name in DROPPED.names])
ROW = re.compile(r"#(\d+)$")


def staging_of(run: Run, store: Store) -> Staging:
    """Return what writes a run's output, with or without units that were finished before inputs were added."""
    if run.before:
        return GrownStaging(run, store)
    return Staging(run.manifest, store, run.judges_staged)


class GrownStaging(Staging):
    """Writes the output of a run to which inputs were added; its first `run.before` units are published already."""

    def __init__(self, run: Run, store: Store) -> None:
        super().__init__(run.manifest, store, run.judges_staged)
        self._before, self._stem = run.before, before_stem(run.growth)

    def place(self, name: str) -> str:
        """See `Staging.place`: the older units' files have their final names."""
        return name if self._is_old(name) else super().place(name)

    def record(self, number: int, folder: str) -> UnitRecord:
        """See `Staging.record`: the records of older units are in the journal."""
        if folder != STAGED or number >= self._before:
            return super().record(number, folder)
        if number not in self._records:
            raise UnitError(
                f"unit {number}, older than the added inputs, has no record: --overwrite begins the run anew"
            )
        return self._records[number]

    def spilled(self, number: int, phase: str = "bytes") -> pa.Table:
        """See `Staging.spilled`; for an older unit, its kept rows, then those that rules across the run dropped."""
        if number >= self._before:
            return super().spilled(number, phase)
        pairs = [pairs_of_shard(self.store, name, phase) for name in self._shards.get(number, ())]
        if (dropped := dropped_name(number)) in self._files_of_dropped:
            of_similar = self._details_of_similar(self._records[number])
            pairs.append(pairs_of_fallen(self.store, dropped, phase, of_similar))
        return spill_pairs(pairs, number)

    def publish(self, record: UnitRecord, fallen: Fallen, details: Mapping[int, str]) -> UnitRecord:
        """See `Staging.publish`: an older unit's files are written again if a row of it is dropped only now."""
        if record.unit >= self._before:
            return super().publish(record, fallen, details)
        if fallen:
            rows_out = record.rows_out
            now = {row: reason for row, reason in fallen.items() if row < rows_out}
            changed = {row - rows_out: reason for row, reason in fallen.items() if row >= rows_out}
            record = self._amended(record, now, changed)
        self.keep(record, DONE)
        return record

    def _is_old(self, name: str) -> bool:
        unit = unit_of(name)
        return unit is not None and unit < self._before

    @cached_property
    def _records(self) -> dict[int, UnitRecord]:
        """The older units' records."""
        names = [name for name in segment_names(self.store) if name.rsplit("/", 1)[-1].startswith(self._stem)]
        return {record.unit: record for _, record in read_segments(self.store, names)}

    @cached_property
    def _shards(self) -> dict[int, list[str]]:
        """The older units' shards, in order."""
        found: dict[int, list[str]] = {}
        table = read_files(self.store, SHARDS)
        for one in as_shards(table) if table is not None else ():
            found.setdefault(unit_of(one.path) or 0, []).append(one.path)
        return found

    @cached_property
    def _files_of_dropped(self) -> frozenset[str]:
        table = read_files(self.store, DROPPED_FILES)
        return frozenset(table["path"].to_pylist() if table is not None else ())

    def _details_of_similar(self, record: UnitRecord) -> Mapping[str, str]:
        """Return key → `fallen_detail`, for the unit's rows, if any were dropped as similar images; else nothing."""
        return details_of(self.store, record.unit) if SIMILAR in record.dropped else {}

    def _amended(self, record: UnitRecord, fallen: Fallen, changed: Mapping[int, str]) -> UnitRecord:
        """Write an older unit's files again.

        Args:
            record: the unit's record.
            fallen: kept rows to drop now, by their numbers among the kept rows.
            changed: new reasons for rows that were dropped across the run before, by their numbers among these.
        """
        before = self._across_reasons(record)
        changed = {row: why for row, why in changed.items() if before[row : row + 1] != [PLACEHOLDER]}
        dropped = self._rewritten(dropped_name(record.unit), record.dropped_file) if fallen else None
        if dropped is None:
            dropped = self._write_more_lost(record, fallen, changed)
        shards = self._publish_shards(record, fallen)
        counts = Counter(record.dropped)
        counts.subtract(Counter(before[row] for row in changed if row < len(before)))
        counts.update(reason for row, reason in changed.items() if row < len(before))
        rows_out = sum(shard.rows for shard in shards)
        lost = count_reasons(pa.array(list(fallen.values()), pa.string()))
        return msgspec.structs.replace(
            record,
            rows_out=rows_out,
            shards=tuple(shards),
            dropped_file=dropped,
            dropped=add_counts([{reason: count for reason, count in counts.items() if count}, lost]),
            stages=(*record.stages[:-1], msgspec.structs.replace(record.stages[-1], rows_out=rows_out)),
        )

    def _across_reasons(self, record: UnitRecord) -> list[str]:
        """Return the reasons of rows dropped across the run, in the file's order, from the file as it was before."""
        reasons: list[str] = []
        for table in self._dropped_groups(record):
            reasons += table.filter(_across(table))["reason"].cast(pa.string()).to_pylist()
        return reasons

    def _dropped_groups(self, record: UnitRecord) -> list[pa.Table]:
        if record.dropped_file is None:
            return []
        with self.store.fs.open_input_file(self.store.path(record.dropped_file.path)) as file:
            reader = pq.ParquetFile(file, page_checksum_verification=True)
            return [reader.read_row_group(group) for group in range(reader.num_row_groups)]

    def _write_more_lost(self, record: UnitRecord, fallen: Fallen, changed: Mapping[int, str]) -> Shard:
        """Write the unit's dropped rows together with those dropped now, as a run on all inputs would write them."""
        groups = self._dropped_groups(record)
        staged = groups[:1] if groups and not _all_across(groups[0]) else []
        lost = _with_reasons(groups[len(staged) :], changed, self._details_of_similar(record))
        first, new = 0, []
        for shard in record.shards:
            for table, reason, detail in self._groups_of(shard, first, fallen, {}, LOST):
                new.append(self._lost(table, reason, detail))
            first += shard.rows
        return self._write(dropped_name(record.unit), [*staged, *_merged(lost, new)], DROPPED)

    def _rewritten(self, name: str, staged: Shard | None) -> Shard | None:
        """See `Staging._rewritten`: the older units' files have their final names on a disk, too."""
        if not self._is_old(name):
            return super()._rewritten(name, staged)
        prefix, self._prefix = self._prefix, ""
        try:
            return super()._rewritten(name, staged)
        finally:
            self._prefix = prefix

    def _publish_shard(self, shard: Shard, rows: range, fallen: Fallen) -> Shard:
        """See `Staging._publish_shard`."""
        if self._is_old(shard.path) and not any(row in fallen for row in rows):
            return shard
        return super()._publish_shard(shard, rows, fallen)


def _across(rows: pa.Table) -> pa.ChunkedArray:
    """Return true for the dropped rows that a rule across the run dropped (N)."""
    return pc.equal(rows["stage"].cast(pa.string()), ACROSS_STAGE)


def _all_across(rows: pa.Table) -> bool:
    return bool(pc.all(_across(rows), min_count=0).as_py())


def _with_reasons(
    groups: Sequence[pa.Table], changed: Mapping[int, str], of_similar: Mapping[str, str]
) -> list[pa.Table]:
    """Return row groups of dropped rows with other reasons for some rows.

    Args:
        groups: the row groups.
        changed: the new reasons, by row number from 0.
        of_similar: by key, the new details of rows that were similar images and now have another reason.
    """
    first, made = 0, []
    for table in groups:
        rows = range(first, first + table.num_rows)
        reasons = table["reason"].cast(pa.string()).to_pylist()
        said = [changed.get(row, reason) for row, reason in zip(rows, reasons, strict=True)]
        keys, details = table["key"].to_pylist(), table["detail"].to_pylist()
        details = [
            of_similar.get(key, detail) if was == SIMILAR != now else detail
            for key, was, now, detail in zip(keys, reasons, said, details, strict=True)
        ]
        for name, values in (("reason", said), ("detail", details)):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, pa.array(values, pa.string()))
        made.append(as_dropped(table))
        first += table.num_rows
    return made


def _merged(lost: list[pa.Table], new: list[pa.Table]) -> Iterator[pa.Table]:
    """Yield rows dropped before and now, one group for each row group of the unit's shards, in source order."""
    if len(lost) != len(new):  # no row was dropped before, or a whole row group was, and is not in the shards
        yield from (*lost, *(table for table in new if table.num_rows or not lost))
        return
    for before, now in zip(lost, new, strict=True):
        both = pa.concat_tables([before.cast(DROPPED), now.cast(DROPPED)]) if now.num_rows else before
        rows = [
            int(found[1]) if (found := ROW.search(source or "")) else 0
            for source in both["source"].to_pylist()
        ]
        ordered = both.take(pa.array(np.argsort(rows, kind="stable"), pa.int64()))
        yield as_dropped(ordered.cast(LABELS_AS_TEXT))
