"""`curate explain`: what became of one input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.retry import finished_manifest
from curate.store import Store

KEPT = [
    "key",
    "dataset",
    "task",
    "language",
    "width",
    "height",
    "text",
    "prompt",
    "target",
    "clip_score",
    "url",
    "source",
]


def explain(folder: str, key_or_url: str) -> dict[str, Any]:
    """Where the input with that key or URL ended: `kept`, `dropped`, or `unknown`, with what decided.

    Raises:
        InputError: the folder holds no complete run.
    """
    manifest, store = finished_manifest(folder), Store(folder)
    for shard in manifest["shards"]:
        for found in _find(store, shard["path"], key_or_url, KEPT):
            return {"fate": "kept", "shard": shard["path"], **found}
    for name in store.names("_dropped"):
        for found in _find(store, f"_dropped/{name}", key_or_url, None):
            settings = manifest["manifest"]["rules"].get(found["reason"])
            return {"fate": "dropped", **found, **({"settings": settings} if settings else {})}
    return {"fate": "unknown", "why": _why_unknown(manifest)}


def _find(store: Store, name: str, key_or_url: str, columns: Sequence[str] | None) -> list[dict[str, Any]]:
    """The rows of a file with that key or URL, each with its place in the file."""
    with store.fs.open_input_file(store.path(name)) as file:
        reader = pq.ParquetFile(file)
        first = 0
        for group in range(reader.num_row_groups):
            names = reader.read_row_group(group, columns=["key", "url"])
            hit = pc.or_kleene(pc.equal(names["key"], key_or_url), pc.equal(names["url"], key_or_url))
            rows = pc.indices_nonzero(hit.fill_null(False))
            if len(rows):
                table = reader.read_row_group(group, columns=columns).take(rows[:1])
                return [{"row": first + rows[0].as_py()} | row for row in _plain(table)]
            first += names.num_rows
    return []


def _plain(table: pa.Table) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


def _why_unknown(manifest: dict[str, Any]) -> str:
    share, sample = manifest["manifest"]["drops"]["sample"], manifest["request"]["sample"]
    why = ["no row of this run's input has that key or URL"]
    if share < 1:
        why.append(f"or a rule dropped it and it is not among the {share:g} of drops that are written down")
    if sample < 1 or manifest["request"]["limit"]:
        why.append("or --limit or --sample left it out")
    return "; ".join(why)
