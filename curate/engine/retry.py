"""`curate retry`: a run over nothing but what an earlier one dropped for certain reasons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from curate.engine.journal import MANIFEST, RUN, Request
from curate.engine.plan import Retry
from curate.errors import InputError, ManifestError, nearest
from curate.origins import find
from curate.plugins import require
from curate.storage.store import Store

NEEDED = (
    *("manifest", "manifest_digest", "request", "inputs", "rows_in", "rows_out", "dropped", "stages"),
    *("shards", "scorer"),
)


KINDS = {"packs": "packs", "export": "an export"}


class DamagedManifestError(InputError):
    """The file that says that a run is complete cannot be read."""


def finished_manifest(folder: str) -> dict[str, Any]:
    """The `_manifest.json` of a complete run.

    Raises:
        InputError: there is none, or the folder holds something else than a run's shards.
        DamagedManifestError: it cannot be read.
    """
    store = Store(folder)
    data = store.read_bytes(MANIFEST)
    if data is None and store.exists(RUN):
        raise InputError(f"{folder} holds no complete run yet: the same command goes on where it stands")
    if data is None:
        raise InputError(
            f"{folder} holds no complete run: there is no {MANIFEST}; give the folder of `curate run --out`"
        )
    way_out = "delete it and run the same command again, which writes it anew from _run"
    try:
        manifest = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise DamagedManifestError(f"{folder}/{MANIFEST} is damaged ({error}): {way_out}") from None
    if "kind" in manifest:
        raise InputError(
            f"{folder} holds {KINDS.get(manifest['kind'], 'something else')}: give the folder of `curate run`"
        )
    if lacking := [name for name in NEEDED if name not in manifest]:
        raise DamagedManifestError(
            f"{folder}/{MANIFEST} is damaged (it lacks {', '.join(lacking)}): {way_out}"
        )
    return manifest


def again(folder: str, reasons: Sequence[str], plugin_files: Sequence[str] = ()) -> Request:
    """The request of the run in `folder`, for the rows alone that it dropped for `reasons`.

    `plugin_files` are the plug-ins that the run used: what a folder names is never run by itself.

    Raises:
        InputError: the run is not complete, or its inputs have changed.
        ManifestError: nothing was dropped for one of the reasons.
    """
    manifest = finished_manifest(folder)
    for reason in reasons:
        if reason not in manifest["dropped"]:
            raise ManifestError(
                f"{folder} dropped nothing for {reason!r}{nearest(reason, manifest['dropped'])}"
            )
    before = msgspec.convert(manifest["request"], Request)
    require(before.manifest.plugins, plugin_files)
    uris = [part.uri for one in before.inputs for part in one.parts or (one,)]
    if tuple(find(before.manifest, uris)) != before.inputs:
        raise InputError(f"the inputs of {folder} have changed since: run them anew")
    where = folder if "://" in folder else str(Path(folder).absolute())
    return msgspec.structs.replace(before, retry=Retry(where, tuple(reasons)))
