"""What a person sees of a run, on standard error: a live view on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from curate.record import UnitRecord, add_counts
from curate.worker import Job

LINE_EVERY_S = 10.0
TOP_REASONS = 10

PHASES = {
    "stage": "curating",
    "judge_near": "comparing features",
    "publish": "publishing",
    "scan keys": "reading ids",
    "scan seen": "reading texts",
    "scan bytes": "reading hashes",
    "keys": "comparing ids",
    "seen": "comparing texts",
    "bytes": "comparing images",
}


class Progress:
    """A meter that shows what it is told; with `quiet`, only warnings and errors are seen."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        self._counts: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._begun = self._lined = time.monotonic()
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("units"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=console,
        )

    @contextmanager
    def live(self) -> Iterator[None]:
        """While this lasts, a terminal shows the live view."""
        if self._quiet or not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=self._view, console=self._console, refresh_per_second=4, transient=True):
            yield

    @contextmanager
    def jobs(self, jobs: Sequence[Job]) -> Iterator[None]:
        """A step of the run begins and ends: these jobs, which are of one kind."""
        if not jobs:
            yield
            return
        said = PHASES.get(f"{jobs[0].kind} {jobs[0].phase}".strip()) or PHASES[jobs[0].phase]
        self._task = self._bars.add_task(said, total=sum(len(job.numbers) for job in jobs))
        try:
            yield
        finally:
            self._bars.remove_task(self._task)

    def say(self, line: str) -> None:
        """One line for a person."""
        if not self._quiet:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def add(self, **counts: int) -> None:
        """See `curate.record.Meter`."""
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count
        if not self._console.is_terminal and time.monotonic() - self._lined > LINE_EVERY_S:
            self._lined = time.monotonic()
            self.say(self._line())

    def done(self, job: Job, records: list[UnitRecord]) -> None:
        """A job is finished."""
        self._bars.advance(self._task, len(job.numbers))
        if job.kind == "stage":
            self._dropped = add_counts([self._dropped, *(record.dropped for record in records)])

    def _view(self) -> RenderableType:
        reasons = Table.grid(padding=(0, 2))
        for reason, count in list(self._dropped.items())[:TOP_REASONS]:
            reasons.add_row(reason, f"{count:,}")
        return Group(self._bars, Padding(self._line(), (0, 2)), Padding(reasons, (0, 4)))

    def _line(self) -> str:
        seconds = max(time.monotonic() - self._begun, 0.001)
        rows, images, kept = (self._counts.get(name, 0) for name in ("rows", "images", "kept"))
        if not rows:
            return f"{self._counts.get('scanned', 0):,} rows read"
        parts = [f"{rows:,} rows ({rows / seconds:,.0f}/s)", f"{images:,} images ({images / seconds:,.0f}/s)"]
        if kept:
            parts += [f"{kept:,} kept", f"{self._counts.get('bytes', 0) / 1e6:,.1f} MB written"]
        return " · ".join(parts)


def funnel(manifest: dict[str, Any]) -> RenderableType:
    """A finished run as a table: what was read, what fell to what, what is left."""
    rows, kept = manifest["rows_in"], manifest["rows_out"]
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_row("read", f"{rows:,}", "")
    for reason, count in manifest["dropped"].items():
        table.add_row(f"  {reason}", f"-{count:,}", f"{count / max(rows, 1):.1%}")
    table.add_row("kept", f"{kept:,}", f"{kept / max(rows, 1):.1%}", style="bold")
    return table
