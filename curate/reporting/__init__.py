"""`curate report`: one HTML file that shows what was kept, what was dropped and why, and where boxes are."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from curate.engine.retry import finished_manifest
from curate.errors import DamagedError
from curate.reporting import card, page
from curate.reporting.failures import failures
from curate.reporting.funnel import shares, steps
from curate.reporting.gallery import cards
from curate.reporting.kept_columns import KeptColumns
from curate.reporting.measures import measures
from curate.reporting.overlaps import overlaps
from curate.reporting.sampling import Kept, read_dropped, read_kept
from curate.reporting.tokens import count_tokens
from curate.storage.filesystems import one_line
from curate.storage.finished import check_complete, listed_files
from curate.storage.store import TMP, Store

NAME = "report.html"
HOSTS = 12


def write(folder: str) -> dict[str, Any]:
    """Write `report.html`, the data card `README.md` and `croissant.json` of a complete run into its folder.

    `folder` is a path or a URL. A selection gets `report.html` alone. The result names the `folder`, the files written
    (`wrote`), those left as they were because a person wrote them (`left`), and the `seconds` it took.

    Raises:
        InputError: the folder holds no complete run.
        DamagedError: a file of it cannot be read.
        OSError: the folder cannot be written to.
    """
    begun = time.monotonic()
    manifest, store = finished_manifest(folder, selections=True), Store(folder)
    is_selection = "kind" in manifest
    files = listed_files(store, manifest)
    check_complete(store, files, "part" if is_selection else "shard")
    manifest = manifest | {"shards": files.select(["path", "rows", "bytes", "sha256"]).to_pylist()}
    try:
        kept = read_kept(store, manifest["shards"], KeptColumns(manifest))
        dropped = read_dropped(store)
        html = build(store, manifest, kept, dropped)
    except (OSError, pa.ArrowException) as error:
        raise DamagedError(
            f"cannot read {folder}: {one_line(error)}; `curate verify` names what is damaged"
        ) from None
    store.write_bytes(NAME, html.encode())
    written: dict[str, list[str]] = {"wrote": [], "left": []}
    if not is_selection:  # a selection holds no training samples: it needs no data card and no croissant.json
        written = card.write(folder, kept.table["language"].unique().drop_null().to_pylist())
    store.delete_folder(TMP)
    return {
        "folder": folder.rstrip("/"),
        "wrote": [NAME, *written["wrote"]],
        "left": written["left"],
        "seconds": round(time.monotonic() - begun, 1),
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines that tell a person what `write` did; `found` is its result."""
    folder = found["folder"]
    yield from (f"wrote {folder}/{name}" for name in found["wrote"])
    yield from (f"left {folder}/{name} as it was: you wrote it" for name in found["left"])
    if "README.md" in (*found["wrote"], *found["left"]):
        yield f"the data is {folder}/shard-*.parquet: give that to readers that would take every file of a folder"


def build(store: Store, manifest: Mapping[str, Any], kept: Kept, dropped: pa.Table) -> str:
    """The report of a complete run as HTML; `manifest` is the whole of its `_manifest.json`.

    Raises:
        OSError, pa.ArrowException: a file of the run cannot be read.
    """
    path = steps(manifest, dropped)
    panels = [
        (title, shares(kept.table[column], HOSTS), _more(kept.table[column]))
        for title, column in (("Languages", "language"), ("Hosts", "host"), ("Tasks", "task"))
    ]
    return page.render(
        manifest,
        path,
        measures(manifest, kept.table, dropped, count_tokens(store, kept)),
        [panel for panel in panels if panel[1] and (panel[0] != "Tasks" or len(panel[1]) > 1)],
        cards(store, manifest, kept, dropped),
        failures(path, dropped),
        _basis(manifest, kept),
        overlaps(store, manifest, dropped),
    )


def _more(values: pa.ChunkedArray) -> str:
    """The note `of N` on N distinct values where a panel does not show all of them; else the empty text."""
    count = len(values.unique().drop_null())
    return f"of {count:,}" if count > HOSTS else ""


def _basis(manifest: Mapping[str, Any], kept: Kept) -> str:
    rows, of = kept.table.num_rows, manifest["rows_out"]
    if rows == of:
        return "Measured on every kept row, and on what the thresholds cut off."
    return (
        f"Measured on {rows:,} of the {of:,} kept rows, spread evenly over the shards; bars stand for the "
        "whole run."
    )
