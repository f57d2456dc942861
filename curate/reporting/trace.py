"""`curate trace`: find the shard rows, sources and URLs that a packed sequence, or one token of it, comes from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.engine.retry import finished_manifest
from curate.errors import CurateError, InputError, ManifestError
from curate.reporting import row_index
from curate.reporting.key_lookup import INDEXED_FILES, KEY, REMOTE_READS, read_rows, run_files
from curate.storage.dataset import find
from curate.storage.filesystems import filesystem, one_line, scheme
from curate.storage.finished import read_manifest
from curate.storage.store import Store
from curate.terminal import plural, printable

PLACE = re.compile(
    r"(?:(?P<file>pack-[0-9]{6,12}\.parquet)#)?(?P<row>[0-9]{1,12})(?::(?P<token>[0-9]{1,9}))?"
)
FORM = "a key (32 hex digits), or SEQUENCE or SEQUENCE:TOKEN, numbers from 0, such as 17:250 or pack-000003.parquet#5"
SHOWN = ("dataset", "task", "source", "url", "text")
MAX_PLACES = 1000  # at most so many sequences are listed for one key


class PackedSample(NamedTuple):
    """A sample of a packed sequence."""

    pack: str
    row: int  # the sequence's number in the pack, from 0
    key: str
    start: int  # the sample's first token in the sequence, from 0
    stop: int  # one past its last token


def trace(pack: str, token_or_key: str, shards: Sequence[str] = ()) -> dict[str, Any]:
    """Find the shard rows that the samples of a packed sequence come from, or the sequences that hold a sample.

    `pack` is a folder of packs, or one pack's file. `token_or_key` is a sample's key, or `SEQUENCE` or
    `SEQUENCE:TOKEN`, numbers from 0; sequences are counted over all packs of the folder, or in the one pack. The shards
    are looked for in the folders `shards`, or, where none are given, where they were when the packs were made.

    `samples` has for each sample its `pack`, `row`, `tokens` (start and stop), `key`, and, where its row was found,
    `folder`, `shard`, `shard_row`, `dataset`, `task`, `source`, `url` and `text`. `gone` lists the folders of shards
    that do not exist or cannot be read any more.

    Raises:
        ManifestError: `token_or_key` has none of these forms, or no such sequence or token exists.
        InputError: the folder holds no packs, a file cannot be read, or the shards lie on another store and `shards`
            was not given.
    """
    folder, only = _packs(pack)
    manifest = read_manifest(Store(folder))
    if manifest is None or manifest.get("kind") != "packs":
        raise InputError(f"{folder} holds no packs: give the folder of `curate pack --out`, or a pack in it")
    files = [(one.uri.rsplit("/", 1)[-1], one.rows) for one in find([folder], "pack").files]
    files = [one for one in files if only in ("", one[0])]
    try:
        samples = list(_samples(Store(folder), files, token_or_key))
        sources = _sources(manifest, shards)
        if strange := [one for one in sources if scheme(one) not in ("file", scheme(folder)) and not shards]:
            raise InputError(
                f"{folder} was made of {strange[0]}: to look for the rows there, give --shards {strange[0]}"
            )
        places, gone = _locate({one.key for one in samples}, sources)
        told = [_told(one, places.get(one.key)) for one in samples]
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read what {folder} was made of: {one_line(error)}") from None
    return {"folder": folder, "asked": token_or_key, "samples": told, "gone": gone}


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines that show a person what `trace` found; `found` is its result."""
    if not found["samples"]:
        yield f"unknown: no sequence of {found['folder']} holds {printable(found['asked'])}"
    for one in found["samples"]:
        tokens = f"tokens {one['tokens'][0]} to {one['tokens'][1] - 1}"
        yield f"{one['pack']}, sequence {one['row']}, {tokens}: key {one['key']}"
        if "shard" not in one:
            yield "  its row was not found: the shard is gone, or the row was removed since"
            continue
        yield f"  {'shard':8} {one['folder']}/{one['shard']}, row {one['shard_row']}"
        for name in ("source", "url", "text"):
            if one.get(name):
                yield f"  {name:8} {printable(one[name])}"
    if found["gone"]:
        yield f"{plural(len(found['gone']), 'folder')} of shards gone: {', '.join(map(printable, found['gone']))}"


def _packs(uri: str) -> tuple[str, str]:
    """The folder of packs, and the name of the pack that is asked for (empty: all packs of the folder)."""
    if uri.endswith(".parquet"):
        folder, _, name = uri.rpartition("/")
        return folder or ".", name
    return uri.rstrip("/"), ""


def _samples(store: Store, files: Sequence[tuple[str, int]], asked: str) -> Iterator[PackedSample]:
    if KEY.fullmatch(asked):
        yield from _of_key(store, [name for name, _ in files], asked)
        return
    place = PLACE.fullmatch(asked)
    if place is None:
        raise ManifestError(f"{asked[:80]!r} is none of: {FORM}")
    name, row = _sequence(files, place["file"], int(place["row"]))
    yield from _of_sequence(store, name, row, None if place["token"] is None else int(place["token"]))


