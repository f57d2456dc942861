"""`curate verify --repair`: make damaged files of a complete run anew, and nothing else.

The damaged units are made again from the same inputs in a scratch folder within the run's. A shard takes its
place only if it has the very bytes that the manifest lists, so a repair never changes a data set: where the
web has changed meanwhile, the file is left as it is, and said to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console

from curate.errors import InputError
from curate.journal import Journal, Request
from curate.plan import Plan, Run
from curate.progress import Progress
from curate.record import UnitRecord
from curate.retry import again, finished_manifest
from curate.run import Steps
from curate.runner import InProcess
from curate.shards import dropped_name, unit_of
from curate.staging import STAGED, Fallen, Staging
from curate.store import Store
from curate.verify import verify
from curate.worker import Job

SCRATCH = "_run/repair"


def repair(folder: str) -> dict[str, Any]:
    """What `verify` says after the damaged units were made anew; `repaired` names the files put in place.

    Raises:
        InputError: the run is not complete, was scored since, or its inputs have changed.
        UnitError: a unit could not be made.
        OutputError: another run holds the folder.
    """
    manifest, store = finished_manifest(folder), Store(folder)
    damaged = verify(folder)["damaged"]
    listed = {shard["path"] for shard in manifest["shards"]}
    wanted = {name for name in damaged if name in listed or name.startswith("_dropped/")}
    units = sorted({unit for name in wanted if (unit := unit_of(name)) is not None})
    repaired: list[str] = []
    if units:
        if "scored" in manifest:
            raise InputError(f"{folder} was scored since: run it anew with --overwrite, then score it again")
        with Journal(store).locked():
            repaired = _remade(manifest, store, units, wanted)
    return verify(folder) | {"repaired": repaired}


def _remade(manifest: Mapping[str, Any], store: Store, units: list[int], wanted: set[str]) -> list[str]:
    """Make those units in the scratch folder, and move what is wanted and right to its place."""
    scratch = Store(f"{store.uri}/{SCRATCH}")
    store.delete_folder(SCRATCH)
    try:
        run = _scratch_run(manifest, store, scratch)
        steps = Steps(run, Journal(scratch), progress := _quiet(), InProcess(run, progress))
        try:
            steps.judge_across("keys", "scan_keys")
            steps.judge_across("seen", "scan")
            steps.all("stage", [Job("stage", (unit,)) for unit in units])
        finally:
            steps.runner.close()
        staging = Staging(run.manifest, scratch)
        if run.judges_staged():
            for unit in units:
                staging.publish(staging.record(unit, STAGED), *_fallen(store, scratch, staging, unit))
        return sorted(_in_place(manifest, store, scratch, units, wanted))
    finally:
        store.delete_folder(SCRATCH)


def _scratch_run(manifest: Mapping[str, Any], store: Store, scratch: Store) -> Run:
    """The run itself, its inputs checked to be the same, but into the scratch folder."""
    retry = msgspec.convert(manifest["request"], Request).retry
    asked: Request = msgspec.structs.replace(again(store.uri, []), retry=retry)
    return Run(
        manifest=asked.manifest,
        out=scratch.uri,
        work=Journal(scratch).work(),
        plan=Plan(asked.inputs, tuple(one["rows"] for one in manifest["inputs"]), asked.manifest.shard.rows),
        sample=asked.sample,
        retry=asked.retry,
    )


def _fallen(store: Store, scratch: Store, staging: Staging, unit: int) -> tuple[Fallen, Mapping[int, str]]:
    """The remade rows that fell to the rules across the run's images, by the file of dropped rows.

    Each row's reason, and what decided.
    """
    fell = _dropped_across(store, unit)
    record: UnitRecord = staging.record(unit, STAGED)
    sources: list[str] = []
    for shard in record.shards:
        with scratch.fs.open_input_file(scratch.path(f"{STAGED}/{shard.path}")) as file:
            sources += pq.read_table(file, columns=["source"])["source"].to_pylist()
    rows = {row: fell[source] for row, source in enumerate(sources) if source in fell}
    return {row: reason for row, (reason, _) in rows.items()}, {row: said for row, (_, said) in rows.items()}


def _dropped_across(store: Store, unit: int) -> dict[str, tuple[str, str]]:
    """By source, why rows of a unit fell across the run; none where that file is damaged itself."""
    try:
        with store.fs.open_input_file(store.path(dropped_name(unit))) as file:
            table = pq.read_table(file, columns=["source", "stage", "reason", "detail"])
    except (OSError, pa.ArrowException):
        return {}
    rows = table.filter(pc.equal(table["stage"].cast(pa.string()), "across"))
    why = zip(rows["reason"].cast(pa.string()).to_pylist(), rows["detail"].to_pylist(), strict=True)
    return dict(zip(rows["source"].to_pylist(), why, strict=True))


def _in_place(
    manifest: Mapping[str, Any], store: Store, scratch: Store, units: list[int], wanted: set[str]
) -> Iterable[str]:
    """Move each wanted file whose unit has come out with the bytes that the manifest lists."""
    made = {record.unit: record for record in Journal(scratch).records("_run/done").values()}
    for unit in units:
        mine = {s["path"]: s["sha256"] for s in manifest["shards"] if unit_of(s["path"]) == unit}
        if {shard.path: shard.sha256 for shard in made[unit].shards} != mine:
            continue
        for name in (*mine, dropped_name(unit)):
            if name in wanted and scratch.exists(name):
                if store.local:
                    Path(store.path(name)).parent.mkdir(exist_ok=True)
                store.fs.move(scratch.path(name), store.path(name))
                yield name


def _quiet() -> Progress:
    return Progress(Console(stderr=True), quiet=True)
