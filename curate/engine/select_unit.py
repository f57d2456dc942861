"""The stages of one unit of a selection: source → clean → rules → part. No image is read and nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.plan import Run, Unit
from curate.engine.record import Meter, Stage, UnitRecord, count_reasons
from curate.engine.records import DONE, STAGED
from curate.engine.select_output import KEPT, SEEN, PartStaging
from curate.engine.stopwatch import Stopwatch
from curate.engine.unit_rows import UnitReader
from curate.marking import alive
from curate.schema import SAMPLE
from curate.storage.selected import KEY_COLUMN, TEXT_COLUMN
from curate.storage.store import Store

STAGES = ("read", "rules", "write", SEEN)
NOTED = (*KEPT.names, "stage", "dropped", "detail")  # columns that are kept in memory for each row of a unit


@dataclass
class UnitNotes:
    """The rows of a unit that were judged so far, without most of their columns."""

    samples: list[pa.Table] = field(default_factory=list)

    def kept(self, published: pa.Table, samples: pa.Table) -> pa.Table:
        """Note N rows, and return the kept ones with their published columns, their keys and their clean texts.

        `published` and `samples` are the same rows, as published and as samples.
        """
        self.samples.append(samples.select(NOTED))
        places = pc.indices_nonzero(alive(samples))
        kept, named = published.take(places), samples.select(["key", "text"]).take(places)
        kept = kept.append_column(KEY_COLUMN, named["key"])
        return kept.append_column(TEXT_COLUMN, named["text"].cast(pa.string()))

    def table(self) -> pa.Table:
        """Return every row that was noted, in order (columns NOTED)."""
        nothing = SAMPLE.empty_table().select(NOTED)
        return pa.concat_tables([nothing, *self.samples])


class Selection:
    """The stages of one run of `curate select`, with the inputs that it holds open."""

    def __init__(self, run: Run, store: Store, meter: Meter, children: int) -> None:
        self.run, self.meter = run, meter
        self.staging = PartStaging(run.manifest, store, run.judges_staged)
        self.reader = UnitReader(run, children)

    def close(self) -> None:
        """Close the inputs."""
        self.reader.close()

    def scan(self, unit: Unit, by_key: bool = False) -> pa.Table:
        """Return what the rules across the run compare of a staged unit (rows of SPILL), see `PartStaging.spilled`."""
        return self.staging.spilled(unit.number, "keys" if by_key else "seen")

    def begin(self, unit: Unit, seen: Mapping[int, str]) -> Unit:
        """Do nothing, and return the unit: it is read in `finish`, while its part is written."""
        return unit

    def finish(self, unit: Unit) -> UnitRecord:
        """Read and judge a unit, stage its files and write its record; return the record."""
        watch, notes = Stopwatch(), UnitNotes()
        with watch.stage("write"):
            schema, rules = self.reader.schema(unit), self.reader.rules(unit)
            kept = (notes.kept(*pair) for pair in self._judged(unit, watch))
            first = next((rows for rows in kept if rows.num_rows), None)
            part = None
            if first is not None:
                part = self.staging.write_part(unit.number, chain([first], kept), schema, rules)
            table = notes.table()
            dropped_file = self.staging.write_dropped(unit.number, table)
            if self.run.judges_staged:
                self.staging.write_kept(unit.number, table.filter(alive(table)).select(KEPT.names))
        record = UnitRecord(
            unit=unit.number,
            inputs_in=self.reader.inputs(unit, table.num_rows),
            rows_in=table.num_rows,
            rows_out=0 if part is None else part.rows,
            dropped=count_reasons(table["dropped"]),
            stages=tuple(_stages(table, watch)),
            shards=() if part is None else (part,),
            dropped_file=dropped_file,
        )
        self.staging.keep(record, STAGED if self.run.judges_staged else DONE)
        self.meter.add(kept=record.rows_out, bytes=sum(one.bytes for one in record.shards))
        return record

    def _judged(self, unit: Unit, watch: Stopwatch) -> Iterator[tuple[pa.Table, pa.Table]]:
        for published, samples in self.reader.published(unit, watch):
            self.meter.add(rows=samples.num_rows)
            yield published, samples


def _stages(table: pa.Table, watch: Stopwatch) -> Iterator[Stage]:
    """Yield how many rows entered each stage of a unit and left it alive, before the rules across the run."""
    lost: dict[str, Any] = count_reasons(table["stage"])
    rows = table.num_rows
    for name in STAGES:
        left = rows - lost.get(name, 0)
        yield Stage(name, rows, left, round(watch.seconds.get(name, 0.0), 3))
        rows = left
