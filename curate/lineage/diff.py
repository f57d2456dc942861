"""`curate diff`: compares two runs: their settings, their counts by reason, and the keys of their rows.

Files that both runs list with the same hash are not opened. For the rows of all other files, the key and a hash of the
row are written to a temporary folder, partitioned by key. The partitions are compared one by one, so memory does not
grow with the runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from curate.engine.retry import finished_manifest
from curate.errors import DamagedError, OutputError
from curate.storage.filesystems import one_line
from curate.storage.finished import check_complete, listed_files
from curate.storage.listing import as_shards
from curate.storage.scratch import ScratchFolder
from curate.storage.shards import Shard
from curate.storage.store import HashingSink, Store
from curate.terminal import printable

PARTITION_ROWS = 1_000_000
NAMED = 10  # keys of each kind that are given as examples
FATES = ("added", "removed", "changed")
COMPARED = (
    *("dataset", "task", "language", "text", "prompt", "target", "url", "source", "sha256", "extra"),
    *("width", "height", "clip_score"),
    *("regions", "messages"),
    "image.path",
)  # an image is compared by its `sha256`; features are not compared: they depend on image and scorer only
ENTRY = np.dtype([("key", "V16"), ("digest", "<u8"), ("side", "u1")])
KEYS = pa.schema([("key", pa.string()), ("fate", pa.string())])

Entries = npt.NDArray[np.void]


class ComparedRun(NamedTuple):
    """One of the two runs."""

    store: Store
    manifest: dict[str, Any]
    shards: list[Shard]


def diff(folder: str, other: str, keys: str = "") -> dict[str, Any]:
    """Return how the run in `other` differs from the run in `folder`.

    The result has `settings` (path -> the two values), `counts` (`rows_in`, `rows_out` and each reason -> the two
    numbers), `added`, `removed` and `changed` (numbers of keys), `same` (number of shards that both have), `inputs`
    (the two numbers of inputs), and `examples` (up to NAMED keys of each kind).

    Args:
        folder: folder (path or URI) of the one run.
        other: folder (path or URI) of the other run.
        keys: a Parquet file to write all differing keys to (columns `key` and `fate`); empty: none is written.

    Raises:
        InputError: a folder holds no complete run.
        DamagedError: a shard is missing or cannot be read.
        OutputError: `keys` cannot be written.
    """
    sides = [_side(folder), _side(other)]
    both = {(one.path, one.sha256) for one in sides[0].shards} & {
        (one.path, one.sha256) for one in sides[1].shards
    }
    left = [[one for one in side.shards if (one.path, one.sha256) not in both] for side in sides]
    rows = max(sum(one.rows for one in shards) for shards in left)
    with ScratchFolder() as scratch:
        partitions = RowPartitions(scratch, rows)
        for number, (side, shards) in enumerate(zip(sides, left, strict=True)):
            for entries in _entries(side.store, shards, number):
                partitions.add(entries)
        counts, examples = _compared(partitions, keys)
    before, after = (side.manifest for side in sides)
    return {
        "folders": [folder, other],
        "settings": dict(_differences(before["manifest"], after["manifest"])),
        "inputs": [len(before["inputs"]), len(after["inputs"])],
        "counts": _counts(before, after),
        **counts,
        "same": len(both),
        "examples": examples,
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that tell a person how two runs differ; `found` is what `diff` returned."""
    for path, (before, after) in found["settings"].items():
        yield f"{printable(path)}: {printable(str(before))} → {printable(str(after))}"
    if not found["settings"]:
        yield "settings: the same"
    for name, (before, after) in found["counts"].items():
        if before != after:
            yield f"{name:30} {before:>14,} {after:>14,} {after - before:>+12,}"
    changes = ", ".join(f"{found[fate]:,} {fate}" for fate in FATES)
    yield f"keys: {changes}; shards that both have: {found['same']:,}"
    for fate in FATES:
        if found["examples"][fate]:
            yield f"  {fate:8} {' '.join(found['examples'][fate])}"


def _side(folder: str) -> ComparedRun:
    manifest, store = finished_manifest(folder), Store(folder)
    files = listed_files(store, manifest)
    check_complete(store, files, "shard")
    return ComparedRun(store, manifest, as_shards(files))


def _differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Yield the paths at which two manifests differ, each with the two values (None: the key is missing)."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before | after:
            yield from _differences(before.get(name), after.get(name), f"{path}.{name}".removeprefix("."))
    elif before != after:
        yield path, [before, after]


def _counts(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[int]]:
    named = {name: [before[name], after[name]] for name in ("rows_in", "rows_out")}
    reasons = {**before["dropped"], **after["dropped"]}
    return named | {one: [before["dropped"].get(one, 0), after["dropped"].get(one, 0)] for one in reasons}


