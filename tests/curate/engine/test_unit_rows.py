"""Units without images are read and judged together, and are what they are alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.engine.command import request
from curate.engine.plan import Plan, Run, Unit
from curate.engine.stopwatch import Stopwatch
from curate.engine.unit_rows import TOGETHER_UNITS, UnitReader
from curate.engine.worker import Job, Worker
from curate.errors import InputError, UnitError
from curate.manifest import load as manifests
from curate.origins import open_origin
from curate.origins.table_rows import Rows
from tests.curate.runs import pair, write_pairs

TEXTS = [
    "A boat - Stock Photo",
    "no",
    "Лодка",
    "A_boat_in_the_harbour &amp; more",
    "A boat 😀",
    "A plain boat",
]


class Silent:
    """A meter that nobody reads."""

    def add(self, **counts: int) -> None: ...


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Four units of three rows in one input, and one in another; no images."""
    inputs = []
    for name, rows in (("a", 12), ("b", 2)):
        pairs = [pair(n, TEXT=TEXTS[n % len(TEXTS)]) for n in range(rows)]
        for row in pairs:
            del row["image"]
        inputs.append(str(write_pairs(tmp_path / f"{name}.parquet", pairs)))
    asked = request(manifests.load("laion", ["shard.rows=3"]), inputs)
    plan = Plan(asked.inputs, (12, 2), 3)
    return Run(manifest=asked.manifest, out=str(tmp_path / "out"), work=str(tmp_path), plan=plan)


def samples(run: Run, stop: int) -> list[pa.Table]:
    """The samples of each unit, of which those before `stop` are judged together."""
    reader = UnitReader(run, 1)
    reader.stop = stop
    return [
        pa.concat_tables(reader.samples(run.plan.unit(number), Stopwatch()))
        for number in range(run.plan.units)
    ]


def test_units_judged_together_are_what_they_are_alone(run: Run) -> None:
    alone, together = samples(run, 0), samples(run, run.plan.units)
    assert [table.num_rows for table in alone] == [3, 3, 3, 3, 2]
    assert [one.to_pylist() for one in together] == [one.to_pylist() for one in alone]
    assert {"text_too_short", "text_has_other_script", "text_has_emoji"} <= {
        reason for table in alone for reason in table["dropped"].to_pylist()
    }


def many(folder: Path, columns: list[dict[str, Any]]) -> Run:
    """One unit of one row for each of the inputs, whose rows are given."""
    for n, row in enumerate(columns):
        pq.write_table(pa.Table.from_pylist([row]), folder / f"{n:03d}.parquet")
    asked = request(manifests.load("laion"), [str(folder)])
    plan = Plan(asked.inputs, (1,) * len(columns), 10)
    return Run(manifest=asked.manifest, out=str(folder / "out"), work=str(folder), plan=plan)


def rows_of(count: int, **more: Any) -> list[dict[str, Any]]:
    """Rows without an image."""
    rows = [pair(n, TEXT=TEXTS[n % len(TEXTS)], **more) for n in range(count)]
    return [{name: value for name, value in row.items() if name != "image"} for row in rows]


def test_many_small_inputs_are_judged_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = many(tmp_path, rows_of(2 * TOGETHER_UNITS))
    alone, judged = samples(run, 0), UnitReader._judged
    times: list[int] = []

    def counted(self: UnitReader, table: pa.Table, rules: Any) -> pa.Table:
        times.append(table.num_rows)
        return judged(self, table, rules)

    monkeypatch.setattr(UnitReader, "_judged", counted)
    together = samples(run, run.plan.units)
    assert times == [TOGETHER_UNITS, TOGETHER_UNITS]
    assert [one.to_pylist() for one in together] == [one.to_pylist() for one in alone]


def selected(run: Run, stop: int) -> list[tuple[pa.Table, pa.Table]]:
    """The published rows and the samples of each unit, of which those before `stop` are judged together."""
    reader = UnitReader(run, 1)
    reader.stop = stop
    pairs = []
    for unit in map(run.plan.unit, range(run.plan.units)):
        assert reader.schema(unit).names
        rows, samples = zip(*reader.published(unit, Stopwatch()), strict=True)
        assert "text_has_emoji" in reader.rules(unit)
        pairs.append((pa.concat_tables(rows), pa.concat_tables(samples)))
    return pairs


