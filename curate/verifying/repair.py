"""`curate verify --repair`: make damaged files of a complete run again, and nothing else.

The damaged units are made again from the same inputs, in a scratch folder within the run's. A new file replaces a
damaged one only if it has exactly the bytes that the folder lists, so a repair never changes a data set. Where the web
has changed meanwhile, the file is left as it is, and still reported as damaged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

import filters
from curate.engine.across import OF_STAGED, Across
from curate.engine.journal import Journal
from curate.engine.output import Fallen, Staging
from curate.engine.plan import Plan, Run
from curate.engine.progress import Progress
from curate.engine.records import STAGED, every_record
from curate.engine.request import Request
from curate.engine.retry import again, finished_manifest
from curate.engine.run_steps import Steps
from curate.engine.runners import InProcess
from curate.engine.staged_pairs import ACROSS_STAGE, pairs_of_fallen, pairs_of_shard, spill_pairs
from curate.engine.tombstones import REMOVED, tombstones_told, write_tombstones
from curate.errors import InputError
from curate.storage.finished import listed_dropped, listed_files
from curate.storage.listing import DROPPED_FILES, SHARDS
from curate.storage.shards import dropped_name, read_columns, unit_of
from curate.storage.store import Store
from curate.verifying.command import listed_shards, records, verify_run

SCRATCH = "_run/repair"


def repair(
    folder: str,
    plugin_files: Sequence[str] = (),
    workers: int | None = None,
    address: str | None = None,
) -> dict[str, Any]:
    """Make the damaged units again; returns what `verify` finds then, and in `repaired` the files that were replaced.

    `plugin_files` are the plug-ins that the run used. `workers` and `address` say which processes check the folder, as
    for `verify`; the repair itself is done by this process.

    Raises:
        InputError: the run is not complete, was scored since, or its inputs have changed.
        UnitError: a unit could not be made.
        OutputError: another run holds the folder.
    """
    store, before = Store(folder), verify_run(folder, workers, address)
    if not before["shards"] and before["damaged"]:  # the manifest or the table of shards cannot be read
        return before | {"repaired": []}
    manifest, damaged = finished_manifest(folder, selections=True), before["damaged"]
    if SHARDS in damaged or DROPPED_FILES in damaged:  # these tables say which bytes are right
        return before | {"repaired": []}
    listed = set(listed_files(store, manifest)["path"].to_pylist())
    known = {record.unit for record in records(store)}
    wanted = {name for name in damaged if name in listed or name.startswith("_dropped/")}
    found = {unit for name in wanted if (unit := unit_of(name)) is not None}
    units = sorted(found & known if known else found)
    repaired = _restored_tombstones(store, manifest) if REMOVED in damaged else []
    if units:
        if "scored" in manifest:
            raise InputError(f"{folder} was scored since: run it anew with --overwrite, then score it again")
        with Journal(store).locked():
            repaired += _remade(manifest, store, units, wanted, plugin_files)
    return verify_run(folder, workers, address) | {"repaired": repaired}


def _restored_tombstones(store: Store, manifest: Mapping[str, Any]) -> list[str]:
    """Write the tombstones anew if the manifest lists all of them; the name of the file, if so."""
    table = tombstones_told(manifest)
    if table is None:
        return []
    with Journal(store).locked():
        write_tombstones(store, table)
    return [REMOVED]


def _remade(
    manifest: Mapping[str, Any],
    store: Store,
    units: list[int],
    wanted: set[str],
    plugin_files: Sequence[str],
) -> list[str]:
    """Make these units in the scratch folder, and move their wanted files, if they are right, to their places."""
    scratch = Store(f"{store.uri}/{SCRATCH}")
    store.delete_folder(SCRATCH)
    try:
        run = _scratch_run(manifest, store, scratch, plugin_files)
        steps = Steps(run, Journal(scratch), progress := _quiet(), InProcess(run, progress))
        try:
            if run.select:
                _select_again(steps, units)
            else:
                for phase in ("keys", "seen"):
                    steps.judge_across(phase)
                steps.units("stage", np.array(units))
        finally:
            steps.runner.close()
        staging = Staging(run.manifest, scratch)
        if run.judges_staged and not run.select:
            phases = [across for phase in OF_STAGED if (across := run.across(phase)) is not None]
            remade = Remade(manifest, store, staging, phases, units, wanted)
            for unit, fallen in remade.fallen().items():
                staging.publish(staging.record(unit, STAGED), *fallen)
        return sorted(_in_place(manifest, store, scratch, units, wanted))
    finally:
        store.delete_folder(SCRATCH)


def _select_again(steps: Steps, units: list[int]) -> None:
    """Make these units of a selection; if rules look for duplicates, all other units are staged too."""
    if not steps.run.judges_staged:
        steps.units("stage", np.array(units))
        return
    steps.units("stage", np.arange(steps.run.plan.units))
    for phase in ("keys", "seen"):
        steps.judge_across(phase)
    steps.units("publish", np.array(units))


def _scratch_run(
    manifest: Mapping[str, Any], store: Store, scratch: Store, plugin_files: Sequence[str]
) -> Run:
    """The same run, but into the scratch folder; its inputs are checked to be unchanged."""
    retry = msgspec.convert(manifest["request"], Request).retry
    asked: Request = msgspec.structs.replace(again(store.uri, None, plugin_files), retry=retry)
    if (tombstones := store.read_bytes(REMOVED)) is not None:
        scratch.write_bytes(REMOVED, tombstones)
    return Run(
        manifest=asked.manifest,
        out=scratch.uri,
        work=Journal(scratch).work(),
        plan=Plan(asked.inputs, tuple(one["rows"] for one in manifest["inputs"]), asked.unit_rows),
        sample=asked.sample,
        retry=asked.retry,
        removed=hashlib.sha256(tombstones).hexdigest() if tombstones is not None else "",
        select=asked.select,
    )


@dataclass(frozen=True)
class Remade:
    """Units that were made again and staged, of a run with rules that compare images across the run."""

    manifest: Mapping[str, Any]
    store: Store  # of the run; `staging` is in the scratch folder
    staging: Staging
    phases: Sequence[Across]  # the rules that see the images' bytes, and where redirects led
    units: list[int]
    wanted: set[str]  # the damaged files

    def fallen(self) -> dict[int, tuple[Fallen, Mapping[int, str]]]:
        """For each unit, the rows that the rules across the run's images drop, and what decided.

        They are read from the unit's file of dropped rows. Where that is damaged, the unit's rows are judged again,
        together with the other units' rows that have one of the same images. That works only if all dropped rows are in
        files (`drops.sample` is 1).
        """
        lost = {unit for unit in self.units if dropped_name(unit) in self.wanted}
        judged: dict[int, dict[int, str]] = {unit: {} for unit in lost}
        if lost and self.manifest["manifest"]["drops"]["sample"] == 1:
            for across in self.phases:
                for unit, row, why in self._judged_again(across):
                    judged.setdefault(unit, {})[row] = why
        return {
            unit: (judged.get(unit, {}), {}) if unit in lost else self._known(unit) for unit in self.units
        }

    def _known(self, unit: int) -> tuple[Fallen, Mapping[int, str]]:
        """The numbers of a unit's rows that fell, and what decided, read from its file of dropped rows."""
        fell = _dropped_across(self.store, unit)
        sources: list[str] = []
        for shard in self.staging.record(unit, STAGED).shards:
            rows = read_columns(self.staging.store, self.staging.place(shard.path), ["source"])
            sources += rows["source"].to_pylist()
        why = {row: fell[source] for row, source in enumerate(sources) if source in fell}
        return {row: reason for row, (reason, _) in why.items()}, {row: of for row, (_, of) in why.items()}

    def _judged_again(self, across: Across) -> Iterator[tuple[int, int, str]]:
        """Yield the units' rows that fall in a phase (unit, row, reason); the other units' rows come from the run."""
        mine = pa.concat_tables([self.staging.spilled(unit, across.phase) for unit in self.units])
        names = listed_files(self.store, self.manifest)["path"].to_pylist()
        names += [f"_dropped/{name}" for name in self.store.names("_dropped")]
        sound = [n for n in names if n not in self.wanted and unit_of(n) not in (None, *self.units)]
        others = [_spilled(self.store, name, across.phase) for name in sound]
        alike = [rows.filter(pc.is_in(rows["image"], mine["image"].combine_chunks())) for rows in others]
        table = pa.concat_tables([mine, *alike]).combine_chunks()
        reason = filters.judge(table, across.rules).reason
        fell = pa.table({"unit": table["unit"], "row": table["row"], "why": reason})
        fell = fell.filter(pc.is_valid(reason))
        for one in fell.filter(pc.is_in(fell["unit"], pa.array(self.units, pa.int32()))).to_pylist():
            yield one["unit"], one["row"], one["why"]


