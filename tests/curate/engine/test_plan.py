from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.engine.plan import Plan, Unit
from curate.engine.run_steps import unit_jobs


def listed(rows: list[int], unit_rows: int) -> list[Unit]:
    """All units one after the other, as arithmetic must have them."""
    units: list[Unit] = []
    for index, count in enumerate(rows):
        for start in range(0, count, unit_rows):
            units.append(Unit(len(units), index, start, min(start + unit_rows, count)))
    return units


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 12))
def test_units_are_cut_input_by_input_and_numbered_in_source_order(rows: list[int], unit_rows: int) -> None:
    plan = Plan((), tuple(rows), unit_rows)
    assert [plan.unit(number) for number in range(plan.units)] == listed(rows, unit_rows)


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(200_000, 600_000))
def test_slices_hold_every_unit_once(rows: list[int], unit_rows: int) -> None:
    plan = Plan((), tuple(count * 100_000 for count in rows), unit_rows)
    assert [unit for number in range(plan.slices) for unit in plan.slice(number)] == list(range(plan.units))


def test_a_plan_travels_without_what_it_has_worked_out() -> None:
    plan = Plan((), (7, 0, 5), 3)
    assert plan.units == 5
    assert msgspec.json.decode(msgspec.json.encode(plan)) == {"inputs": [], "rows": [7, 0, 5], "unit_rows": 3}


def test_a_job_holds_neighbours_also_of_several_inputs() -> None:
    plan = Plan((), (100, 100), 1)
    numbers = np.array([0, 1, 2, *range(50, 200)])
    jobs = list(unit_jobs("stage", numbers, workers=5))
    assert [n for job in jobs for n in job.numbers] == numbers.tolist()
    assert max(len(job.numbers) for job in jobs) == 7
    assert any(len({plan.input_of(n) for n in job.numbers}) > 1 for job in jobs)
    for job in jobs:
        assert job.numbers == tuple(range(job.numbers[0], job.numbers[-1] + 1))


def test_without_ray_a_job_says_how_far_its_units_neighbours_go() -> None:
    jobs = list(unit_jobs("stage", np.array([0, 1, 2, 5, 6, 9]), workers=0))
    assert [(job.numbers, job.stop) for job in jobs] == [
        ((0,), 3), ((1,), 3), ((2,), 3), ((5,), 7), ((6,), 7), ((9,), 10)
    ]  # fmt: skip
    assert not list(unit_jobs("stage", np.array([], int), workers=0))
