"""What was made of a folder: packs and exports, which the folder notes so that a later removal can name them."""

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
    """`_manifest/made/….json`: where something lies that was made of this folder."""

    folder: str


def absolute(uri: str) -> str:
    """A folder's URI as it is from anywhere on this machine."""
    return uri.rstrip("/") if "://" in uri else os.path.abspath(uri)  # noqa: PTH100 - without following links


def source_folders(paths: Iterable[str]) -> list[str]:
    """The folders of what was given: folders, or files in them; each once, absolute."""
    folders = (path.rpartition("/")[0] or "." if path.endswith(".parquet") else path for path in paths)
    return list(dict.fromkeys(map(absolute, folders)))


def note_product(sources: Iterable[str], out: str) -> None:
    """Note in each source folder what was made of it; a folder that cannot be written to goes without."""
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
    """The folders that were noted, in no order."""
    for name in store.names(MADE):
        try:
            yield msgspec.json.decode(store.read_bytes(f"{MADE}/{name}") or b"", type=Note).folder
        except NOT_JSON:
            continue


def _write(folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(exist_ok=True)  # `_manifest` is there in a finished folder; else nothing is noted
    part = folder / f".{uuid.uuid4().hex}"
    part.write_bytes(data)
    part.replace(folder / name)
