"""What a folder lists: its files one by one, and whether its tables of files are those that it made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from curate.storage.store import Store

UNLISTED = "it is not in the manifest: delete it, or move it away"

Problems = dict[str, list[str]]  # by file


def each_listed(files: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of FILES one by one, some thousands in memory at a time."""
    for batch in files.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def changed_files(store: Store, listed: Iterable[Mapping[str, Any]]) -> Problems:
    """Which of these files (`path`, `bytes`, `sha256`) are missing, or not as they are listed."""
    found = Problems()
    for one in listed:
        if not store.exists(one["path"]):
            found[one["path"]] = ["it is missing"]
        elif difference := store.differs(one["path"], one["bytes"], one["sha256"]):
            found[one["path"]] = [difference]
    return found


def table_problems(store: Store, manifest: Mapping[str, Any]) -> Problems:
    """Which of the tables under `_manifest/` are not those of the manifest; it names none in older folders."""
    return changed_files(store, manifest.get("tables", ()))
