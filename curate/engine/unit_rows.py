"""Reading a unit: its rows, clean and judged by all that needs no image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import filters
from curate.engine import dialogue_images
from curate.engine.plan import Plan, Run, Unit, row_rules
from curate.engine.stopwatch import Stopwatch
from curate.errors import CurateError, InputError, UnitError
from curate.marking import SCORE, SIZE, clean_and_judge, share_below
from curate.origins import Origin, open_origin
from curate.origins.lost_rows import UnreadableInput
from curate.origins.table_rows import Rows
from curate.schema import SAMPLE, set_column
from curate.storage.selected import holds_bytes
from curate.storage.shards import read_columns, unit_of
from curate.storage.store import Store
from curate.tasks.formats import CONVERSATION

TOGETHER_ROWS = (
    2**18
)  # that are cleaned and judged together: each search costs as much again for a small table
TOGETHER_BYTES = 64 * 2**20

Pair = tuple[pa.Table, pa.Table]  # rows as they were published, and the samples that they give


class UnitReader:
    """Reads the units of one run; it holds one input open, as units come in source order."""

    def __init__(self, run: Run, children: int) -> None:
        self._run, self._manifest, self._children = run, run.manifest, children
        self._rules = row_rules(run.manifest)
        self._origin: tuple[int, Origin] | None = None
        self._ahead: dict[int, pa.Table] = {}  # units that were read with the one before them
        self.stop = 0  # the unit before which others are asked for next, in order

    def close(self) -> None:
        """Let go of the input."""
        if self._origin is not None:
            self._origin[1].close()

    def samples(self, unit: Unit, watch: Stopwatch) -> Iterator[pa.Table]:
        """The unit's samples, clean and judged; images still in their column.

        Units without images are judged together with those behind them, as far as these are asked for next.
        """
        if unit.number not in self._ahead and self._has_images(unit):
            tables = self._tables(unit)
            while (table := _timed(tables, watch)) is not None:
                with watch.stage("rules"):
                    yield self._judged(table, unit)
            return
        if unit.number not in self._ahead:
            with watch.stage("read"):
                units = list(self._neighbours(unit))
            with watch.stage("rules"):
                self._ahead = dict(self._judged_together(units))
        yield self._ahead.pop(unit.number)

    def _tables(self, unit: Unit) -> Iterator[pa.Table]:
        """The unit's samples that the command line asked for."""
        for table in self._open(unit.input).read(unit.start, unit.stop):
            chosen = self._chosen(table, unit)
            yield table if chosen is None else table.filter(chosen)

    def _has_images(self, unit: Unit) -> bool:
        """Whether samples come with their images, so that a unit is more than is held at once."""
        origin = self._open(unit.input)
        return not isinstance(origin, Rows) or any(holds_bytes(column.type) for column in origin.schema)

    def _neighbours(self, unit: Unit) -> Iterator[tuple[Unit, pa.Table]]:
        """The unit's samples, and those of the units behind it that are judged with it."""
        rows = size = 0
        for number in range(unit.number, max(unit.number + 1, self.stop)):
            each = self._run.plan.unit(number)
            if each.input != unit.input or rows >= TOGETHER_ROWS or size >= TOGETHER_BYTES:
                return
            try:
                table = _concatenated(self._tables(each))
            except CurateError:
                if number == unit.number:
                    raise
                return  # in its turn it says so
            rows, size = rows + table.num_rows, size + table.nbytes
            yield each, table

    def _judged_together(self, units: Sequence[tuple[Unit, pa.Table]]) -> Iterator[tuple[int, pa.Table]]:
        """The units' samples, clean and judged."""
        first = 0
        joined = _concatenated(table for _, table in units).combine_chunks()
        judged = self._judged(joined, units[0][0])
        for unit, table in units:
            yield unit.number, judged.slice(first, table.num_rows)
            first += table.num_rows

    def published(self, unit: Unit, watch: Stopwatch) -> Iterator[Pair]:
        """The unit's rows as they were published, and their samples, clean and judged, without images."""
        pairs = together(self._rows(unit).read_published(unit.start, unit.stop, lean=True))
        while (pair := _timed(pairs, watch)) is not None:
            rows, samples = pair
            with watch.stage("rules"):
                if (chosen := self._chosen(samples, unit)) is not None:
                    rows, samples = rows.filter(chosen), samples.filter(chosen)
                yield rows, self._judged(samples, unit)

    def schema(self, unit: Unit) -> pa.Schema:
        """The columns of the unit's rows, as they were published."""
        return self._rows(unit).schema

    def rules(self, unit: Unit) -> dict[str, dict[str, Any]]:
        """The rules by which the unit's rows are judged."""
        origin = self._open(unit.input)
        settled = () if self._run.select else origin.settled
        rules = {n: of for n, of in self._rules.items() if origin.judges(n) and n not in settled}
        if self._manifest.scorer is not None:  # the scores that count are its own
            rules = {n: of for n, of in rules.items() if SCORE not in filters.find_rule(n, of).columns}
        return rules

    def inputs(self, unit: Unit, rows: int) -> int:
        """How many inputs the unit's rows came from: of documents and seeds, those that were asked for."""
        picked = self._run.sample < 1 or self._run.retry is not None
        return rows if picked else unit.stop - unit.start

    def _judged(self, table: pa.Table, unit: Unit) -> pa.Table:
        rules = self.rules(unit)
        of_turns = {name: rules[name] for name in rules if self._is_of_turns(name)}
        whole = {name: settings for name, settings in rules.items() if name not in of_turns}
        return dialogue_images.judge_turns(
            clean_and_judge(table, self._manifest, whole, pending=SIZE), of_turns
        )

    def _is_of_turns(self, name: str) -> bool:
        """Whether a rule judges the text of each turn of a dialogue."""
        talks = self._manifest.task == CONVERSATION
        return talks and name in filters.RULES and set(filters.RULES[name].columns) == {"text"}

    def _chosen(self, table: pa.Table, unit: Unit) -> pa.Array | None:
        """True for the rows that the command line asked for (N rows); None for all."""
        chosen = None
        if self._run.sample < 1:
            chosen = share_below(table["key"], self._run.sample, at=0)
        if self._run.retry is not None:
            failed = pc.is_in(table["key"], self._failed(unit))
            chosen = failed if chosen is None else pc.and_(chosen, failed)
        return chosen

    def _failed(self, unit: Unit) -> pa.Array:
        """The keys of this unit's rows that are to be tried again."""
        assert self._run.retry is not None
        earlier, keys = Store(self._run.retry.run), [pa.array([], pa.string())]
        for name in self._files_of_dropped.get(unit.number, ()):
            table = read_columns(earlier, name, ["key", "reason"])
            wanted = pc.is_in(table["reason"].cast(pa.string()), pa.array(self._run.retry.reasons))
            keys += table["key"].filter(wanted).chunks
        return pa.concat_arrays(keys)

    @cached_property
    def _files_of_dropped(self) -> dict[int, list[str]]:
        """The earlier run's files of dropped rows, by unit: its own, and what `curate score` dropped."""
        assert self._run.retry is not None
        found: dict[int, list[str]] = {}
        for name in Store(self._run.retry.run).names("_dropped"):
            if (unit := unit_of(name)) is not None:
                found.setdefault(unit, []).append(f"_dropped/{name}")
        return found

    def _rows(self, unit: Unit) -> Rows | UnreadableInput:
        """The unit's input, a table or an unreadable one.

        Raises:
            InputError: it is none.
        """
        origin = self._open(unit.input)
        if not isinstance(origin, Rows | UnreadableInput):
            raise InputError(f"{self._run.plan.inputs[unit.input].uri} is no table")
        return origin

    def _open(self, number: int) -> Origin:
        if self._origin is None or self._origin[0] != number:
            if self._origin is not None:
                self._origin[1].close()
            found = self._run.plan.inputs[number]
            self._origin = (number, open_origin(found, self._manifest, Path(self._run.work), self._children))
            _check_planned(self._origin[1], self._run.plan, number)
        return self._origin[1]


