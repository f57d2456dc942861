"""`curate retry`: a run on only those rows that an earlier run dropped for certain reasons."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from curate.engine.journal import MANIFEST, RUN, SELECTION
from curate.engine.plan import Retry
from curate.engine.record import Stage
from curate.engine.request import Request
from curate.errors import CurateError, InputError, ManifestError, nearest
from curate.manifest.load import changed
from curate.manifest.settings import digest_of
from curate.origins import find
from curate.plugins import require
from curate.sources import Input
from curate.storage.finished import KINDS, damaged_manifest, read_manifest
from curate.storage.shards import Shard
from curate.storage.store import PublishedFile, Store
from curate.terminal import plural

log = logging.getLogger("curate")

NEEDED = (
    *("manifest", "manifest_digest", "request", "inputs", "rows_in", "rows_out", "dropped", "stages"),
    *("shards", "scorer"),
)


class RunShape(msgspec.Struct, frozen=True):
    """The fields of `_manifest.json` that commands on a finished run rely on, with their types."""

    manifest: dict[str, Any]
    manifest_digest: str
    request: dict[str, Any]
    inputs: list[dict[str, Any]]
    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    stages: list[Stage]
    shards: list[Shard]
    scorer: dict[str, Any] | None
    inputs_in: int = 0
    software: dict[str, str] = {}
    started: datetime | None = None
    finished: datetime | None = None
    scored: dict[str, Any] = {}
    scorers: dict[str, dict[str, Any]] = {}
    grown: list[dict[str, Any]] = []
    removal: dict[str, Any] = {}
    removed: list[dict[str, Any]] = []
    tombstones: int = 0
    tables: list[PublishedFile] = []


def finished_manifest(folder: str, selections: bool = False) -> dict[str, Any]:
    """Return the `_manifest.json` of a complete run.

    Args:
        folder: the run's folder.
        selections: also accept the folder of `curate select`.

    Raises:
        InputError: the folder holds no complete run, or something else than a run's shards.
        DamagedManifestError: the manifest cannot be read, or was changed after it was written.
    """
    store = Store(folder)
    manifest = read_manifest(store)
    if manifest is None and store.exists(RUN):
        raise InputError(f"{folder} holds no complete run yet: the same command goes on with it")
    if manifest is None:
        raise InputError(
            f"{folder} holds no complete run: there is no {MANIFEST}; give the folder of `curate run --out`"
        )
    if manifest.get("kind") == SELECTION and not selections:
        raise InputError(
            f"{folder} holds a selection: `curate run MANIFEST --input {folder}` makes shards of it"
        )
    if manifest.get("kind", SELECTION) != SELECTION:
        kind = str(manifest["kind"])
        raise InputError(
            f"{folder} holds {KINDS.get(kind, 'something else')}: give the folder of `curate run`"
        )
    if fault := _fault(manifest):
        raise damaged_manifest(store, fault)
    return manifest


def _fault(manifest: dict[str, Any]) -> str | None:
    """Return what is wrong with a manifest; None if its fields and the digest of its settings are right."""
    if lacking := [name for name in NEEDED if name not in manifest]:
        return f"it lacks {', '.join(lacking)}"
    try:
        msgspec.convert(manifest, RunShape)
        digest = digest_of(manifest["manifest"])
    except (msgspec.ValidationError, AttributeError, TypeError, ValueError) as error:
        return str(error)
    if digest != manifest["manifest_digest"]:
        return "its settings are not those of its digest"
    return None


def again(
    folder: str,
    reasons: Sequence[str] | None,
    plugin_files: Sequence[str] = (),
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Request:
    """Return the request for a retry: that of the run in `folder`, only for rows that it dropped for `reasons`.

    Args:
        folder: the finished run.
        reasons: reasons, or patterns such as `http_*`. None: no row, for callers that need only the rest.
        plugin_files: the plug-ins that the run used. They must be given, as curate runs no code only because a folder
            names it.
        settings: changes to the run's manifest, by their paths.

    Raises:
        InputError: the run is not complete, its inputs have changed, or the rows were not written down.
        ManifestError: nothing was dropped for one of the reasons, or a setting makes no sense.
    """
    manifest = finished_manifest(folder, selections=True)
    reasons = [] if reasons is None else _matching(reasons, manifest["dropped"], folder)
    _check_kept(reasons, manifest, folder)
    try:
        before = msgspec.convert(manifest["request"], Request)
    except (msgspec.ValidationError, CurateError) as error:
        raise damaged_manifest(Store(folder), f"its request: {error}") from None
    require(before.manifest.plugins, plugin_files)
    before = msgspec.structs.replace(before, manifest=changed(before.manifest, settings))
    there = _contents(before.inputs)
    if there and _contents(find(before.manifest, sorted(there))) != there:
        raise InputError(f"the inputs of {folder} have changed since: run them anew")
    where = folder if "://" in folder else str(Path(folder).absolute())
    return msgspec.structs.replace(before, retry=Retry(where, tuple(reasons)))


def _contents(inputs: Sequence[Input]) -> dict[str, str]:
    """Return URI → fingerprint of the files among the inputs; other inputs have none, and are not checked again."""
    files = (part for one in inputs for part in one.files)
    return {file.uri: file.fingerprint for file in files if file.is_file}


def _matching(wanted: Sequence[str], dropped: Mapping[str, int], folder: str) -> list[str]:
    """Return the run's reasons that are in `wanted`, or that a pattern in it matches.

    Raises:
        ManifestError: `wanted` is empty, or an entry matches no reason of the run.
    """
    if not wanted:
        raise ManifestError(f"name the reasons to run again (there are: {', '.join(dropped) or 'none'})")
    found: dict[str, None] = {}
    for reason in wanted:
        matching = fnmatch.filter(dropped, reason)
        if not matching:
            raise ManifestError(f"{folder} dropped nothing for {reason!r}{nearest(reason, dropped)}")
        found |= dict.fromkeys(matching)
    return list(found)


def _check_kept(reasons: Sequence[str], manifest: Mapping[str, Any], folder: str) -> None:
    """Check that rows dropped for these reasons were written to `_dropped/`, where a retry finds them.

    If only a share of them was written, a warning is logged.

    Raises:
        InputError: rows that rules dropped were not written at all.
    """
    share, rules = manifest["manifest"]["drops"]["sample"], manifest["manifest"]["rules"]
    ruled = {reason: manifest["dropped"][reason] for reason in reasons if reason in rules}
    if not ruled or share >= 1:
        return
    rows = f"{plural(sum(ruled.values()), 'row')} of {folder} fell to {', '.join(ruled)}"
    if share == 0:
        raise InputError(f"{rows}, and drops.sample = 0 wrote none of them down: run the inputs anew")
    log.warning(
        "%s, and drops.sample = %g wrote that share of them down: the others are not tried again", rows, share
    )
