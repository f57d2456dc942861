"""Read the rows of a unit, clean their texts, and judge them by the rules that need no image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

import filters
from curate.engine import dialogue_images
from curate.engine.plan import Plan, Run, Unit, row_rules
from curate.engine.stopwatch import Stopwatch
from curate.errors import CurateError, InputError, UnitError
from curate.marking import SCORE, SIZE, Rules, clean_and_judge, share_below
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
)  # about how many rows are cleaned and judged together: each rule has a fixed cost for every table
TOGETHER_BYTES = 64 * 2**20  # about how many bytes of rows are judged together, at most
TOGETHER_UNITS = 512  # how many units are judged together, at most: each table of a few rows takes some 10 KB

Pair = tuple[pa.Table, pa.Table]  # rows as they were published, and the samples made from them
NO_ROWS = pa.table({})  # stands for published rows that nobody needs


class Alike(NamedTuple):
    """Neighbouring units that are judged together."""

    units: range  # their numbers
    schema: pa.Schema  # the published columns of all of them
    rules: dict[str, dict[str, Any]]  # the rules that judge all of them


class UnitReader:
    """Reads the units of one run; it keeps one input open, as units are read in source order."""

    def __init__(self, run: Run, children: int) -> None:
        self._run, self._manifest, self._children = run, run.manifest, children
        self._rules = row_rules(run.manifest)
        self._origin: tuple[int, Origin] | None = None
        self._ahead: dict[int, Pair] = {}  # unit → rows that were read together with an earlier unit
        self._alike: Alike | None = None  # the units that were read together last
        self.stop = 0  # all units before this one will be read next, in order

    def close(self) -> None:
        """Close the input."""
        if self._origin is not None:
            self._origin[1].close()
            self._origin = None

    def samples(self, unit: Unit, watch: Stopwatch) -> Iterator[pa.Table]:
        """Yield the unit's samples, cleaned and judged, with images in their column.

        Units without images are judged together with the units behind them that will be read next (see `stop`), also
        with those of other inputs that have the same columns and rules. So many small inputs cost little each.

        Args:
            unit: the unit.
            watch: measures the stages `read` and `rules`.
        """
        if unit.number not in self._ahead and self._has_images(unit):
            tables = self._tables(unit)
            while (table := _timed(tables, watch)) is not None:
                with watch.stage("rules"):
                    yield self._judged(table, self.rules(unit))
            return
        if unit.number not in self._ahead:
            with watch.stage("read"):
                pair = self._samples_of(unit)
            self._read_ahead(unit, pair, watch, published=False)
        yield self._ahead.pop(unit.number)[1]

    def _tables(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield the unit's samples that `--sample` or the retry chooses."""
        for table in self._open(unit.input).read(unit.start, unit.stop):
            chosen = self._chosen(table, unit)
            yield table if chosen is None else table.filter(chosen)

    def _has_images(self, unit: Unit) -> bool:
        """Return whether the input holds the images, too, so that a whole unit may not fit into memory."""
        origin = self._open(unit.input)
        return not isinstance(origin, Rows) or any(holds_bytes(column.type) for column in origin.schema)

    def _read_ahead(self, unit: Unit, pair: Pair, watch: Stopwatch, published: bool) -> None:
        """Judge the unit's rows together with those of the units behind it, and keep all of them in `_ahead`.

        Args:
            unit: the unit.
            pair: all its rows.
            watch: measures the stages `read` and `rules`.
            published: whether the rows are kept as they were published, too.
        """
        with watch.stage("read"):
            alike = Alike(range(unit.number, unit.number), self.schema(unit), self.rules(unit))
            units = [(unit, pair), *self._neighbours(unit, pair, alike, published)]
            self._alike = alike._replace(units=range(unit.number, units[-1][0].number + 1))
        with watch.stage("rules"):
            self._ahead = dict(self._judged_together(units, alike.rules))

    def _neighbours(
        self, unit: Unit, pair: Pair, alike: Alike, published: bool
    ) -> Iterator[tuple[Unit, Pair]]:
        """Yield the units behind `unit`, whose rows are `pair`, that are judged together with it; see `_read_ahead`."""
        last, rows, size = unit, pair[1].num_rows, _bytes_of(pair)
        for number in range(unit.number + 1, min(self.stop, unit.number + TOGETHER_UNITS)):
            each = self._run.plan.unit(number)
            if _is_full(rows, size):
                return
            try:
                if each.input != last.input and not self._is_alike(each, alike):
                    return
                behind = self._pair(each, published)
            except (CurateError, OSError, pa.ArrowException):
                return  # the error is raised when that unit itself is read
            if behind is None:
                return
            last, rows, size = each, rows + behind[1].num_rows, size + _bytes_of(behind)
            yield each, behind

    def _pair(self, unit: Unit, published: bool) -> Pair | None:
        """Return all rows of the unit, with `published` also as they were published; None for a unit of many rows."""
        if not published:
            return self._samples_of(unit)
        pair = next(self._pairs(unit), None)
        return None if pair is None or _is_full(*_size_of(pair[0])) else self._picked(pair, unit)

    def _samples_of(self, unit: Unit) -> Pair:
        return NO_ROWS, _concatenated(self._tables(unit))

    def _pairs(self, unit: Unit) -> Iterator[Pair]:
        """Yield the unit's rows as they were published, and the samples made from them."""
        return together(self._rows(unit).read_published(unit.start, unit.stop, lean=True))

    def _picked(self, pair: Pair, unit: Unit) -> Pair:
        """Return the rows that `--sample` or the retry chooses."""
        chosen = self._chosen(pair[1], unit)
        return pair if chosen is None else (pair[0].filter(chosen), pair[1].filter(chosen))

    def _is_alike(self, unit: Unit, alike: Alike) -> bool:
        """Return whether the unit's input is a table without images with these columns, judged by these rules."""
        if self._has_images(unit) or self.rules(unit) != alike.rules:
            return False
        return bool(self.schema(unit).equals(alike.schema, check_metadata=True))

    def _judged_together(
        self, units: Sequence[tuple[Unit, Pair]], rules: Rules
    ) -> Iterator[tuple[int, Pair]]:
        """Clean and judge the samples of several units together; yield each unit's number and rows."""
        first = 0
        joined = _concatenated(samples for _, (_, samples) in units).combine_chunks()
        judged = self._judged(joined, rules)
        for unit, (rows, samples) in units:
            yield unit.number, (rows, judged.slice(first, samples.num_rows))
            first += samples.num_rows

    def published(self, unit: Unit, watch: Stopwatch) -> Iterator[Pair]:
        """Yield the unit's rows as they were published, with their samples, cleaned and judged, without images.

        Small units are judged together with those behind them, as in `samples`.

        Raises:
            InputError: the unit's input is no table.
        """
        if unit.number in self._ahead:
            yield self._ahead.pop(unit.number)
            return
        pairs = self._pairs(unit)
        pair = _timed(pairs, watch)
        if pair is not None and not (self._has_images(unit) or _is_full(*_size_of(pair[0]))):
            self._read_ahead(unit, self._picked(pair, unit), watch, published=True)
            yield self._ahead.pop(unit.number)
            return
        while pair is not None:
            with watch.stage("rules"):
                rows, samples = self._picked(pair, unit)
                yield rows, self._judged(samples, self.rules(unit))
            pair = _timed(pairs, watch)

    def schema(self, unit: Unit) -> pa.Schema:
        """Return the published columns of the unit's input."""
        if self._alike is not None and unit.number in self._alike.units:
            return self._alike.schema
        return self._rows(unit).schema

    def rules(self, unit: Unit) -> dict[str, dict[str, Any]]:
        """Return the rules that judge the unit's rows one by one, with their settings.

        Rules are left out for which the input lacks a column, that `curate select` has judged, or that judge a
        published score if the manifest has a scorer of its own.
        """
        if self._alike is not None and unit.number in self._alike.units:
            return self._alike.rules
        origin = self._open(unit.input)
        settled = () if self._run.select else origin.settled
        rules = {n: of for n, of in self._rules.items() if origin.judges(n) and n not in settled}
        if self._manifest.scorer is not None:  # its scores are judged, not the published ones
            rules = {n: of for n, of in rules.items() if SCORE not in filters.find_rule(n, of).columns}
        return rules

    def inputs(self, unit: Unit, rows: int) -> int:
        """Return how many inputs (rows, documents or seeds) the unit has; with `--sample` or a retry, its `rows`."""
        picked = self._run.sample < 1 or self._run.retry is not None
        return rows if picked else unit.stop - unit.start

    def _judged(self, table: pa.Table, rules: Rules) -> pa.Table:
        of_turns = {name: rules[name] for name in rules if self._is_of_turns(name)}
        whole = {name: settings for name, settings in rules.items() if name not in of_turns}
        return dialogue_images.judge_turns(
            clean_and_judge(table, self._manifest, whole, pending=SIZE), of_turns
        )

    def _is_of_turns(self, name: str) -> bool:
        """Return whether a rule judges the text of each turn of a dialogue, and not the whole text."""
        talks = self._manifest.task == CONVERSATION
        return talks and name in filters.RULES and set(filters.RULES[name].columns) == {"text"}

    def _chosen(self, table: pa.Table, unit: Unit) -> pa.Array | None:
        """Return true for the rows that `--sample` and the retry choose (N rows); None if all are chosen."""
        chosen = None
        if self._run.sample < 1:
            chosen = share_below(table["key"], self._run.sample, at=0)
        if self._run.retry is not None:
            failed = pc.is_in(table["key"], self._failed(unit))
            chosen = failed if chosen is None else pc.and_(chosen, failed)
        return chosen

    def _failed(self, unit: Unit) -> pa.Array:
        """Return the keys of this unit's rows that the retry takes."""
        assert self._run.retry is not None
        earlier, keys = Store(self._run.retry.run), [pa.array([], pa.string())]
        for name in self._files_of_dropped.get(unit.number, ()):
            table = read_columns(earlier, name, ["key", "reason"])
            wanted = pc.is_in(table["reason"].cast(pa.string()), pa.array(self._run.retry.reasons))
            keys += table["key"].filter(wanted).chunks
        return pa.concat_arrays(keys)

    @cached_property
    def _files_of_dropped(self) -> dict[int, list[str]]:
        """Unit → the earlier run's files of dropped rows: the run's own, and those that `curate score` wrote."""
        assert self._run.retry is not None
        found: dict[int, list[str]] = {}
        for name in Store(self._run.retry.run).names("_dropped"):
            if (unit := unit_of(name)) is not None:
                found.setdefault(unit, []).append(f"_dropped/{name}")
        return found

    def _rows(self, unit: Unit) -> Rows | UnreadableInput:
        """Return the unit's input, which is a table or cannot be read.

        Raises:
            InputError: it is no table.
        """
        origin = self._open(unit.input)
        if not isinstance(origin, Rows | UnreadableInput):
            raise InputError(f"{self._run.plan.inputs[unit.input].uri} is no table")
        return origin

    def _open(self, number: int) -> Origin:
        if self._origin is None or self._origin[0] != number:
            self.close()
            found = self._run.plan.inputs[number]
            self._origin = (number, open_origin(found, self._manifest, Path(self._run.work), self._children))
            _check_planned(self._origin[1], self._run.plan, number)
        return self._origin[1]


