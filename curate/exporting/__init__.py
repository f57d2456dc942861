"""`curate export`: write shards or packs in the file formats that other frameworks read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from curate.engine.kept_results import KeptResults
from curate.engine.nodes import check_nodes_see
from curate.engine.progress import Progress
from curate.engine.records import in_parallel
from curate.errors import InputError, ManifestError, OutputError, nearest
from curate.exporting.album import elsewhere, read_notes, write_moved
from curate.exporting.conversations import Conversations
from curate.exporting.energon import Energon
from curate.exporting.exporter import (
    FOLDER,
    Exported,
    Exporter,
    ExportFormat,
    ExportRun,
    Looked,
    moved_name,
    notes_name,
)
from curate.exporting.mds import Mds
from curate.exporting.training import Training
from curate.exporting.webdataset import WebDataset
from curate.storage.dataset import DataSet, check_columns, find
from curate.storage.finished import held, read_manifest
from curate.storage.goes_on import goes_on
from curate.storage.image_places import REFERENCES
from curate.storage.product_notes import note_product, source_folders
from curate.storage.store import Store
from curate.tasks.dialect import load_with
from curate.tasks.grouping import MAX_TURNS
from curate.version import __version__

PLAN = f"{FOLDER}/plan"
FORMATS: dict[str, Callable[[], ExportFormat]] = {
    "webdataset": WebDataset,
    "energon": Energon,
    "mds": Mds,
    "qwen-vl": Conversations,
}
TRAINING = {  # formats whose texts are written in a dialect: format -> its default dialect
    "qwen3-vl": "qwen3-vl",
    "llava": "llava",
    "ms-swift": str(Path(__file__).with_name("ms-swift.toml")),
    "llama-factory": "qwen3-vl",
}

COLUMNS = {  # that a format needs besides those that all readers of shards need
    "qwen-vl": (),
    "webdataset": ("text",),
    "energon": ("text",),
    "mds": ("dataset", "language", "text"),
    **dict.fromkeys(TRAINING, ("language", "text")),
}


def export(
    source: str,
    to: str,
    out: str,
    dialect: str = "",
    dialect_settings: Sequence[str] = (),
    group: str = "",
    turns: int = MAX_TURNS,
    workers: int | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the shards or packs of the folder `source` to the folder `out` in the format `to`.

    Returns the content of `out`'s `_manifest.json`. If `out` already holds this same export, nothing is written.

    Args:
        source: folder (path or URI) with the shards of a run, or with packs.
        to: a key of FORMATS or TRAINING, such as `webdataset` or `qwen3-vl`.
        out: folder (path or URI) to write.
        dialect: name or file of the dialect; empty: the format's own. Only for the formats in TRAINING.
        dialect_settings: changes to the dialect, each as `KEY=VALUE`.
        group: `image` joins questions, regions and references of one image into one dialogue; empty: no grouping.
        turns: the most questions that such a dialogue has, 1 to 10,000.
        workers: number of worker processes; 0 works in this process. None: one for each core, or this process where
            there is little to do.
        address: address of a Ray cluster; None: this machine alone.
        progress: shows how far the export is; None shows nothing.

    Raises:
        ManifestError: there is no such format, or it takes no dialect or groups.
        InputError: `source` has no shards or packs, or damaged ones.
        OutputError: `out` holds something else.
        MachineError, UnitError, Halted, Stopped: see `curate.errors`; running the same command again goes on.
    """
    form, said = _format(to, dialect, dialect_settings, _turns(to, group, turns))
    said |= {"group": group, "turns": turns} if group else {}
    data = _find(source)
    if form.album and "loss_mask" in data.schema.names:
        raise InputError(f"packs hold tokens: export the shards that they were made of as {to}")
    if "loss_mask" not in data.schema.names:
        check_columns(data, COLUMNS[to])
    store, watch = Store(out), progress or Progress.silent()
    plan = {"kind": "export", "to": to, "digest": data.digest, **said}
    if (done := _done(store, plan)) is not None:
        store.delete_folder("_run")  # still there if that export was killed after it wrote its manifest
        return done
    identity = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    run = ExportRun(
        identity=f"{identity} {out}", out=store.root if store.local else store.uri, data=data, form=form
    )
    options = ["--dialect", dialect] if dialect else []
    options += [word for one in dialect_settings for word in ("--dialect-set", one)]
    origin = {"curate_version": __version__, "made_of": source_folders([source]), "options": options}
    with goes_on(out), store.locked():
        _begin(store, identity)
        if address is not None:
            check_nodes_see(address, [file.uri for file in data.files], store)
        with watch.live():
            manifest = plan | origin | _export(run, store, watch, workers, address)
        store.write_bytes("_manifest.json", json.dumps(manifest, indent=1).encode())
    store.delete_folder("_run")
    note_product(manifest["made_of"], out)
    return manifest


