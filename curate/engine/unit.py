"""The stages of one unit: source → clean → rules → fetch → decode → rules → staged shard.

There are three steps: reading yields tables of rows; getting the images yields one table, and the result for each
image; finishing judges that table and writes it. Cheap rules come before costly stages, which skip dropped rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import filters
from curate import tasks
from curate.engine import dialogue_images
from curate.engine.acquire import Acquirer
from curate.engine.across import SPILL, spill_rows
from curate.engine.evaluation_copies import STAGE as STAGE_OF_COPIES
from curate.engine.evaluation_copies import EvaluationCopies
from curate.engine.flagging import Flagging
from curate.engine.grown import staging_of
from curate.engine.listed_images import STAGE as STAGE_OF_LISTS
from curate.engine.listed_images import ListedImages, whole_prints
from curate.engine.output import Fallen
from curate.engine.plan import Run, Unit, row_rules
from curate.engine.record import Meter, Stage, UnitRecord, count_reasons
from curate.engine.records import DONE, STAGED
from curate.engine.score import TAKEN, Scoring, Windows
from curate.engine.similar import keep_fingerprints
from curate.engine.spool import Spool
from curate.engine.staged_pairs import with_redirects
from curate.engine.stopwatch import Stopwatch
from curate.engine.tombstones import REASON, STAGE, Tombstones, read_tombstones
from curate.engine.unit_images import Outcomes, UnitImages
from curate.engine.unit_rows import UnitReader
from curate.fetch.exchange import Exchange
from curate.images.region_scaling import ON_ITS_SIDE, fit
from curate.marking import SCORE, SIZE, alive, drop, judge, scatter
from curate.schema import SAMPLE, set_column
from curate.storage.filesystems import scheme
from curate.storage.store import Store
from curate.tasks.formats import CONVERSATION

JUDGED_BY_CHILDREN = ("image_too_small", "image_too_elongated")  # see `curate.images.protocol.child_settings`
STAGES = (
    "read", "render", "rules", "seen", "fetch", "decode", "listed", "copies", "size", "score", "tasks", "write",
    "across",
)  # fmt: skip

STAGES_LESS = (*STAGES[:-1], STAGE, STAGES[-1])  # of a run whose folder has tombstones


@dataclass
class Work:
    """One unit that has begun and is not finished."""

    unit: Unit
    spool: Spool
    windows: Windows
    watch: Stopwatch = field(default_factory=Stopwatch)
    table: pa.Table = field(default_factory=SAMPLE.empty_table)  # its rows as judged so far, without images
    held: ExitStack = field(default_factory=ExitStack)  # what is closed when it is finished


class Pipeline:
    """The stages of one run, with the inputs, connections and processes that they hold open."""

    def __init__(
        self,
        run: Run,
        store: Store,
        meter: Meter,
        children: int,
        scorers: Sequence[Any] = (),
        exchange: Exchange | None = None,
    ) -> None:
        self.run, self.manifest, self.meter = run, run.manifest, meter
        self.staging = staging_of(run, store)
        self.tombstones = Tombstones(read_tombstones(store)) if run.removed else None
        self.listed = ListedImages(run.manifest)
        by_removed = self.tombstones is not None and self.tombstones.by_fingerprint
        fingerprints = self.listed.by_fingerprint or by_removed
        self.acquirer = Acquirer(run.manifest, children, exchange, fingerprints)
        self.copies = EvaluationCopies(run.manifest)
        stages = STAGES if self.tombstones is None else STAGES_LESS
        is_on = {STAGE_OF_COPIES: self.copies.is_on, STAGE_OF_LISTS: self.listed.is_on}
        self._stages = [name for name in stages if is_on.get(name, True)]
        self.scoring = Scoring(run.manifest.scorer, children, scorers) if run.manifest.scorer else None
        self.flagging = Flagging(run.manifest, children)
        self._rules = row_rules(run.manifest)
        self._score_rules = {n: s for n, s in self._rules.items() if SCORE in filters.find_rule(n, s).columns}
        self._size_rules = {
            n: s for n, s in self._rules.items() if SIZE & set(filters.find_rule(n, s).columns)
        }
        self._later_size_rules = {n: s for n, s in self._size_rules.items() if n not in JUDGED_BY_CHILDREN}
        self.reader = UnitReader(run, children)

    def close(self) -> None:
        """End child processes and connections."""
        self.acquirer.close()
        if self.scoring is not None:
            self.scoring.close()
        self.flagging.close()
        self.reader.close()

    def scan(self, unit: Unit, by_key: bool = False) -> pa.Table:
        """Return what the rules across the run compare of a unit before anything is fetched (rows of SPILL).

        A row's image is identified by the row's key with `by_key`, else by its URL or path.
        """
        first, parts = 0, [SPILL.empty_table()]
        for table in self.reader.samples(unit, Stopwatch()):
            rows = pc.indices_nonzero(alive(table))
            living = table.take(rows)
            image = living["key"] if by_key else pc.coalesce(living["url"], living["image_path"])
            parts.append(
                spill_rows(
                    image.combine_chunks(), living["text"].combine_chunks(), unit.number, pc.add(rows, first)
                )
            )
            first += table.num_rows
        self.meter.add(scanned=first)
        return pa.concat_tables(parts)

    def begin(self, unit: Unit, seen: Fallen) -> Work:
        """Read a unit, and fetch and decode its images. One unit must have returned before the next one begins.

        `seen` has the rows that rules across the run drop before fetching.
        """
        with ExitStack() as held:
            spool = held.enter_context(Spool())
            work = Work(unit, spool, held.enter_context(Windows(self.scoring, spool)))
            images = UnitImages(
                self.manifest, self.acquirer, self.listed, spool, work.windows, self._beside(unit)
            )
            with work.watch.stage("decode"):
                table, outcomes = images.get(self._read(work, seen), self.meter)
            work.table = self._settle(table, outcomes, work)
            work.held = held.pop_all()
        return work

    def finish(self, work: Work) -> UnitRecord:
        """Judge a unit that has begun, stage its files and write its record; return the record."""
        with work.held:
            with work.watch.stage("size"):
                table = self._judge_sizes(work.table, work.spool)
            with work.watch.stage("score"):
                table = self._score(table, work)
            with work.watch.stage("tasks"):
                table = _drop_at_fault(table)
            with work.watch.stage(STAGE):
                table = self._drop_removed_contents(table, work.spool)
            with work.watch.stage("write"):
                dropped_file = self.staging.write_dropped(work.unit.number, table)
                shards = self.staging.write(work.unit.number, table, work.spool)
                if self.run.similar is not None:
                    self._keep_fingerprints(table, work)
        record = UnitRecord(
            unit=work.unit.number,
            inputs_in=self._inputs(work, table),
            rows_in=table.num_rows,
            rows_out=sum(shard.rows for shard in shards),
            dropped=count_reasons(table["dropped"]),
            stages=tuple(_stages(table, work.watch, self._stages)),
            shards=tuple(shards),
            dropped_file=dropped_file,
        )
        self.staging.keep(record, STAGED if self.run.judges_staged else DONE)
        self.meter.add(kept=record.rows_out, bytes=sum(shard.bytes for shard in shards))
        return record

    def _read(self, work: Work, seen: Fallen) -> Iterator[pa.Table]:
        """Yield the unit's rows, cleaned and judged by all rules that need no image."""
        first = 0
        for table in self.reader.samples(work.unit, work.watch):
            rows = range(first, first + table.num_rows)
            first += table.num_rows
            if seen:
                table = drop(table, pa.array(map(seen.get, rows), pa.string(), size=len(rows)), "seen")
            yield self._drop_removed_names(table)

    def _drop_removed_names(self, table: pa.Table) -> pa.Table:
        """Drop rows whose key or URL has a tombstone, before anything is fetched for them."""
        if self.tombstones is None:
            return table
        named = self.tombstones.named(table["key"], table["url"])
        return drop(table, pc.if_else(named, REASON, pa.scalar(None, pa.string())), STAGE)

    def _drop_removed_contents(self, table: pa.Table, spool: Spool) -> pa.Table:
        """Drop rows whose image, or whose image with its text, has a tombstone."""
        if self.tombstones is None or not self.tombstones.by_content:
            return table
        places = pc.indices_nonzero(alive(table))
        reasons: list[str | None] = []
        for start in range(0, len(places), TAKEN):
            some = table.take(places.slice(start, TAKEN))
            images = dialogue_images.hashes(some, places.slice(start, TAKEN).to_numpy(), spool)
            for hashes, text in zip(images, some["text"].to_pylist(), strict=True):
                removed = any(True for one in hashes for _ in self.tombstones.of_content(one, text))
                reasons.append(REASON if removed else None)
        return drop(table, scatter(pa.array(reasons, pa.string()), places, table.num_rows), STAGE)

    def _beside(self, unit: Unit) -> Path | None:
        """Return the folder of the unit's input, where paths of dialogues' images are looked up; None if not local."""
        uri = self.run.plan.inputs[unit.input].uri
        return Path(uri.removeprefix("file://")).parent if scheme(uri) == "file" else None

    def _settle(self, table: pa.Table, outcomes: Outcomes, work: Work) -> pa.Table:
        """Return the unit's table with the results for its images filled in."""
        if self.manifest.task == CONVERSATION:
            return dialogue_images.settle(table, outcomes, self._size_rules, self._drop_known)
        if not outcomes:
            return table
        rows = pa.array(list(outcomes), pa.int64())

        def column(name: str, kind: pa.DataType) -> pa.Array:
            values = pa.array([getattr(one, name) for one in outcomes.values()], kind)
            return scatter(values, rows, table.num_rows)

        published = table.select(["width", "height"])
        for name in ("format", "width", "height", "fingerprint"):
            found = column(name, SAMPLE.field(name).type)
            table = set_column(table, name, pc.coalesce(found, table[name]))
        turn = column("turn", pa.int32())
        table = fit(table, published, turn, pc.is_valid(turn))
        table = self._drop_changed(table, published, turn)
        if self.run.across("redirects") is not None:
            extra, ends = table["extra"].combine_chunks(), column("redirected_to", pa.string())
            table = set_column(table, "extra", with_redirects(extra, ends))
        reason, stage, detail = (column(name, pa.string()) for name in ("reason", "stage", "detail"))
        for name in pc.unique(stage.drop_null()).to_pylist():
            table = drop(table, pc.if_else(pc.equal(stage, name), reason, None), name, detail)
        table = self._judge_full_sizes(table, outcomes)
        return self._drop_copies(self.listed.drop(self._drop_removed_prints(table)), work)

    def _keep_fingerprints(self, table: pa.Table, work: Work) -> None:
        """Write the fingerprints of the alive rows for the search for similar images across the run."""
        rows = pc.indices_nonzero(alive(table))
        places = rows.to_numpy()
        parts = (places[at : at + TAKEN] for at in range(0, len(places), TAKEN))
        images = (
            body.as_buffer() if body.is_valid else None for part in parts for body in work.spool.take(part)
        )
        keep_fingerprints(self.staging.store, work.unit.number, table.take(rows), images)

    def _drop_removed_prints(self, table: pa.Table) -> pa.Table:
        """Drop rows whose image is similar to one with a tombstone, by PDQ hash."""
        if self.tombstones is None or not self.tombstones.by_fingerprint:
            return table
        places, prints = whole_prints(table)
        removed = [REASON if mark is not None else None for mark in self.tombstones.of_prints(prints)]
        return drop(table, scatter(pa.array(removed, pa.string()), places, table.num_rows), STAGE)

    def _drop_known(self, images: pa.Table) -> pa.Table:
        """Drop images of dialogues (one row each) that have a tombstone, are on a list, or copy evaluation images."""
        return self.copies.drop(self.listed.drop(self._drop_removed_prints(images)))

    def _drop_copies(self, table: pa.Table, work: Work) -> pa.Table:
        """Drop copies of evaluation images, if the manifest has that rule."""
        if not self.copies.is_on:
            return table

        def image(row: int) -> bytes:
            body: bytes | None = work.spool.take(np.array([row]))[0].as_py()
            return body or b""

        with work.watch.stage(STAGE_OF_COPIES):
            return self.copies.drop_and_show(table, image, self.staging.store, work.unit.number)

    def _inputs(self, work: Work, table: pa.Table) -> int:
        """Return how many inputs the unit's rows came from; if a limit cut documents off, those that have rows."""
        asked = self.reader.inputs(work.unit, table.num_rows)
        if self.manifest.documents.max_rows is None:
            return asked
        named = pc.replace_substring_regex(table["source"], r"#[0-9.]+$", "")
        return min(asked, int(pc.count_distinct(named).as_py()))

    def _drop_changed(self, table: pa.Table, published: pa.Table, turn: pa.Array) -> pa.Table:
        """Drop decoded images whose shape differs from the published one, if the manifest has that rule."""
        settings = self._rules.get("image_changed")
        if settings is None:
            return table
        turned = pc.fill_null(pc.greater_equal(turn, ON_ITS_SIDE), False)
        falls = pc.and_(pc.is_valid(turn), filters.shape.changed(published, table, turned, **settings))
        sides = [
            pc.cast(each[side], pa.string()) for each in (published, table) for side in ("width", "height")
        ]
        detail = pc.binary_join_element_wise(
            "published=", sides[0], "x", sides[1], " found=", sides[2], "x", sides[3], ""
        )
        return drop(table, pc.if_else(falls, "image_changed", None), "size", detail)

    def _score(self, table: pa.Table, work: Work) -> pa.Table:
        """Fill in the scores, flags and heads of the manifest's models, and drop rows by the rules on them."""
        if not pc.any(alive(table), min_count=0).as_py():
            return table
        if self.scoring is not None:
            table = work.windows.fill(table)
            self.staging.scorer = self.scoring.identity()
            table = self._judge_scores(table)
        return self.flagging.flag_and_judge(
            table, self.scoring, lambda rows: work.spool.take(rows).to_pylist()
        )

    def _judge_scores(self, table: pa.Table) -> pa.Table:
        """Drop rows by the rules on scores; a dialogue without images has no score and is not judged."""
        if self.manifest.task != CONVERSATION:
            return judge(table, self._score_rules, "score")
        shows = pc.greater(pc.list_value_length(table["images"]).fill_null(0), 0)
        places = pc.indices_nonzero(pc.and_(alive(table), shows))
        return _merged(table, judge(table.take(places), self._score_rules, "score"), places)

    def _judge_full_sizes(self, table: pa.Table, outcomes: Outcomes) -> pa.Table:
        """Drop rows by the size rules that child processes do not judge, on the images' sizes before any shrinking."""
        if not self._later_size_rules:
            return table
        rows = pa.array(sorted(row for row, one in outcomes.items() if one.full[0]), pa.int64())
        sizes = [outcomes[row].full for row in rows.to_pylist()]
        decoded = table.take(rows)
        for number, name in enumerate(("width", "height")):
            decoded = set_column(decoded, name, pa.array([size[number] for size in sizes], pa.int32()))
        return _merged(table, judge(decoded, self._later_size_rules, "size"), rows)

    def _judge_sizes(self, table: pa.Table, spool: Spool) -> pa.Table:
        """Drop rows whose image the child processes did not decode, because a rule drops its true size.

        The other rows have passed these rules. They are not judged again, as their images may have been shrunk since.
        """
        if self.manifest.task in ("text", CONVERSATION):
            return table
        places = pc.indices_nonzero(alive(table)).to_numpy()
        bare = pa.array(places[np.array(spool.lengths(places)) == 0], pa.int64())
        judged = judge(table.take(bare), self._size_rules, "size")
        judged = drop(judged, pa.repeat("image_missing", judged.num_rows), "decode")
        return _merged(table, judged, bare)


def _drop_at_fault(table: pa.Table) -> pa.Table:
    """Drop alive rows that cannot be written in their task's format."""
    fault = pc.if_else(alive(table), tasks.row_faults(table), None)
    return drop(table, fault, "tasks", tasks.fault_details(table, fault))


def _merged(table: pa.Table, judged: pa.Table, places: pa.Array) -> pa.Table:
    """Return the table with `dropped`, `stage` and `detail` of the rows at `places` taken over from `judged`."""
    for name in ("dropped", "stage", "detail"):
        found = scatter(judged[name], places, table.num_rows)
        table = set_column(table, name, pc.coalesce(table[name], found))
    return table


def _stages(table: pa.Table, watch: Stopwatch, stages: Sequence[str]) -> Iterator[Stage]:
    """Yield how many rows of a finished table entered each stage and left it alive."""
    lost = count_reasons(table["stage"])
    rows = table.num_rows
    for name in stages:
        left = rows - lost.get(name, 0)
        yield Stage(name, rows, left, round(watch.seconds.get(name, 0.0), 3))
        rows = left
