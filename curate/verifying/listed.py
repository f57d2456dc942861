"""Compare the files of a folder with their listed sizes and hashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from curate.storage.store import Store

UNLISTED = "it is not in the manifest: delete it, or move it away"

Problems = dict[str, list[str]]  # by file


def each_listed(files: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of FILES one by one; some thousands are in memory at a time."""
    for batch in files.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def changed_files(store: Store, listed: Iterable[Mapping[str, Any]]) -> Problems:
    """The problems of these files (each with `path`, `bytes`, `sha256`): missing, or of another size or hash."""
    found = Problems()
    for one in listed:
        if not store.exists(one["path"]):
            found[one["path"]] = ["it is missing"]
        elif difference := store.differs(one["path"], one["bytes"], one["sha256"]):
            found[one["path"]] = [difference]
    return found


def table_problems(store: Store, manifest: Mapping[str, Any]) -> Problems:
    """The problems of the tables under `_manifest/`; the manifests of older folders list no tables."""
    return changed_files(store, manifest.get("tables", ()))
