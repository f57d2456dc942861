"""Units without images are read and judged together, and are what they are alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.engine.command import request
from curate.engine.plan import Plan, Run, Unit
from curate.engine.stopwatch import Stopwatch
from curate.engine.unit_rows import UnitReader
from curate.errors import UnitError
from curate.manifest import load as manifests
from tests.curate.runs import pair, write_pairs

TEXTS = [
    "A boat - Stock Photo",
    "no",
    "Лодка",
    "A_boat_in_the_harbour &amp; more",
    "A boat 😀",
    "A plain boat",
]


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
