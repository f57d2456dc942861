"""An index of a large run's rows by key, URL and source: partitions of hashes, of which a look-up reads one.

An entry is the hash of a name and the number of a file that holds the name. Two names may have the same hash, so the
caller must look into the files; a row that is in none of them is not in the run. The index lies in `_index/rows`
beside the shards, or in the user's cache folder; it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import xxhash

from curate.reporting.kept_columns import KeptColumns
from curate.storage.store import Store

FORMAT = 2
PART = r"[./]\d+"  # how a source names a part of a page or row: book.pdf#7.2, rows.parquet#7/1
PARTITIONS = 256
ENTRY = np.dtype([("hash", "<u8"), ("file", "<u4")])
WAITING_ENTRIES = 4_000_000  # so many entries are kept in memory before they are written to their partitions
ABOUT = "about.json"
REMOTE_READS = 32

Entries = npt.NDArray[np.void]

log = logging.getLogger("curate")


def digest(hashes: Iterable[str]) -> str:
    """One hash for the contents of a run's files; `hashes` are the files' own, in order."""
    found = hashlib.sha256()
    for one in hashes:
        found.update(one.encode())
    return found.hexdigest()


def look_up(
    store: Store, files: Sequence[str], content: str, name: str, kept: KeptColumns | None = None
) -> list[str] | None:
    """The files that may hold a row with that key, URL or source; None where no index can be written.

    The index is made first where there is none for these contents. `files` are the run's files, `content` is the digest
    of their contents, and `kept` reads the columns of kept rows.
    """
    wanted = {"format": FORMAT, "content": content, "files": len(files)}
    for folder in _folders(store):
        numbers = _numbers(folder, wanted, name)
        if numbers is None and _make(store, files, folder, wanted, kept or KeptColumns({})):
            numbers = _numbers(folder, wanted, name)
        if numbers is not None:
            return [files[number] for number in numbers if number < len(files)]
    return None


def _folders(store: Store) -> list[Path]:
    """The folders in which the index may lie; the first that works is used."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curate" / "index"
    home = cache / f"rows-{hashlib.sha256(store.uri.encode()).hexdigest()[:16]}"
    return [Path(store.path("_index/rows")), home] if store.local else [home]


def _numbers(folder: Path, wanted: dict[str, object], name: str) -> list[int] | None:
    """The numbers of the files that may hold the name; None where there is no valid index for these files."""
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        hashed = xxhash.xxh3_64_intdigest(name.encode())
        body = (folder / _name(hashed % PARTITIONS)).read_bytes()
        sound = xxhash.xxh3_64_hexdigest(body) == about["seals"][hashed % PARTITIONS]
        if not sound or {key: about[key] for key in wanted} != wanted:
            return None
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    entries = np.frombuffer(body, ENTRY)
    left, right = (np.searchsorted(entries["hash"], np.uint64(hashed), side) for side in ("left", "right"))
    return sorted(set(entries["file"][left:right].tolist()))


def _make(
    store: Store, files: Sequence[str], folder: Path, wanted: dict[str, object], kept: KeptColumns
) -> bool:
    """Make the index, complete or not at all; False where it cannot be written."""
    log.warning(
        "indexing the keys and URLs of %d files, once: this takes some minutes for very many", len(files)
    )
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        part.mkdir(parents=True)
        _spill(store, files, part, kept)
        seals = [_sort(part / _name(number)) for number in range(PARTITIONS)]
        (part / ABOUT).write_text(json.dumps(wanted | {"seals": seals}))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except PermissionError:
        return False
    except OSError as error:
        if error.filename is None or str(part) not in str(error.filename):
            raise
        return False
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return True


def _spill(store: Store, files: Sequence[str], folder: Path, kept: KeptColumns) -> None:
    """Append the entries of all files to the partitions that their hashes belong to."""
    waiting: list[Entries] = []
    size = 0
    for entries in _entries(store, files, kept):
        waiting.append(entries)
        size += len(entries)
        if size >= WAITING_ENTRIES:
            _append(waiting, folder)
            waiting, size = [], 0
    _append(waiting, folder)


def _entries(store: Store, files: Sequence[str], kept: KeptColumns) -> Iterator[Entries]:
    """Each file's entries; a bounded number of files is read ahead."""
    threads = len(os.sched_getaffinity(0)) + 2 if store.local else REMOTE_READS
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(files), 1024):
            some = range(start, min(start + 1024, len(files)))
            yield from pool.map(lambda number: _of_file(store, files[number], number, kept), some)


def _of_file(store: Store, file: str, number: int, kept: KeptColumns) -> Entries:
    with store.fs.open_input_file(store.path(file)) as opened:
        table = kept.read(pq.ParquetFile(opened), ["key", "url", "source"])
    names = {name for column in ("key", "url") for name in table[column].to_pylist() if name}
    for source in table["source"].to_pylist():
        whole = (source or "", (source or "").partition("!")[2])  # with the archive's name, and without
        names |= {name for one in whole for name in named_by(one) if name}
    entries = np.empty(len(names), ENTRY)
    entries["hash"] = [xxhash.xxh3_64_intdigest(name.encode()) for name in names]
    entries["file"] = number
    return entries


def named_by(source: str) -> tuple[str, str, str]:
    """The names by which a source is found: the source, the page or row that it is a part of, and its file."""
    return source, re.sub(rf"{PART}$", "", source), source.rpartition("#")[0]


def _append(waiting: list[Entries], folder: Path) -> None:
    if not waiting:
        return
    entries = np.concatenate(waiting)
    partition = (entries["hash"] % np.uint64(PARTITIONS)).astype(np.int64)
    order = np.argsort(partition, kind="stable")
    edges = np.searchsorted(partition[order], np.arange(PARTITIONS + 1))
    for number in np.flatnonzero(np.diff(edges)).tolist():
        with (folder / _name(number)).open("ab") as file:
            file.write(entries[order[edges[number] : edges[number + 1]]].tobytes())


def _sort(path: Path) -> str:
    """Sort a partition's file by hash; returns its checksum."""
    body = b""
    with suppress(FileNotFoundError):
        entries = np.fromfile(path, ENTRY)
        body = entries[np.argsort(entries["hash"], kind="stable")].tobytes()
    path.write_bytes(body)
    return xxhash.xxh3_64_hexdigest(body)


def _name(partition: int) -> str:
    return f"{partition:03d}"
