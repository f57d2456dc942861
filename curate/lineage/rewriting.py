"""Writes a unit's files again without removed rows: its shards, scores, fingerprints, and its file of dropped rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.engine.record import Stage, UnitRecord, add_counts
from curate.engine.similar import copy_prints
from curate.engine.tombstones import REASON, STAGE, Tombstone, pair_hash
from curate.manifest.settings import ShardSettings
from curate.schema import DROPPED
from curate.storage.shards import Shard, as_dropped, dropped_name, has_repeated, place_of, write_tables
from curate.storage.store import Store

COLUMNS = ("key", "source", "sha256", "text")


class UnitAnew(msgspec.Struct, frozen=True, kw_only=True):
    """A unit that lost rows, and its files as they are now."""

    unit: int
    removed: int  # rows
    shards: dict[str, Shard | None]  # name -> shard, of the shards that lost rows; None: no row is left
    scores: dict[str, Shard | None] = {}  # the same for the files of scores
    dropped_file: Shard
    pairs: tuple[str, ...] = ()  # hex: a hash of image and text for each removed row


@dataclass(frozen=True)
class Rewriter:
    """Writes units without some rows from one folder into another."""

    source: Store
    target: Store
    settings: ShardSettings
    scores: Mapping[str, Shard]  # name -> file of scores
    dropped: Mapping[str, Shard]  # name -> file of dropped rows
    said: str  # reason and date, for the column `detail` of dropped rows

    def anew(self, unit: int, lost: Mapping[str, Sequence[int]]) -> UnitAnew:
        """Write the files of a unit without the rows in `lost` (name of a shard -> numbers of its rows).

        Raises:
            OSError, ValueError: a file cannot be read or written.
        """
        rows: list[pa.Table] = []
        shards: dict[str, Shard | None] = {}
        scores: dict[str, Shard | None] = {}
        for name in sorted(lost, key=place_of):
            rows.append(self._lost(name, lost[name]))
            shards[name] = self._without(name, lost[name])
            for beside in self.scores:
                if beside.rsplit("/", 1)[-1] == name:
                    scores[beside] = self._without(beside, lost[name])
        gone = pa.concat_tables(rows)
        copy_prints(self.source, self.target, unit, gone["key"])
        return UnitAnew(
            unit=unit,
            removed=gone.num_rows,
            shards=shards,
            scores=scores,
            dropped_file=self._write_dropped(unit, gone),
            pairs=tuple(_pairs(gone)),
        )

    def _without(self, name: str, rows: Sequence[int]) -> Shard | None:
        """Write a file without some rows; if no row is left, write none, delete an earlier one, and return None."""
        with self.source.fs.open_input_file(self.source.path(name)) as file:
            reader = pq.ParquetFile(file, page_checksum_verification=True)
            if len(rows) == reader.metadata.num_rows:
                self.target.delete(name)
                return None
            groups = self._kept(reader, np.asarray(rows))
            repeated = has_repeated(reader)
            return write_tables(self.target, name, groups, reader.schema_arrow, self.settings, repeated)

    def _kept(self, reader: pq.ParquetFile, rows: Any) -> Iterator[pa.Table]:
        first = 0
        for group in range(reader.num_row_groups):
            table = reader.read_row_group(group)
            keep = ~np.isin(np.arange(first, first + table.num_rows), rows)
            first += table.num_rows
            if keep.any():
                yield table if keep.all() else table.filter(pa.array(keep))

    def _lost(self, name: str, rows: Sequence[int]) -> pa.Table:
        """Read the rows that are removed (columns COLUMNS)."""
        with self.source.fs.open_input_file(self.source.path(name)) as file:
            reader = pq.ParquetFile(file, page_checksum_verification=True)
            return reader.read(list(COLUMNS)).take(pa.array(rows, pa.int64()))

    def _write_dropped(self, unit: int, gone: pa.Table) -> Shard:
        """Write the unit's dropped rows and after them the removed ones, without their texts and URLs."""
        name, count = dropped_name(unit), gone.num_rows
        made = {"url": None, "text": None, "stage": STAGE, "reason": REASON, "detail": self.said}
        rows = gone.select(["key", "source"])
        for column, value in made.items():
            rows = rows.append_column(column, pa.array([value] * count, pa.string()))

        def groups() -> Iterator[pa.Table]:
            if name in self.dropped:
                with self.source.fs.open_input_file(self.source.path(name)) as file:
                    reader = pq.ParquetFile(file, page_checksum_verification=True)
                    yield from map(reader.read_row_group, range(reader.num_row_groups))
            yield as_dropped(rows)

        return write_tables(self.target, name, groups(), DROPPED, self.settings)


def _pairs(gone: pa.Table) -> Iterator[str]:
    """Yield a hash (hex) of image and text for each removed row that has an image."""
    for sha256, text in zip(gone["sha256"].to_pylist(), gone["text"].to_pylist(), strict=True):
        if sha256 is not None:
            yield pair_hash(sha256, text).hex()


def pair_marks(units: Sequence[UnitAnew]) -> Iterator[Tombstone]:
    """Yield a mark of kind `pair` for each removed row that has an image."""
    for one in units:
        yield from (Tombstone("pair", bytes.fromhex(pair)) for pair in one.pairs)


def record_without(record: UnitRecord, anew: UnitAnew | None) -> UnitRecord:
    """Return a unit's record after the removal; with `anew` None, no row of the unit was removed.

    The record gets the stage `remove` in either case.
    """
    removed = anew.removed if anew is not None else 0
    stages = stages_with(record.stages, removed)
    if anew is None:
        return msgspec.structs.replace(record, stages=stages)
    now = [anew.shards.get(one.path, one) for one in record.shards]
    return msgspec.structs.replace(
        record,
        rows_out=record.rows_out - removed,
        dropped=add_counts([record.dropped, {REASON: removed}]),
        stages=stages,
        shards=tuple(one for one in now if one is not None),
        dropped_file=anew.dropped_file,
    )


def stages_with(stages: Sequence[Stage], removed: int) -> tuple[Stage, ...]:
    """Return the stages with `remove` in them, which takes `removed` rows; the stages after it have fewer rows.

    If it is not there yet, it is put before the stage `across`, or last if there is none.
    """
    known = [stage.name for stage in stages]
    at = known.index(STAGE) if STAGE in known else -1
    if at < 0:
        at = known.index("across") if "across" in known else len(known)
        rows = stages[at].rows_in if at < len(stages) else (stages[-1].rows_out if stages else 0)
        stages = [*stages[:at], Stage(STAGE, rows, rows, 0.0), *stages[at:]]
    first = msgspec.structs.replace(stages[at], rows_out=stages[at].rows_out - removed)
    behind = [
        msgspec.structs.replace(one, rows_in=one.rows_in - removed, rows_out=one.rows_out - removed)
        for one in stages[at + 1 :]
    ]
    return (*stages[:at], first, *behind)
