"""Read a finished folder's `_manifest.json` and the tables of its files, and check that the folder is complete.

Commands on finished folders plan their work from this, and open no data file for it. A folder that lacks a file, has a
file too many, or one of another size is refused, because otherwise a model would be trained on less data unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from curate.errors import DamagedError, InputError, OutputError
from curate.storage.filesystems import NOT_JSON, one_line
from curate.storage.listing import DROPPED_FILES, FILES, SHARDS, check_inside, read_files
from curate.storage.store import Store

MANIFEST = "_manifest.json"
WAY_OUT = "delete it and run the same command again, which writes it anew from _run"
# Packs and exports keep no _run
MADE_ANEW = "make the folder anew, with --overwrite where the command has it"
KINDS = {"packs": "packs", "export": "an export", "selection": "a selection"}  # by the `kind` of a manifest
BEGUN = "_run/run.json"  # exists from the start of a run on, also after its end
SCORING = "_run/score/asked.json"  # exists while a scoring is unfinished
OLD = ("path", "rows", "bytes", "sha256")  # the fields of a shard in `_manifest.json`

T = TypeVar("T")


class DamagedManifestError(InputError):
    """A folder's `_manifest.json` cannot be read."""


def read_manifest(store: Store) -> dict[str, Any] | None:
    """The content of `_manifest.json`; None where there is none.

    Raises:
        DamagedManifestError: the file is damaged.
    """
    data = store.read_bytes(MANIFEST)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except NOT_JSON as error:
        raise damaged_manifest(store, str(error)) from None


def held(store: Store) -> str:
    """What a folder holds, finished or not: `shards`, `a selection`, `packs`, `an export`; empty if it is unknown."""
    try:
        manifest = read_manifest(store)
    except DamagedManifestError:
        manifest = None
    if manifest is None:
        return "shards" if store.exists(BEGUN) else ""
    return KINDS.get(str(manifest["kind"]), "something else") if "kind" in manifest else "shards"


def damaged_manifest(store: Store, why: str) -> DamagedManifestError:
    """The error for a damaged manifest; its message says why and how to repair the folder."""
    way_out = WAY_OUT if store.exists(BEGUN) else MADE_ANEW
    return DamagedManifestError(f"{store.uri}/{MANIFEST} is damaged ({why}): {way_out}")


def read_state(store: Store, name: str, kind: type[T], way_out: str) -> T | None:
    """The content of a JSON file in which a command keeps its state, as a `kind`; None where there is no such file.

    Raises:
        OutputError: the file is damaged; the message ends with `way_out`.
    """
    data = store.read_bytes(name)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=kind)
    except NOT_JSON as error:
        raise OutputError(f"{store.uri}/{name} is damaged ({error}): {way_out}") from None


def listed_files(store: Store, manifest: Mapping[str, Any]) -> pa.Table:
    """Every shard or pack of a finished folder (rows of FILES, in order); `unit` is null for packs.

    Raises:
        DamagedError: the table in `_manifest/` cannot be read.
        DamagedManifestError: the manifest's own list cannot be read.
    """
    table = _table(store, SHARDS)
    return manifest_files(store, manifest) if table is None else table


def listed_dropped(store: Store) -> pa.Table | None:
    """Every file of dropped rows (rows of FILES); None where the folder does not list them.

    Raises:
        DamagedError: the table cannot be read.
    """
    return _table(store, DROPPED_FILES)


def check_complete(store: Store, files: pa.Table, stem: str, sizes: bool = True) -> None:
    """Compare the listed files (rows of FILES) with the files `STEM-*.parquet` that exist, by name and size.

    Without `sizes` only the names are compared.

    Raises:
        DamagedError: a file is missing, is not listed, or has another size; the message names the first.
    """
    there = files_there(store, stem)
    if not sizes:
        files, there = _names_alone(files), _names_alone(there)
    if difference := first_difference(files, there):
        name, how = difference
        way_out = f"`curate verify {store.uri}` names every damaged file, and with --repair makes shards anew"
        if store.exists(SCORING):
            way_out = "a scoring is unfinished here: the same `curate score` command finishes it"
        raise DamagedError(f"{store.uri}/{name} {how}: {way_out}")


def _names_alone(files: pa.Table) -> pa.Table:
    """The files' names, all with the size 0, so that a comparison finds no different sizes."""
    return files.select(["path"]).append_column("bytes", pa.array([0] * files.num_rows, pa.int64()))


def files_there(store: Store, stem: str) -> pa.Table:
    """Name and size of the files `STEM-*.parquet` directly in the folder, by name."""
    infos = store.fs.get_file_info(fs.FileSelector(store.root, allow_not_found=True))
    ours = [
        (info.base_name, info.size)
        for info in infos
        if info.type == fs.FileType.File
        and info.base_name.startswith(f"{stem}-")
        and info.base_name.endswith(".parquet")
    ]
    names, sizes = zip(*sorted(ours), strict=True) if ours else ((), ())
    return pa.table({"path": pa.array(names, pa.string()), "bytes": pa.array(sizes, pa.int64())})


def first_difference(listed: pa.Table, there: pa.Table) -> tuple[str, str] | None:
    """The first file, by name, that differs between both tables, and how in words; None where none does."""
    found = [
        (name, "is missing, though the manifest lists it")
        for name in _first(listed["path"].filter(pc.invert(pc.is_in(listed["path"], there["path"]))))
    ]
    found += [(name, "is not in the manifest: move it away") for name in strange_files(listed, there)[:1]]
    place = pc.index_in(there["path"], listed["path"])
    expected = listed["bytes"].take(place)
    for row in np.flatnonzero(pc.not_equal(there["bytes"], expected).fill_null(False).to_numpy())[:1]:
        sizes = f"{there['bytes'][row]} bytes instead of {expected[row]}"
        found.append((there["path"][row].as_py(), f"is not the file that the manifest lists: {sizes}"))
    return min(found, default=None)


def strange_files(listed: pa.Table, there: pa.Table) -> list[str]:
    """The names of files in `there` that `listed` lacks."""
    strange: list[str] = there["path"].filter(pc.invert(pc.is_in(there["path"], listed["path"]))).to_pylist()
    return strange


def _first(names: pa.ChunkedArray) -> list[str]:
    return [pc.min(names).as_py()] if len(names) else []


def _table(store: Store, name: str) -> pa.Table | None:
    try:
        return read_files(store, name)
    except (OSError, ValueError) as error:
        raise DamagedError(
            f"{store.uri}/{name} is damaged ({one_line(error)}): delete {MANIFEST} and run the same command "
            "again, which writes both anew"
        ) from None


def manifest_files(store: Store, manifest: Mapping[str, Any]) -> pa.Table:
    """The shards or packs (rows of FILES) that the manifest itself lists.

    Raises:
        DamagedManifestError: it has no list, a malformed one, or one that names a file outside the folder.
    """
    if "shards" not in manifest:
        raise damaged_manifest(store, "it lacks shards")
    try:
        rows = [{name: one[name] for name in OLD} for one in manifest["shards"]]
        columns = {name: [row[name] for row in rows] for name in OLD} | {"unit": [None] * len(rows)}
        files = pa.table({field.name: pa.array(columns[field.name], field.type) for field in FILES})
        check_inside(files)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged_manifest(store, f"its list of shards: {one_line(error)}") from None
    return files
