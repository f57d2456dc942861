"""`curate retry`: a run over nothing but what an earlier one dropped for certain reasons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from curate.errors import InputError, ManifestError, nearest
from curate.journal import MANIFEST, Request
from curate.origins import find
from curate.plan import Retry
from curate.store import Store


def finished_manifest(folder: str) -> dict[str, Any]:
    """The `_manifest.json` of a complete run.

    Raises:
        InputError: there is none.
    """
    data = Store(folder).read_bytes(MANIFEST)
    if data is None:
        raise InputError(f"{folder} holds no complete run: there is no {MANIFEST}")
    manifest: dict[str, Any] = msgspec.json.decode(data)
    return manifest


def again(folder: str, reasons: Sequence[str]) -> Request:
    """The request of the run in `folder`, for the rows alone that it dropped for `reasons`.

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
    uris = [part.uri for one in before.inputs for part in one.parts or (one,)]
    if tuple(find(before.manifest, uris)) != before.inputs:
        raise InputError(f"the inputs of {folder} have changed since: run them anew")
    where = folder if "://" in folder else str(Path(folder).absolute())
    return msgspec.structs.replace(before, retry=Retry(where, tuple(reasons)))
