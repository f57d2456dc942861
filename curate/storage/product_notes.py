"""Record in a folder which packs and exports were made from it, so that a later removal can name them."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from curate.errors import CurateError
from curate.storage.filesystems import NOT_JSON
from curate.storage.listing import FOLDER
from curate.storage.store import Store

MADE = f"{FOLDER}/made"


class Note(msgspec.Struct, frozen=True):
    """`_manifest/made/….json`: the folder of packs or of an export that was made from this folder."""

    folder: str


def absolute(uri: str) -> str:
    """A folder's URI that is valid from any working directory of this machine."""
    return uri.rstrip("/") if "://" in uri else os.path.abspath(uri)  # noqa: PTH100 - without following links


def source_folders(paths: Iterable[str]) -> list[str]:
    """The folders that `paths` name (folders, or Parquet files in them), absolute and each once."""
    folders = (path.rpartition("/")[0] or "." if path.endswith(".parquet") else path for path in paths)
    return list(dict.fromkeys(map(absolute, folders)))


def note_product(sources: Iterable[str], out: str) -> None:
    """Record in each source folder that `out` was made from it; a folder that cannot be written is left out."""
    data = msgspec.json.encode(Note(absolute(out)))
    name = f"{hashlib.sha256(absolute(out).encode()).hexdigest()[:16]}.json"
    for uri in dict.fromkeys(sources):
        with suppress(OSError, CurateError):
            store = Store(uri)
            if store.read_bytes(f"{MADE}/{name}") == data:
                continue
            if store.local:
                _write(Path(store.path(MADE)), name, data)
            else:
                store.write_bytes(f"{MADE}/{name}", data)


def noted_products(store: Store) -> Iterator[str]:
    """Yield the folders that are recorded as made from this one, in no order; damaged records are ignored."""
    for name in store.names(MADE):
        try:
            yield msgspec.json.decode(store.read_bytes(f"{MADE}/{name}") or b"", type=Note).folder
        except NOT_JSON:
            continue


def _write(folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(exist_ok=True)  # in a finished folder `_manifest` exists; else nothing is recorded
    part = folder / f".{uuid.uuid4().hex}"
    part.write_bytes(data)
    part.replace(folder / name)
