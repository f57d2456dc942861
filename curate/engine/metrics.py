"""Write a file of metrics in Prometheus' text format, for node_exporter's textfile collector or another reader.

Counters count only what this process has seen: if a run goes on after a stop, they begin at 0 again.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger("curate")

EVERY_S = 10.0  # the file is written at most so often

HELP = {
    "rows": "Rows that were read and judged.",
    "scanned": "Rows that were read for rules across the run, or for packing.",
    "images": "Images that were fetched or found missing.",
    "bytes": "Bytes of shards, parts or packs that were written.",
}


class Seen(NamedTuple):
    """How far a run is."""

    counts: Mapping[str, int]  # by the names in HELP
    read: int  # rows of the units that are finished
    kept: int  # how many of these were kept
    dropped: Mapping[str, int]  # reason → how many of these were dropped
    step: str  # the present step
    done: int  # units or other parts of the step that are finished
    total: int  # units or other parts of the step


class MetricsFile:
    """Writes the file, every EVERY_S seconds and at the end. If that fails, it logs a warning, and the run goes on."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._written = 0.0
        self._begun = time.time()

    def write(self, seen: Seen, finished: bool = False) -> None:
        """Write the file, unless that was done less than EVERY_S seconds ago; always if the run is `finished`."""
        if not finished and time.monotonic() - self._written < EVERY_S:
            return
        self._written = time.monotonic()
        try:
            part = self._path.with_name(f".{self._path.name}.part")
            part.write_text(text(seen, self._begun, finished))
            part.replace(self._path)
        except OSError as error:
            log.warning("cannot write the metrics %s: %s", self._path, error.strerror)


def text(seen: Seen, begun: float, finished: bool) -> str:
    """Return the file's content; `begun` is when this process began, in Unix time."""
    lines: list[str] = []

    def add(name: str, help_text: str, kind: str, values: Mapping[str, float]) -> None:
        lines.extend((f"# HELP curate_{name} {help_text}", f"# TYPE curate_{name} {kind}"))
        lines.extend(f"curate_{name}{labels} {value}" for labels, value in values.items())

    for name, help_text in HELP.items():
        add(f"{name}_total", help_text, "counter", {"": seen.counts.get(name, 0)})
    add("rows_finished_total", "Rows of finished units.", "counter", {"": seen.read})
    add("rows_kept_total", "Rows of finished units that were kept.", "counter", {"": seen.kept})
    dropped = {f'{{reason="{reason}"}}': count for reason, count in sorted(seen.dropped.items())}
    add("rows_dropped_total", "Rows of finished units that were dropped.", "counter", dropped)
    label = f'{{step="{seen.step}"}}'
    add("step_parts", "Units or other parts of the present step.", "gauge", {label: seen.total})
    add("step_parts_done", "Of them, those that are finished.", "gauge", {label: seen.done})
    add("started_seconds", "When this process began, in Unix time.", "gauge", {"": round(begun, 3)})
    add("updated_seconds", "When this file was written.", "gauge", {"": round(time.time(), 3)})
    add("finished", "1 once the command has come to its end.", "gauge", {"": int(finished)})
    add("process_id", "Of the driver.", "gauge", {"": os.getpid()})
    return "\n".join(lines) + "\n"
