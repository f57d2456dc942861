"""Adapters: functions that turn a published table into the columns of SAMPLE, one for each shape of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa

from curate.adapters.dialogues import dialogues
from curate.adapters.grit import grit
from curate.adapters.mapping import OURS, available
from curate.adapters.pairs import pairs
from curate.adapters.plain_text import text
from curate.adapters.questions import questions
from curate.adapters.regions import regions
from curate.errors import ManifestError, nearest
from curate.manifest.settings import Manifest

Adapter = Callable[[pa.Table, Manifest, str, int], pa.Table]

ADAPTERS: dict[str, Adapter] = {
    "pairs": pairs,
    "questions": questions,
    "regions": regions,
    "grit": grit,
    "text": text,
    "dialogues": dialogues,
}
TASKS: Mapping[str, tuple[str, ...]] = {
    "pairs": ("caption",),
    "questions": ("vqa", "ocr_vqa"),
    "regions": ("referring", "region_caption"),
    "grit": ("grounded_caption", "referring", "region_caption"),
    "text": ("text",),
    "dialogues": ("conversation",),
}
COLUMNS: Mapping[str, tuple[str, ...]] = {  # columns that an adapter reads besides `OURS`, which all read
    "questions": ("question", "answer", "answers", "choices"),
    "regions": ("box", "x", "y", "box_width", "box_height"),
    "grit": ("noun_chunks", "ref_exps"),
    "dialogues": ("messages", "images", "system", "question", "input", "answer", "history"),
}


def adapter(name: str) -> Adapter:
    """Return the built-in adapter `name`: (raw rows, manifest, name of the input, number of the first row) → SAMPLE.

    Raises:
        ManifestError: there is no adapter of that name.
    """
    if name not in ADAPTERS:
        raise ManifestError(f"no adapter {name!r}{nearest(name, ADAPTERS)}")
    return ADAPTERS[name]


def check_task(manifest: Manifest) -> None:
    """Check that the manifest's adapter makes records for the manifest's task, and reads every key of [columns].

    Raises:
        ManifestError: the adapter cannot make this task's records, or does not read a column that [columns] names.
    """
    known = TASKS[manifest.adapter]
    if manifest.task not in known:
        raise ManifestError(
            f"adapter {manifest.adapter!r} has no task {manifest.task!r} (it has: {', '.join(known)})"
        )
    columns = {*OURS, *COLUMNS.get(manifest.adapter, ()), *manifest.key}
    for name in manifest.columns:
        if name not in columns:
            raise ManifestError(
                f"[columns] has no key {name!r}: adapter {manifest.adapter!r} reads no such column"
                f"{nearest(name, columns)}"
            )


__all__ = ["ADAPTERS", "TASKS", "Adapter", "adapter", "available", "check_task"]
