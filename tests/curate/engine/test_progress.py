from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from curate.engine.progress import Progress, funnel
from curate.engine.record import UnitRecord
from curate.engine.worker import Job


def shown(progress: Progress) -> str:
    """What the live view shows now, on 80 columns."""
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=False).print(progress._view())
    return out.getvalue()


def test_a_view_tells_units_rates_the_kept_share_bytes_and_the_funnel_so_far() -> None:
    progress = Progress(Console(file=io.StringIO(), force_terminal=True))
    jobs = [Job("stage", (0, 1)), Job("stage", (2,))]
    record = UnitRecord(unit=0, inputs_in=10, rows_in=10, rows_out=4, dropped={"timed_out": 1, "http_404": 5})
    with progress.step("stage", "", 3):
        progress.add(rows=20, images=12, kept=8, bytes=3_000_000)
        assert "kept" not in shown(progress)  # no unit is done yet
        progress.done(jobs[0], [record, record])
        view = shown(progress)
    words = " ".join(view.split())  # where a line is broken depends on how fast it ran
    for said in ("2/3 units", "20 rows (", "12 images (", "8 kept (40.0% of 20)", "3.0 MB written"):
        assert said in words
    assert "http_404 -10 50.0%" in words
    assert max(map(len, view.splitlines())) <= 80


def test_rates_stand_still_once_nothing_is_read_any_more() -> None:
    progress = Progress(Console(file=io.StringIO(), force_terminal=True))
    with progress.step("stage", "", 1):
        progress.add(rows=1000)
    before = progress._line()
    with progress.step("publish", "", 1):
        assert progress._line() == before


def test_a_step_of_no_jobs_is_not_shown() -> None:
    progress = Progress(Console(file=io.StringIO(), force_terminal=True))
    with progress.step("stage", "", 0):
        assert "units" not in shown(progress)


def test_the_end_adds_up() -> None:
    out = io.StringIO()
    manifest = {"rows_in": 10, "rows_out": 4, "dropped": {"http_404": 5, "timed_out": 1}}
    Console(file=out, width=80).print(funnel(manifest))
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert lines == [
        ["read", "10"],
        ["http_404", "-5", "50.0%"],
        ["timed_out", "-1", "10.0%"],
        ["kept", "4", "40.0%"],
    ]


def test_a_file_of_metrics_tells_rows_images_bytes_drops_by_reason_and_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATE_METRICS", str(tmp_path / "curate.prom"))
    progress = Progress(Console(file=io.StringIO()))
    record = UnitRecord(unit=0, inputs_in=10, rows_in=10, rows_out=4, dropped={"timed_out": 1, "http_404": 5})
    with progress.live(), progress.step("stage", "", 3):
        progress.add(rows=10, images=9, bytes=3_000_000)
        progress.done(Job("stage", (0,)), [record])
    found = dict(
        line.rsplit(" ", 1)
        for line in (tmp_path / "curate.prom").read_text().splitlines()
        if not line.startswith("#")
    )
    told = {
        "curate_rows_total": "10",
        "curate_images_total": "9",
        "curate_bytes_total": "3000000",
        "curate_rows_kept_total": "4",
        'curate_rows_dropped_total{reason="http_404"}': "5",
        'curate_step_parts{step="stage"}': "3",
        'curate_step_parts_done{step="stage"}': "1",
        "curate_finished": "1",
    }
    assert {name: found.get(name) for name in told} == told


def test_metrics_that_cannot_be_written_end_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_METRICS", str(tmp_path / "nowhere" / "curate.prom"))
    with Progress(Console(file=io.StringIO())).live():
        pass


def test_a_log_for_programs_is_an_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_LOG", "json")
    out = io.StringIO()
    progress = Progress(Console(file=out, width=40))
    progress._lined -= 60
    with progress.live(), progress.step("stage", "", 3):
        progress.add(rows=10, images=9)
    progress.say('done: "all"')
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line.get("event") for line in lines] == ["step", "progress", None]
    assert (lines[1]["rows"], lines[1]["images"], lines[2]["message"]) == (10, 9, 'done: "all"')