def _dropped_across(store: Store, unit: int) -> dict[str, tuple[str, str]]:
    """For each row of a unit that rules across the run dropped, by its `source`: the reason and the detail."""
    if not store.exists(dropped_name(unit)):
        return {}
    rows = read_columns(store, dropped_name(unit), ["source", "stage", "reason", "detail"])
    rows = rows.filter(pc.equal(rows["stage"].cast(pa.string()), ACROSS_STAGE))
    why = zip(rows["reason"].cast(pa.string()).to_pylist(), rows["detail"].to_pylist(), strict=True)
    return dict(zip(rows["source"].to_pylist(), why, strict=True))


def _spilled(store: Store, name: str, phase: str) -> pa.Table:
    """The pairs (SPILL) of a shard's rows, or of the rows in a file of dropped rows that rules across the run dropped.

    Their numbers of unit and row need no change, because no row of the units that are made again has the same ones.
    """
    of_file = pairs_of_fallen if name.startswith("_dropped/") else pairs_of_shard
    return spill_pairs([of_file(store, name, phase)], unit_of(name) or 0)


def _in_place(
    manifest: Mapping[str, Any], store: Store, scratch: Store, units: list[int], wanted: set[str]
) -> Iterable[str]:
    """Move each wanted file to its place if its unit was made with the bytes that the folder lists; yields its name."""
    made, known = (
        {one.unit: one for one in every_record(scratch)},
        {one.unit: one.dropped for one in records(store)},
    )
    listed = _listed_hashes(manifest, store, units)
    for unit in units:
        mine = {name: sha256 for name, sha256 in listed.items() if unit_of(name) == unit}
        shards, counts = {shard.path: shard.sha256 for shard in made[unit].shards}, made[unit].dropped
        dropped = made[unit].dropped_file
        if dropped is not None and dropped.path in listed:
            shards[dropped.path] = dropped.sha256
        if shards != mine or counts != known.get(unit, counts):
            continue
        for name in sorted({*mine, dropped_name(unit)}):
            if name in wanted and scratch.exists(name):
                if store.local:
                    Path(store.path(name)).parent.mkdir(exist_ok=True)
                store.fs.move(scratch.path(name), store.path(name))
                yield name


def _listed_hashes(manifest: Mapping[str, Any], store: Store, units: list[int]) -> dict[str, str]:
    """The hashes, by name, of these units' shards, and of their files of dropped rows if the folder lists these."""
    files = listed_shards(manifest, listed_files(store, manifest))
    wanted, names = set(units), set(map(dropped_name, units))
    found = {one["path"]: one["sha256"] for one in files if unit_of(one["path"]) in wanted}
    dropped = listed_dropped(store)
    if dropped is not None:
        mine = dropped.filter(pc.is_in(dropped["unit"], pa.array(units, pa.int64())))
        pairs = zip(mine["path"].to_pylist(), mine["sha256"].to_pylist(), strict=True)
        found |= {path: sha256 for path, sha256 in pairs if path in names}
    return found


def _quiet() -> Progress:
    return Progress(Console(stderr=True), quiet=True)