def _check_planned(origin: Origin, plan: Plan, number: int) -> None:
    """See that an input is as it was when the run was planned: one that could be read then, or could not.

    Raises:
        UnitError: it is not; of the last input that is taken nothing is known, as a limit may have cut it off.
    """
    planned, is_last = plan.rows[number], not any(plan.rows[number + 1 :])
    if isinstance(origin, UnreadableInput) and planned != origin.size:
        raise UnitError(str(origin.fault))
    if planned == UnreadableInput.size < origin.size and not is_last:
        raise UnitError(f"{plan.inputs[number].uri} can be read now, and could not when the run was planned")


def together(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Pairs of tables joined to fewer, larger ones; the samples lose their images."""
    waiting: list[Pair] = []
    rows = size = 0
    for published, samples in pairs:
        waiting.append((published, _without_images(samples)))
        rows, size = rows + published.num_rows, size + published.nbytes
        if rows >= TOGETHER_ROWS or size >= TOGETHER_BYTES:
            yield _joined(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield _joined(waiting)


def _joined(pairs: list[Pair]) -> Pair:
    published, samples = (_concatenated(pair[side] for pair in pairs) for side in (0, 1))
    return published, samples


def _concatenated(tables: Iterable[pa.Table]) -> pa.Table:
    """The tables as one; rows that could not be read have columns without a type."""
    return pa.concat_tables(list(tables), promote_options="default")


def _without_images(samples: pa.Table) -> pa.Table:
    return set_column(samples, "image", pa.nulls(samples.num_rows, SAMPLE.field("image").type))


def _timed(tables: Iterator[Any], watch: Stopwatch) -> Any:
    """The next item, the time for it being that of reading; None at the end."""
    with watch.stage("read"):
        return next(tables, None)