def test_many_small_inputs_of_a_selection_are_opened_once_and_judged_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = many(tmp_path, [*rows_of(TOGETHER_UNITS), *rows_of(3, note="x"), *rows_of(2)])
    alone, judged, opened = selected(run, 0), UnitReader._judged, open_origin
    times: list[int] = []
    inputs: list[str] = []

    def counted(self: UnitReader, table: pa.Table, rules: Any) -> pa.Table:
        times.append(table.num_rows)
        return judged(self, table, rules)

    def noted(found: Any, *more: Any) -> Any:
        inputs.append(found.uri)
        return opened(found, *more)

    monkeypatch.setattr(UnitReader, "_judged", counted)
    monkeypatch.setattr("curate.engine.unit_rows.open_origin", noted)
    together = selected(run, run.plan.units)
    assert times == [TOGETHER_UNITS, 3, 2]
    assert len(inputs) <= run.plan.units + 2  # an input with other columns is opened once to see that
    assert [[side.to_pylist() for side in one] for one in together] == [
        [side.to_pylist() for side in one] for one in alone
    ]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_units_of_a_selection_of_many_rows_are_judged_alone(
    share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = msgspec.structs.replace(many(tmp_path, rows_of(3)), sample=share)
    pq.write_table(pa.Table.from_pylist(rows_of(7)), tmp_path / "001.parquet")
    run = msgspec.structs.replace(run, plan=Plan(run.plan.inputs, (1, 7, 1), 10))
    alone, read = selected(run, 0), Rows.read_published

    def in_twos(self: Rows, start: int, stop: int, lean: bool = False) -> Iterator[tuple[pa.Table, pa.Table]]:
        for rows, samples in read(self, start, stop, lean):
            for first in range(0, rows.num_rows, 2):
                yield rows.slice(first, 2), samples.slice(first, 2)

    monkeypatch.setattr("curate.engine.unit_rows.TOGETHER_ROWS", 2)
    monkeypatch.setattr(Rows, "read_published", in_twos)
    together = selected(run, run.plan.units)
    assert [[side.to_pylist() for side in one] for one in together] == [
        [side.to_pylist() for side in one] for one in alone
    ]


def test_parts_keep_what_their_own_input_says_of_its_columns(tmp_path: Path) -> None:
    run = many(tmp_path, rows_of(3))
    table = pq.read_table(tmp_path / "001.parquet")
    noted = pa.schema([one.with_metadata({"note": "x"}) for one in table.schema])
    pq.write_table(table.cast(noted), tmp_path / "001.parquet")
    reader = UnitReader(run, 1)
    reader.stop = run.plan.units
    units = list(map(run.plan.unit, range(run.plan.units)))
    next(reader.published(units[0], Stopwatch()))
    assert [b"note" in (reader.schema(unit).field(0).metadata or {}) for unit in units] == [
        False,
        True,
        False,
    ]


def test_a_worker_reads_ahead_only_what_it_stages_itself(tmp_path: Path) -> None:
    run = many(tmp_path, rows_of(12))
    worker = Worker(run, Silent(), 1)
    worker.scan(0, "seen")
    worker.do(Job("stage", (0, 1, 2)))
    assert worker.pipeline.reader.stop == 3
    worker.close()


def test_inputs_of_other_columns_or_rules_are_judged_apart(tmp_path: Path) -> None:
    rows = [*rows_of(3), *rows_of(2, similarity=0.1), *rows_of(2, note="x"), *rows_of(2)]
    run = many(tmp_path, rows)
    alone, together = samples(run, 0), samples(run, run.plan.units)
    assert [one.to_pylist() for one in together] == [one.to_pylist() for one in alone]
    assert [one["dropped"][0].as_py() for one in together][3:5] == ["clip_score_too_low"] * 2


def test_an_input_that_cannot_be_opened_costs_itself_alone(tmp_path: Path) -> None:
    run = many(tmp_path, rows_of(4))
    (tmp_path / "002.parquet").write_bytes(b"PAR1 no more PAR1")
    reader = UnitReader(run, 1)
    reader.stop = run.plan.units
    for number in (0, 1, 3):
        (table,) = reader.samples(run.plan.unit(number), Stopwatch())
        assert table.num_rows == 1
    with pytest.raises(InputError, match=r"002\.parquet"):
        next(reader.samples(run.plan.unit(2), Stopwatch()))


def test_a_unit_that_cannot_be_read_costs_itself_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = UnitReader._tables

    def broken(self: UnitReader, unit: Unit) -> Iterator[pa.Table]:
        if unit.number == 2:
            raise UnitError("gone")
        return tables(self, unit)

    monkeypatch.setattr(UnitReader, "_tables", broken)
    reader = UnitReader(run, 1)
    reader.stop = run.plan.units
    rows = {}
    for number in (0, 1, 3, 4):
        rows[number] = sum(table.num_rows for table in reader.samples(run.plan.unit(number), Stopwatch()))
    assert rows == {0: 3, 1: 3, 3: 3, 4: 2}
    with pytest.raises(UnitError, match="gone"):
        next(reader.samples(run.plan.unit(2), Stopwatch()))


@pytest.mark.parametrize("inline", [pa.binary(), pa.list_(pa.struct([("bytes", pa.binary())]))])
def test_units_that_come_with_images_are_read_one_by_one(inline: pa.DataType, tmp_path: Path) -> None:
    rows = [{name: value for name, value in pair(n).items() if name != "image"} for n in range(6)]
    table = pa.Table.from_pylist(rows).append_column("picture", pa.nulls(6, inline))
    pq.write_table(table, tmp_path / "in.parquet")
    asked = request(manifests.load("laion", ["shard.rows=3"]), [str(tmp_path / "in.parquet")])
    plan = Plan(asked.inputs, (6,), 3)
    reader = UnitReader(Run(manifest=asked.manifest, out=str(tmp_path), work=str(tmp_path), plan=plan), 1)
    reader.stop = plan.units
    assert sum(table.num_rows for table in reader.samples(plan.unit(0), Stopwatch())) == 3
    assert not reader._ahead
