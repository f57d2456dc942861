"""`curate verify`: every checksum and invariant of a finished run, or of packs, computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from curate.engine.journal import MANIFEST
from curate.engine.record import UnitRecord
from curate.engine.records import every_record
from curate.engine.retry import finished_manifest
from curate.errors import DamagedError
from curate.storage.finished import (
    MADE_ANEW,
    DamagedManifestError,
    files_there,
    listed_dropped,
    listed_files,
    manifest_files,
    strange_files,
)
from curate.storage.listing import DROPPED_FILES, LISTED, SHARDS
from curate.storage.store import Store
from curate.terminal import plural, printable
from curate.verifying.counts import manifest_problems
from curate.verifying.dropped import dropped_problems
from curate.verifying.keys import KeyPartitions
from curate.verifying.listed import UNLISTED, Problems, changed_files, each_listed, table_problems
from curate.verifying.packs import finished_packs, verify_packs
from curate.verifying.runners import checkers
from curate.verifying.shard_checks import ExpectedShards


def verify(folder: str, workers: int | None = None, address: str | None = None) -> dict[str, Any]:
    """Check a complete run or a folder of packs; `damaged` of the result maps each damaged file to its problems.

    `workers` and `address` say which processes check the shards or packs, as for `curate run`. `damaged` is empty where
    nothing is damaged.

    Raises:
        InputError: the folder holds neither a complete run nor packs.
        MachineError, UnitError: Ray cannot be used, or a worker died again and again.
    """
    store = Store(folder)
    packs = finished_packs(store)
    if packs is None:
        return verify_run(folder, workers, address)
    return verify_packs(store, packs, workers, address)


def verify_run(folder: str, workers: int | None = None, address: str | None = None) -> dict[str, Any]:
    """Check a run's folder; see `verify`.

    Memory does not grow with the run: shards are checked one by one, and keys are compared by partitions on disk.

    Raises:
        InputError: the folder holds no complete run.
        MachineError, UnitError: Ray cannot be used, or a worker died again and again.
    """
    store, damaged = Store(folder), Problems()
    try:
        manifest = finished_manifest(folder, selections=True)
        shards = _shards(store, manifest, damaged)
    except (DamagedManifestError, DamagedError) as error:
        name = SHARDS if isinstance(error, DamagedError) else MANIFEST
        return {"shards": 0, "rows": 0, "damaged": {name: [str(error)]}}
    keys = KeyPartitions(manifest["rows_out"])
    who = checkers(store.uri, ExpectedShards.of(manifest), len(shards), workers, address)
    try:
        for checked in who.map(listed_shards(manifest, shards)):
            keys.add(checked.keys)
            if checked.problems:
                damaged[checked.path] = checked.problems
        duplicates = keys.duplicates()
    finally:
        who.close()
        keys.close()
    stem = "part" if "kind" in manifest else "shard"
    damaged |= {name: [UNLISTED] for name in strange_files(shards, files_there(store, stem))}
    damaged = table_problems(store, manifest) | damaged
    damaged |= _dropped(store, manifest)
    damaged |= _score_problems(store, manifest)
    if problems := [*manifest_problems(store, manifest, shards, duplicates, records(store))]:
        damaged[MANIFEST] = problems
    return {"shards": len(shards), "rows": manifest["rows_out"], "damaged": _sorted(damaged)}


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines that show a person what `verify` or `repair` found; `found` is the result."""
    for name in found.get("repaired", ()):
        yield f"{name}: made anew"
    for name, problems in found["damaged"].items():
        yield from (f"{name}: {printable(problem)}" for problem in problems)
    packs = "packs" in found
    rows, files = ("sequence", "pack") if packs else ("row", "shard")
    whole = f"{plural(found[f'{rows}s'], rows)} in {plural(found[f'{files}s'], files)}"
    damaged = len(found["damaged"])
    if not damaged:
        yield f"{whole}: all is as it should be"
    elif packs:
        yield f"{whole}: {plural(damaged, 'file')} damaged; pack again with --overwrite"
    elif any(MADE_ANEW in problem for problem in found["damaged"].get(MANIFEST, ())):
        yield f"{whole}: {MADE_ANEW}"
    elif set(found["damaged"]) <= {MANIFEST, SHARDS, DROPPED_FILES}:
        yield f"{whole}: delete {MANIFEST} and run the same command again, which writes it anew from _run"
    elif all(problems == [UNLISTED] for problems in found["damaged"].values()):
        yield f"{whole}: all that is listed is as it should be; {plural(damaged, 'file')} beside it"
    elif "repaired" in found:
        yield f"{whole}: {plural(damaged, 'file')} could not be mended; run anew with --overwrite"
    else:
        yield f"{whole}: {plural(damaged, 'file')} damaged; `curate verify DIR --repair` makes them anew"


def _shards(store: Store, manifest: Mapping[str, Any], damaged: Problems) -> pa.Table:
    """The listed shards, from their table or, where it is damaged, from the manifest if that lists all of them.

    Raises:
        DamagedError: the table is damaged, and the manifest does not list all shards.
    """
    try:
        return listed_files(store, manifest)
    except DamagedError as error:
        if len(manifest["shards"]) >= LISTED:
            raise
        damaged[SHARDS] = [str(error)]
        return manifest_files(store, manifest)


def listed_shards(manifest: Mapping[str, Any], shards: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield each shard's entry: the manifest's if it has one, else the table's."""
    told = {one["path"]: one for one in manifest["shards"]}
    return (told.get(one["path"], one) for one in each_listed(shards))


def _dropped(store: Store, manifest: Mapping[str, Any]) -> Problems:
    """The problems of the files of dropped rows, and of the table that lists them."""
    try:
        listed = listed_dropped(store)
    except DamagedError as error:
        return {DROPPED_FILES: [str(error)]}
    return dropped_problems(store, manifest, listed, records(store))


def _score_problems(store: Store, manifest: Mapping[str, Any]) -> Problems:
    """The problems of the files of scores that are kept under a name: missing, or with other bytes."""
    said = manifest.get("scorers", {}).values()
    return changed_files(store, (one for of in said for one in of.get("files", ())))


def _sorted(damaged: Problems) -> Problems:
    """The problems in the order of the files' names; shards are checked in any order."""
    return dict(sorted(damaged.items()))


def records(store: Store) -> Iterator[UnitRecord]:
    """Yield the journal's records of finished units that still exist and can be read."""
    return every_record(store)