def _format(
    to: str, dialect: str, dialect_settings: Sequence[str], turns: int
) -> tuple[ExportFormat, dict[str, Any]]:
    """Return the format `to`, and the manifest's entries about its dialect (empty for a format without one).

    Raises:
        ManifestError: there is no such format, or it takes no dialect.
    """
    known = {**FORMATS, **TRAINING}
    if to not in known:
        raise ManifestError(f"cannot export to {to!r}{nearest(to, known)}")
    if to in TRAINING:
        spoken = load_with(dialect or TRAINING[to], dialect_settings)
        told = {"name": spoken.name, "digest": spoken.digest, "boxes_fit_one_setting": spoken.one_setting}
        cost = {name: value for name, value in spoken.describe()["cost"].items() if value}
        return Training(to, spoken, turns), {"dialect": told | {"cost": cost}}
    if dialect or dialect_settings:
        raise ManifestError(
            f"{to} has no dialect: it hands rows over as they are (these have one: {', '.join(TRAINING)})"
        )
    return Conversations(turns) if to == "qwen-vl" else FORMATS[to](), {}


def _export(
    run: ExportRun, store: Store, progress: Progress, workers: int | None, address: str | None
) -> dict[str, Any]:
    """Run the jobs of an export and return the manifest's entries about its rows and files.

    A format with an images folder needs two passes: the first notes the images of all shards, the second writes.
    """
    form, count = run.form, len(run.data.files)
    jobs = KeptResults(run, store, FOLDER, Exporter, progress, workers, address, parts=count)
    try:
        if form.album:
            jobs.all("look", count, Looked)
            notes = in_parallel(lambda number: read_notes(store, notes_name(number)), range(count))
            for number, moved in enumerate(elsewhere(notes)):
                write_moved(store, moved_name(number), moved)
        done = jobs.all("write", count, Exported)
    finally:
        jobs.close()
    files = form.finish(store, run.data, done)
    return {
        "rows_in": run.data.rows,
        "rows_out": sum(one.rows for one in done),
        "dropped": dict(sum((Counter(one.dropped) for one in done), Counter[str]())),
        "files": files,
    }


def _done(store: Store, plan: dict[str, Any]) -> dict[str, Any] | None:
    """Return the manifest of a finished export with the same `plan`; None if the folder has none yet.

    Raises:
        OutputError: the folder holds something else.
    """
    done = read_manifest(store)
    if done is None:
        if store.names() and not store.names("_run") and not store.exists(PLAN):
            raise OutputError(f"{store.uri} is not empty: give another folder")
        return None
    if {name: done.get(name) for name in plan} == plan:
        return done
    held_there = held(store)
    if held_there == "an export":
        raise OutputError(f"{store.uri} holds another export: give another folder")
    raise OutputError(f"{store.uri} holds {held_there}: give the export a folder of its own")


def _begin(store: Store, identity: str) -> None:
    """Write down which export this is, so that a later call with the same `identity` can go on with it.

    Raises:
        OutputError: the folder holds an unfinished export with another identity.
    """
    known = store.read_bytes(PLAN)
    if known is not None and known != identity.encode():
        raise OutputError(
            f"{store.uri} holds another export, which is unfinished: finish it, or give another folder"
        )
    if known is None:
        store.write_bytes(PLAN, identity.encode())


def _turns(to: str, group: str, turns: int) -> int:
    """Return the most questions of a dialogue; 0 if rows are not grouped.

    Raises:
        ManifestError: `group` or `turns` has no valid value, or the format `to` cannot group.
    """
    if not group:
        return 0
    if group != "image":
        raise ManifestError(f"cannot group by {group!r}: give image")
    if to not in (*TRAINING, "qwen-vl"):
        raise ManifestError(
            f"{to} hands rows over as they are, ungrouped: only {', '.join([*TRAINING, 'qwen-vl'])} can group them"
        )
    if not 1 <= turns <= 10_000:
        raise ManifestError(f"a dialogue has from 1 to 10,000 turns, not {turns}")
    return turns


def _find(source: str) -> DataSet:
    """Return the shards in `source`, or its packs if it has no shards.

    Raises:
        InputError: it has neither, or its packs refer to images in other files.
    """
    try:
        return find([source])
    except InputError as error:
        if "no shard-" not in str(error):
            raise
    try:
        packs = find([source], "pack")
    except InputError as error:
        if "no pack-" not in str(error):
            raise
        given = "give a folder of `curate run --out` or `curate pack --out`"
        raise InputError(f"no shard-*.parquet and no pack-*.parquet in {source}: {given}") from None
    if REFERENCES.name in packs.schema.names:
        raise InputError(f"{source} refers to images in shards: export these, or pack with --images embed")
    return packs