def _entries(store: Store, shards: Sequence[Shard], side: int) -> Iterator[Entries]:
    """Yield, for each shard, its keys with hashes of their rows; a bounded number of shards is read at once."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) + 2 if store.local else 32) as pool:
        for start in range(0, len(shards), 64):
            yield from pool.map(lambda one: _of_shard(store, one, side), shards[start : start + 64])


def _of_shard(store: Store, shard: Shard, side: int) -> Entries:
    try:
        with store.fs.open_input_file(store.path(shard.path)) as file:
            reader = pq.ParquetFile(file, page_checksum_verification=True)
            there = {name.partition(".")[0] for name in reader.schema_arrow.names}
            columns = [name for name in COMPARED if name.partition(".")[0] in there]
            parts = [
                _of_table(reader.read_row_group(n, ["key", *columns]), side)
                for n in range(reader.num_row_groups)
            ]
    except (OSError, ValueError, KeyError) as error:
        raise DamagedError(
            f"cannot read {store.uri}/{shard.path}: {one_line(error)}; `curate verify` on its folder names the damaged"
        ) from None
    return np.concatenate([np.zeros(0, ENTRY), *parts])


def _of_table(table: pa.Table, side: int) -> Entries:
    entries = np.zeros(table.num_rows, ENTRY)
    keys = [bytes.fromhex(key).ljust(16, b"\0")[:16] for key in table["key"].to_pylist()]
    rows = table.drop_columns(["key"]).to_pylist()
    entries["key"] = np.frombuffer(b"".join(keys), "V16") if keys else np.zeros(0, "V16")
    entries["digest"] = [xxhash.xxh3_64_intdigest(repr(row).encode("utf-8", "surrogatepass")) for row in rows]
    entries["side"] = side
    return entries


class RowPartitions:
    """Entries (ENTRY) of two runs in files, partitioned by key: all entries of a key are in one file."""

    def __init__(self, folder: Path, rows: int) -> None:
        """Use `folder` for the files; `rows` is about the number of entries of each run."""
        self.folder, self.count = folder, max(1, -(-rows // PARTITION_ROWS))

    def add(self, entries: Entries) -> None:
        """Append each entry to its partition."""
        if not len(entries):
            return
        first = np.frombuffer(entries["key"].tobytes(), ">u8")[::2]
        partition = (first % np.uint64(self.count)).astype(np.int64)
        for number in np.unique(partition).tolist():
            with self._path(number).open("ab") as file:
                file.write(entries[partition == number].tobytes())

    def __iter__(self) -> Iterator[pa.Table]:
        """Yield the keys of each partition that differ, and how (rows of KEYS)."""
        for number in range(self.count):
            if self._path(number).exists():
                yield _fates(np.fromfile(self._path(number), ENTRY))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}"


def _fates(entries: Entries) -> pa.Table:
    """Return the keys that were added, removed or changed (rows of KEYS, sorted by key)."""
    names = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(entries), [None, pa.py_buffer(np.ascontiguousarray(entries["key"]).tobytes())]
    )
    table = pa.table({"key": names, "digest": entries["digest"], "side": entries["side"]})
    sides = [table.filter(pc.equal(table["side"], side)).select(["key", "digest"]) for side in (0, 1)]
    sides = [_one_a_key(side) for side in sides]
    joined = sides[0].join(sides[1], "key", join_type="full outer", right_suffix="_now").sort_by("key")
    gone, new = pc.is_null(joined["digest_now"]), pc.is_null(joined["digest"])
    other = pc.fill_null(pc.not_equal(joined["digest"], joined["digest_now"]), False)
    fate = pc.if_else(gone, "removed", pc.if_else(new, "added", pc.if_else(other, "changed", None)))
    hexed = pa.array([key.hex() for key in joined["key"].to_pylist()], pa.string())
    told = pa.table([hexed, fate.cast(pa.string())], schema=KEYS)
    return told.filter(pc.is_valid(told["fate"]))


def _one_a_key(side: pa.Table) -> pa.Table:
    """Return one row for each key; if a key occurs several times, the hashes of its rows are summed."""
    digest = side.set_column(1, "digest", side["digest"].cast(pa.uint64()))
    summed = digest.group_by("key").aggregate([("digest", "sum")])
    return summed.rename_columns({"digest_sum": "digest"}).select(["key", "digest"])


def _compared(partitions: RowPartitions, keys: str) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Count the keys of each fate and return the counts and some examples; write all keys to `keys`, if given."""
    counts, examples = dict.fromkeys(FATES, 0), {fate: list[str]() for fate in FATES}

    def counted() -> Iterator[pa.Table]:
        for table in partitions:
            for fate in FATES:
                mine = table["key"].filter(pc.equal(table["fate"], fate))
                counts[fate] += len(mine)
                examples[fate] += mine.slice(0, NAMED - len(examples[fate])).to_pylist()
            yield table

    if not keys:
        for _ in counted():
            pass
        return counts, examples
    folder, _, name = keys.rpartition("/")

    def fill(sink: HashingSink) -> None:
        with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), KEYS, compression="zstd") as writer:
            for table in counted():
                writer.write_table(table)

    try:
        _write_alone(folder, name, fill)
    except OSError as error:
        raise OutputError(f"cannot write {keys}: {one_line(error)}") from None
    return counts, examples


def _write_alone(folder: str, name: str, fill: Any) -> None:
    """Write one complete file into a folder that belongs to no run, and leave nothing beside it."""
    if "://" in folder:
        Store(folder).write(name, fill)
        return
    part = Path(folder or ".") / f".{name}.part"
    with part.open("wb") as file:
        fill(HashingSink(file))
    part.replace(Path(folder or ".") / name)
