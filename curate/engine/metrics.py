"""A file of metrics in Prometheus' text format, for node_exporter's textfile collector or anything else that reads it.

Counters count what this process saw; they begin at 0 when a run goes on after a stop.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger("curate")

EVERY_S = 10.0  # between two versions of the file

HELP = {
    "rows": "Rows that were read and judged.",
    "scanned": "Rows that were read for rules across the run, or for packing.",
    "images": "Images that were fetched or found missing.",
    "bytes": "Bytes of images that were kept, or of packs.",
}


class Seen(NamedTuple):
    """What is known of a run so far."""

    counts: Mapping[str, int]  # by the names in HELP
    read: int  # rows of the units that are finished
    kept: int  # of them
    dropped: Mapping[str, int]  # by reason
    step: str
    done: int  # units or parts of the step
    total: int


class MetricsFile:
    """Writes the file, now and then and at the end; a file that cannot be written ends nothing."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._written = 0.0
        self._begun = time.time()

    def write(self, seen: Seen, finished: bool = False) -> None:
        """Write what is seen, unless that was done lately."""
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
    """The file's content."""
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
