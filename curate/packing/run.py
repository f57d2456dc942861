"""`curate pack`: turns shards of several tasks into packed training sequences, globally shuffled.

Any number of processes do three kinds of jobs; after each of the first two, one process decides how to go on:

1. `count`: counts what each slice of the shards holds. Then it is decided how often each sample is seen, and into how
   many buckets the samples are divided.
2. `spill`: writes the samples of each slice, bucket by bucket (`curate.packing.spill`). Then it is decided which
samples
   share a sequence and which sequences a file (`curate.packing.sequence_layout`), from some 40 bytes a sample.
3. `assemble`: writes each pack; its images are read by range from the shards.

The results of jobs are kept in `_run/pack`, so that the same command goes on after a kill. The bytes of the packs
depend on shards and settings only.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from curate.engine.nodes import check_nodes_see
from curate.engine.progress import Progress
from curate.errors import InputError, OutputError
from curate.packing import mix as mixes
from curate.packing.packer import FOLDER, PackRun, Spilled, reasons_of, too_long_of, total
from curate.packing.settings import PackSettings
from curate.packing.steps import PackSteps
from curate.packing.tokenizer import Tokenizer, file_content, load
from curate.packing.write import write_dropped
from curate.storage.dataset import DataSet, check_columns, find
from curate.storage.finished import held
from curate.storage.goes_on import goes_on
from curate.storage.listing import DROPPED_FILES, LISTED, SHARDS, files_table, write_files
from curate.storage.product_notes import absolute, note_product, source_folders
from curate.storage.store import Store
from curate.tasks.dialect import Dialect
from curate.tasks.formats import QWEN_VL
from curate.version import __version__

COLUMNS = {"dataset", "source", "url", "text", "sha256"}  # besides those that all readers of shards need
PLAN = f"{FOLDER}/plan.json"


def pack(
    paths: list[str],
    out: str,
    settings: PackSettings = PackSettings(),  # noqa: B008
    workers: int | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Pack the shards in `paths` into the folder `out`; return the content of its `_manifest.json`.

    If `out` already holds the same packs, nothing is written.

    Args:
        paths: folders (paths or URIs) of finished runs, or shards.
        out: folder (path or URI) to write.
        settings: how samples are packed.
        workers: number of worker processes; 0 works in this process. None: one for each core, or this process where
            there is little to do.
        address: address of a Ray cluster; None: this machine alone.
        progress: shows how far the packing is; None shows nothing.

    Raises:
        ManifestError: a setting or the mix is wrong.
        InputError: there are no shards, they are unfinished or damaged, or the tokenizer cannot be used.
        OutputError: `out` holds other packs and `overwrite` is not set, or it holds something else.
        MachineError, UnitError, Halted, Stopped: see `curate.errors`; running the same command again goes on.
    """
    settings = settings.with_recipe().check()
    dialect, mix = settings.load_dialect(), settings.load_mix()
    data = _found(paths, dialect)
    tokenizer = load(settings.tokenizer, settings.end_token, settings.image_pad, dialect)
    plan = _plan(settings, data, dialect, tokenizer, mix)
    store, watch = Store(out), progress or Progress.silent()
    if (done := _done(store, plan, settings.overwrite)) is not None:
        return done
    run = PackRun(
        identity=f"{_digest(plan)} {out}",
        out=store.root if store.local else store.uri,
        data=data,
        settings=settings,
        dialect=dialect,
        tokenizer_file=file_content(settings.tokenizer) if settings.tokenizer else None,
        needs_tokens=mix.needs_tokens,
    )
    origin = {"made_of": source_folders(paths), "options": settings.options()}
    with goes_on(out), store.locked():
        if address is not None:
            check_nodes_see(address, [file.uri for file in data.files], store)
        with watch.live():
            steps = PackSteps(run, store, watch, workers, address)
            made = _pack(run, store, mix, plan, tokenizer, steps, origin)
    note_product(origin["made_of"], out)
    return made


def _found(paths: Sequence[str], dialect: Dialect) -> DataSet:
    """Return the shards in these folders.

    Raises:
        InputError: there are none, they are packs or lack a column, or a path is given twice.
    """
    seen: set[str] = set()
    for path in paths:
        place = absolute(path)
        if {place, place.rpartition("/")[0]} & seen:
            raise InputError(f"{path} is given twice: its rows would be packed twice (a mix repeats rows)")
        seen.add(place)
        if not place.endswith(".parquet") and held(Store(path)) == "packs":
            raise InputError(f"{path} holds packs: give the shards that they were made of")
    data = find(paths)
    check_columns(data, COLUMNS if dialect.name == QWEN_VL.name else {*COLUMNS, "language"})
    return data