def _check_planned(origin: Origin, plan: Plan, number: int) -> None:
    """Check that an input can be read if, and only if, it could be read when the run was planned.

    The second half cannot be checked for the last input of which rows are taken, as a limit may have cut it off.

    Raises:
        UnitError: the input has changed in that respect.
    """
    planned, is_last = plan.rows[number], not any(plan.rows[number + 1 :])
    if isinstance(origin, UnreadableInput) and planned != origin.size:
        raise UnitError(str(origin.fault))
    if planned == UnreadableInput.size < origin.size and not is_last:
        raise UnitError(f"{plan.inputs[number].uri} can be read now, and could not when the run was planned")


def together(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Join pairs of tables into fewer, larger ones, without the samples' images."""
    waiting: list[Pair] = []
    rows = size = 0
    for published, samples in pairs:
        waiting.append((published, _without_images(samples)))
        rows, size = rows + published.num_rows, size + published.nbytes
        if _is_full(rows, size):
            yield _joined(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield _joined(waiting)


def _is_full(rows: int, size: int) -> bool:
    """Return whether no more rows are joined with so many rows of `size` bytes."""
    return rows >= TOGETHER_ROWS or size >= TOGETHER_BYTES


def _size_of(table: pa.Table) -> tuple[int, int]:
    """Return how many rows and bytes a table has."""
    return table.num_rows, table.nbytes


def _bytes_of(pair: Pair) -> int:
    return int(sum(side.nbytes for side in pair))


def _joined(pairs: list[Pair]) -> Pair:
    published, samples = (_concatenated(pair[side] for pair in pairs) for side in (0, 1))
    return published, samples


def _concatenated(tables: Iterable[pa.Table]) -> pa.Table:
    """Join the tables; columns of rows that could not be read have no type, and take that of the others."""
    return pa.concat_tables(list(tables), promote_options="default")


def _without_images(samples: pa.Table) -> pa.Table:
    return set_column(samples, "image", pa.nulls(samples.num_rows, SAMPLE.field("image").type))


def _timed(tables: Iterator[Any], watch: Stopwatch) -> Any:
    """Return the next item, and count the time for it as reading; None at the end."""
    with watch.stage("read"):
        return next(tables, None)