def _sequence(files: Sequence[tuple[str, int]], file: str | None, row: int) -> tuple[str, int]:
    """The pack, and the number in it, of the sequence with number `row` in the pack `file` (None: in all packs)."""
    rows = 0
    for name, count in files:
        if file in (None, name):
            if row < rows + count:
                return name, row - rows
            rows += count
    where = f"pack {file}" if file else "the packs"
    raise ManifestError(f"{where} there have {rows} sequences, numbered from 0: there is no {row}")


def _of_sequence(store: Store, name: str, row: int, token: int | None) -> Iterator[PackedSample]:
    (found,) = read_rows(store, name, [row], ["keys", "segments"])
    edges = found["segments"]
    if token is not None and not 0 <= token < edges[-1]:
        raise ManifestError(
            f"{name}, sequence {row} has {edges[-1]} tokens, numbered from 0: there is no {token}"
        )
    for key, start, stop in zip(found["keys"], edges, edges[1:], strict=False):
        if token is None or start <= token < stop:
            yield PackedSample(name, row, key, start, stop)


def _of_key(store: Store, names: Sequence[str], key: str) -> Iterator[PackedSample]:
    def rows(name: str) -> list[int]:
        with store.fs.open_input_file(store.path(name)) as file:
            keys = pq.ParquetFile(file, page_checksum_verification=True).read(["keys"], use_threads=False)[
                "keys"
            ]
        keys = keys.combine_chunks()
        hit = pc.equal(pc.list_flatten(keys), key)
        found: list[int] = pc.unique(pc.list_parent_indices(keys).filter(hit)).to_pylist()
        return found

    left = MAX_PLACES
    with ThreadPoolExecutor(_threads(store)) as pool:
        for name, places in zip(names, pool.map(rows, names), strict=True):
            for row in places[:left]:
                yield from (one for one in _of_sequence(store, name, row, None) if one.key == key)
            left -= len(places[:left])


def _sources(manifest: Mapping[str, Any], shards: Sequence[str]) -> dict[str, list[str]]:
    """The folders of the shards, each with the names of its shards (empty: all that the folder lists)."""
    if shards:
        return {one.rstrip("/"): [] for one in shards}
    absolute = [str(one) for one in manifest.get("made_of", ())]
    found: dict[str, list[str]] = {}
    for one in manifest.get("inputs", ()):
        folder, _, name = str(one["uri"]).rpartition("/")
        tail = "/" + folder.lstrip("./")
        known = [
            there for there in absolute if there == folder or ("://" not in folder and there.endswith(tail))
        ]
        found.setdefault(known[0] if known else folder or ".", []).append(name)
    return found


def _locate(
    keys: set[str], sources: Mapping[str, list[str]]
) -> tuple[dict[str, tuple[Store, str, int]], list[str]]:
    """Store, shard and row number of each key's row, and the folders that cannot be read any more."""
    found: dict[str, tuple[Store, str, int]] = {}
    gone: list[str] = []
    for folder, names in sources.items():
        left = keys - found.keys()
        if not left:
            break
        try:
            store, wanted = Store(folder), names
            if not filesystem(folder)[0].get_file_info(store.root).type:
                raise FileNotFoundError(folder)
            wanted = _candidates(store, names, left)
        except (CurateError, OSError):
            gone.append(folder)
            continue
        for name, key, row in _rows_of(store, wanted, left):
            found.setdefault(key, (store, name, row))
    return found, gone


def _candidates(store: Store, names: list[str], keys: Iterable[str]) -> list[str]:
    """The shards of a folder that may hold the keys: all, or in a large folder those that the index names."""
    if names and len(names) < INDEXED_FILES:
        return [name for name in names if store.exists(name)]
    files, content = run_files(store, finished_manifest(store.uri))
    found: set[str] = set()
    for key in keys:
        some = row_index.look_up(store, files, content, key) if len(files) >= INDEXED_FILES else files
        found.update(files if some is None else some)
    return sorted(name for name in found if not name.startswith("_dropped/"))


def _rows_of(store: Store, names: Sequence[str], keys: set[str]) -> Iterator[tuple[str, str, int]]:
    """Yield shard, key and row number of each of these keys, until all are found."""
    wanted, left = pa.array(sorted(keys), pa.string()), set(keys)

    def look(name: str) -> list[tuple[str, str, int]]:
        with store.fs.open_input_file(store.path(name)) as file:
            reader = pq.ParquetFile(file, page_checksum_verification=True)
            column = reader.read(["key"], use_threads=False)["key"]
        rows = pc.indices_nonzero(pc.is_in(column, wanted))
        return [(name, column[row].as_py(), row) for row in rows.to_pylist()]

    step = 8 * _threads(store)
    with ThreadPoolExecutor(_threads(store)) as pool:
        for start in range(0, len(names), step):
            for hits in pool.map(look, names[start : start + step]):
                left -= {key for _, key, _ in hits}
                yield from hits
            if not left:
                return


def _told(sample: PackedSample, place: tuple[Store, str, int] | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "pack": sample.pack,
        "row": sample.row,
        "tokens": [sample.start, sample.stop],
        "key": sample.key,
    }
    if place is None:
        return told
    store, name, row = place
    (found,) = read_rows(store, name, [row], SHOWN)
    told |= {"folder": store.uri, "shard": name, "shard_row": row}
    return told | {column: found[column] for column in SHOWN if column in found}


def _threads(store: Store) -> int:
    return len(os.sched_getaffinity(0)) + 2 if store.local else REMOTE_READS