def _plan(
    settings: PackSettings, data: DataSet, dialect: Dialect, tokenizer: Tokenizer, mix: mixes.Mix
) -> dict[str, Any]:
    """Return all that decides the bytes of the packs: settings and inputs."""
    told: dict[str, Any] = {"dialect": dialect.digest} if dialect.name != QWEN_VL.name else {}
    told |= settings.resolved() | {"tokenizer": tokenizer.sha256, "mix": msgspec.to_builtins(mix)}
    return {
        "settings": told,
        "inputs": [{"uri": file.uri, "bytes": file.bytes, "rows": file.rows} for file in data.files],
        "digest": data.digest,
    }


def _pack(
    run: PackRun,
    store: Store,
    mix: mixes.Mix,
    plan: dict[str, Any],
    tokenizer: Tokenizer,
    steps: PackSteps,
    origin: dict[str, Any],
) -> dict[str, Any]:
    started = _begin(store, plan)
    try:
        counted = steps.count()
        amounts = total(counted)
        epochs = mixes.epochs(mix, amounts)
        once = max(sum(one.memory for one in counted), sum(one.drawn for one in counted))
        memory = once * max(epochs.values(), default=1.0)
        by_image = run.settings.images == "embed" and any(one.repeated for one in counted)
        room = run.settings.row_group_bytes if by_image else run.settings.bucket_bytes
        buckets = max(1, math.ceil(memory / room))
        spilled = steps.spill(epochs, buckets, by_image)
        tasks = steps.lay()
        packs = [one.file for one in steps.assemble()]
    finally:
        steps.close()
    tables = [write_dropped(store, steps.dropped())]
    if len(packs) > LISTED:
        tables.append(write_files(store, SHARDS, files_table(packs)))
    said = {
        **_head(plan, origin, run.describe(tokenizer)),
        **mixes.reached(mix, amounts),
        **_counts(run, spilled),
        **too_long_of(spilled),
        "copies": sum(counts["samples"] for counts in tasks.values()),
        "tasks": {task: _padding(counts, run.settings.seq_len) for task, counts in sorted(tasks.items())},
        "shards": [msgspec.to_builtins(file) for file in packs[:LISTED]],
        "tables": msgspec.to_builtins(tables),
        "started": started,
        "finished": _now(),
    }
    written = json.dumps(said, indent=1)
    store.write_bytes("_manifest.json", written.encode())
    store.delete_folder("_run")
    return dict(json.loads(written))


def _head(plan: dict[str, Any], origin: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    """Return the first entries of the manifest: what the packs were made of, and how."""
    made_by = {"curate_version": __version__, "kind": "packs", "plan": _digest(plan)}
    return {**made_by, **origin, **plan, **described}


def _counts(run: PackRun, spilled: Sequence[Spilled]) -> dict[str, Any]:
    """Return how many rows were read, packed, and dropped (by reason).

    Raises:
        OutputError: the numbers do not add up.
    """
    dropped = dict(sorted((+reasons_of(spilled)).items()))
    packed = sum(one.packed for one in spilled)
    if run.data.rows != packed + sum(dropped.values()):
        raise OutputError(f"{run.data.rows} rows in, but {packed} packed and {dropped} dropped: a bug")
    return {"rows_in": run.data.rows, "rows_out": packed, "dropped": dropped}


def _begin(store: Store, plan: dict[str, Any]) -> str:
    """Return when this packing began; if the folder holds the start of another one, remove that."""
    known = store.read_bytes(PLAN)
    begun = msgspec.json.decode(known, type=dict[str, str]) if known else {}
    if begun.get("plan") == _digest(plan):
        return begun["started"]
    _clear(store)
    begun = {"plan": _digest(plan), "started": _now()}
    store.write_bytes(PLAN, msgspec.json.encode(begun))
    return begun["started"]


def _done(store: Store, plan: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """Return the manifest of the same packs if they are complete; None if they have to be made.

    Raises:
        OutputError: the folder holds other packs and `overwrite` is not set, or a run, which is never overwritten.
    """
    if (kind := held(store)) not in ("", "packs"):
        raise OutputError(f"{store.uri} holds {kind}: give the packs a folder of their own")
    raw = store.read_bytes("_manifest.json")
    if raw is None:
        if store.names() and not overwrite and not store.names("_run"):
            raise OutputError(f"{store.uri} is not empty: give another folder, or --overwrite")
        return None
    try:
        manifest: dict[str, Any] = json.loads(raw)
    except ValueError:
        manifest = {}
    if manifest.get("plan") == _digest(plan):
        return manifest
    if not overwrite:
        raise OutputError(f"{store.uri} holds packs of other inputs or settings: give --overwrite")
    return None


def _clear(store: Store) -> None:
    """Remove the packs and temporary files of an earlier or unfinished command."""
    store.delete("_manifest.json")
    for name in store.names():
        if name.startswith("pack-"):
            store.delete(name)
    for folder in ("_dropped", FOLDER):
        store.delete_folder(folder)
    for name in (DROPPED_FILES, SHARDS):
        store.delete(name)


def _padding(counts: dict[str, int], seq_len: int) -> dict[str, Any]:
    room = counts["sequences"] * seq_len
    return dict(counts) | {"padding": round(1 - counts["tokens"] / room, 6) if room else 0.0}


def _digest(plan: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
