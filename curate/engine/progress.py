"""Show the progress of a run on standard error: a live view on a terminal or in a notebook, else a line at times."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from curate.engine.across import OF_STAGED
from curate.engine.metrics import HELP, MetricsFile, Seen
from curate.engine.record import UnitRecord, add_counts
from curate.engine.worker import Job
from curate.terminal import METRICS, json_line, logs_json, plural

LINE_EVERY_S = 10.0  # without a live view, a line is written at most so often
TOP_REASONS = 10  # reasons in the live view

PHASES = {
    "stage": "curating",
    "similar": "comparing fingerprints",
    "settle similar": "settling which copies stay",
    "scan near": "reading features",
    "arrange near": "finding clusters of features",
    "encode near": "making codes of features",
    "near": "comparing features",
    "settle near": "settling which near duplicates stay",
    "publish": "publishing",
    "scan keys": "reading ids",
    "scan seen": "reading texts",
    "scan bytes": "reading hashes",
    "scan redirects": "reading redirects",
    "keys": "comparing ids",
    "seen": "comparing texts",
    "bytes": "comparing images",
    "redirects": "comparing redirects",
    "count": "counting",
    "spill": "reading samples",
    "lay": "laying sequences",
    "assemble": "writing packs",
    "look": "looking at images",
    "write": "writing samples",
    "score": "scoring",
    "drop": "dropping near duplicates",
}
NOUNS = {
    "count": "slices", "spill": "slices", "lay": "buckets", "assemble": "packs",
    "look": "shards", "write": "shards", "score": "shards", "drop": "shards",
}  # fmt: skip


class Progress:
    """A meter that shows progress on a console and writes the file of metrics, if there is one.

    With `quiet` it shows nothing, except JSON lines if these are asked for.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        shows = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
        self._lives = shows and not logs_json()
        self._metrics = MetricsFile(path) if (path := os.environ.get(METRICS)) else None
        self._step, self._done, self._total = "", 0, 0
        self._counts: dict[str, int] = {}
        self._read = self._kept = 0  # rows of the units that are staged
        self._dropped: dict[str, int] = {}
        self._waiting: list[str] = []  # lines to show before the first other one
        self._begun = self._lined = time.monotonic()  # start of the reading step; time of the last line
        self._ended = 0.0  # when the reading step ended; 0 while it goes on
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[noun]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=console,
        )

    @classmethod
    def silent(cls) -> Progress:
        """Return a `Progress` that shows nothing."""
        return cls(Console(stderr=True), quiet=True)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the live view within this context, on a terminal or in a notebook."""
        self.say_waiting()
        try:
            with self._shown():
                yield
        finally:
            if self._metrics is not None:
                self._metrics.write(self._seen(), finished=True)

    @contextmanager
    def _shown(self) -> Iterator[None]:
        if self._quiet or not self._lives:
            yield
            return
        with Live(get_renderable=self._view, console=self._console, refresh_per_second=4, transient=True):
            yield

    @contextmanager
    def step(self, kind: str, phase: str, numbers: int) -> Iterator[None]:
        """Show one step of the run within this context.

        Args:
            kind: the kind of the step's jobs.
            phase: the phase of the rules across the run; empty for other steps.
            numbers: how many units or other parts all jobs of the step have together.
        """
        if not numbers:
            yield
            return
        said = PHASES.get(f"{kind} {phase}".strip()) or PHASES[phase]
        self._step, self._done, self._total = f"{kind} {phase}".strip(), 0, numbers
        if logs_json():
            self._print(json_line("info", said, event="step", step=self._step, parts=numbers))
        noun = NOUNS.get(kind, "parts" if phase else "units")
        self._task = self._bars.add_task(said, total=numbers, noun=noun)
        later = phase in (*OF_STAGED, "similar")
        reads = kind in ("stage", "spill", "score") or (kind == "scan" and not later and not self._read)
        if reads:
            self._begun, self._ended = time.monotonic(), 0.0
        try:
            yield
        finally:
            self._ended = self._ended or time.monotonic()
            self._bars.remove_task(self._task)

    def say(self, line: str) -> None:
        """Show a line, after the lines of `say_before`."""
        self.say_waiting()
        self._say(line)

    def say_before(self, line: str) -> None:
        """Queue a line that is shown when the work begins, and not if the command is refused before that."""
        self._waiting.append(line)

    def say_waiting(self) -> None:
        """Show the lines of `say_before` now."""
        while self._waiting:
            self._say(self._waiting.pop(0))

    def _say(self, line: str) -> None:
        self._print(json_line("info", line) if logs_json() else line)

    def _print(self, line: str) -> None:
        if not self._quiet or logs_json():
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def add(self, **counts: int) -> None:
        """Count more of something, see `curate.engine.record.Meter`, and show progress if it is time."""
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count
        if not self._lives and time.monotonic() - self._lined > LINE_EVERY_S:
            self._lined = time.monotonic()
            self._print(self._json_line() if logs_json() else self._line())
        if self._metrics is not None:
            self._metrics.write(self._seen())

    def done(self, job: Job, records: list[UnitRecord]) -> None:
        """Note that a job is finished; `records` are those of its units, if it has any."""
        self._bars.advance(self._task, len(job.numbers))
        self._done += len(job.numbers)
        if job.kind == "stage":
            self._read += sum(record.rows_in for record in records)
            self._kept += sum(record.rows_out for record in records)
            self._dropped = add_counts([self._dropped, *(record.dropped for record in records)])

    def _seen(self) -> Seen:
        """Return the present state, for the file of metrics."""
        dropped = dict(self._dropped)
        return Seen(self._counts, self._read, self._kept, dropped, self._step, self._done, self._total)

    def _json_line(self) -> str:
        """Return the present state as a line of JSON."""
        counts = {name: self._counts.get(name, 0) for name in HELP}
        finished = {"rows_finished": self._read, "rows_kept": self._kept, "dropped": self._dropped}
        step = {"step": self._step, "done": self._done, "parts": self._total}
        return json_line("info", self._line(), event="progress", **step, **counts, **finished)

    def _view(self) -> RenderableType:
        shown: list[RenderableType] = [self._bars, Padding(self._line(), (0, 2))]
        if self._read:
            top = dict(list(self._dropped.items())[:TOP_REASONS])
            so_far = {"rows_in": self._read, "rows_out": self._kept, "dropped": top}
            shown.append(Padding(funnel(so_far), (0, 2)))
        return Group(*shown)

    def _line(self) -> str:
        seconds = max((self._ended or time.monotonic()) - self._begun, 0.001)
        rows, images, size = (self._counts.get(name, 0) for name in ("rows", "images", "bytes"))
        if not rows:
            scanned = self._counts.get("scanned", 0)
            return f"{plural(scanned, 'row')} read ({scanned / seconds:,.0f}/s)"
        parts = [
            f"{plural(rows, 'row')} ({rows / seconds:,.0f}/s)",
            f"{plural(images, 'image')} ({images / seconds:,.0f}/s)",
        ]
        if self._read:
            share = f"{self._kept / self._read:.1%} of {self._read:,}"
            parts += [f"{self._kept:,} kept ({share})", f"{size / 1e6:,.1f} MB written"]
        return " · ".join(parts)


def funnel(manifest: dict[str, Any]) -> RenderableType:
    """Return a table for people: rows read, rows dropped for each reason, rows kept.

    `manifest` has `rows_in`, `rows_out` and `dropped`, as `_manifest.json` does.
    """
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
