"""`curate verify` of packs: check their checksums and every sequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.journal import MANIFEST
from curate.errors import DamagedError
from curate.schema import DROPPED
from curate.storage.filesystems import NOT_JSON, one_line
from curate.storage.finished import files_there, listed_dropped, listed_files, strange_files
from curate.storage.listing import SHARDS
from curate.storage.shards import Shard
from curate.storage.store import PublishedFile, Store
from curate.verifying.dropped import count_dropped, dropped_counts
from curate.verifying.listed import UNLISTED, Problems, each_listed, table_problems
from curate.verifying.pack_checks import ExpectedPacks, Tally
from curate.verifying.parquet_checks import file_problems
from curate.verifying.runners import checkers

NEEDED = ("settings", "tokenizer", "dropped", "tasks", "shards")


def finished_packs(store: Store) -> dict[str, Any] | None:
    """The `_manifest.json` of a folder of packs; None where the folder holds something else."""
    try:
        manifest = msgspec.json.decode(store.read_bytes(MANIFEST) or b"null")
    except NOT_JSON:
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("kind") == "packs" else None


class PackedSettings(msgspec.Struct, frozen=True):
    """The fields of the packs' settings that the checks rely on."""

    seq_len: int


class PackedTokens(msgspec.Struct, frozen=True):
    """The fields of the packs' tokenizer that the checks rely on."""

    vocabulary: int


class PacksShape(msgspec.Struct, frozen=True):
    """The fields of the packs' `_manifest.json` that the checks rely on."""

    settings: PackedSettings
    tokenizer: PackedTokens
    dropped: dict[str, int]
    tasks: dict[str, dict[str, float]]
    shards: list[Shard]
    tables: list[PublishedFile] = []


def _fault(manifest: dict[str, Any]) -> str | None:
    """What the manifest lacks, or which of its fields is malformed, in words; None where it is sound."""
    if lacking := [name for name in NEEDED if name not in manifest]:
        return f"it lacks {', '.join(lacking)}"
    try:
        msgspec.convert(manifest, PacksShape)
    except msgspec.ValidationError as error:
        return f"it is damaged: {error}"
    return None


def verify_packs(
    store: Store, manifest: dict[str, Any], workers: int | None = None, address: str | None = None
) -> dict[str, Any]:
    """Check a folder of packs; `workers` and `address` say which processes check the files, as for `verify`.

    `manifest` is the whole of the folder's `_manifest.json`. `damaged` of the result maps files to their problems.

    Raises:
        MachineError, UnitError: Ray cannot be used, or a worker died again and again.
    """
    if fault := _fault(manifest):
        return {"packs": 0, "sequences": 0, "damaged": {MANIFEST: [fault]}}
    try:
        packs = listed_files(store, manifest)
    except DamagedError as error:
        return {"packs": 0, "sequences": 0, "damaged": {SHARDS: [str(error)]}}
    damaged, tally = Problems(), Tally()
    with closing(checkers(store.uri, ExpectedPacks.of(manifest), len(packs), workers, address)) as who:
        for checked in who.map(each_listed(packs)):
            if checked.problems:
                damaged[checked.path] = checked.problems
            for task, counts in checked.tally.items():
                tally.setdefault(task, Counter()).update(counts)
    damaged |= {name: [UNLISTED] for name in strange_files(packs, files_there(store, "pack"))}
    damaged |= table_problems(store, manifest)
    if problems := list(_dropped_problems(store, manifest)):
        damaged["_dropped"] = problems
    told = {task: Counter(counts) for task, counts in manifest["tasks"].items()}
    for counts in told.values():
        counts.pop("padding", None)
    if not damaged and told != tally:
        damaged[MANIFEST] = [f"its counts by task are {told}, and the packs hold {tally}"]
    sequences = pc.sum(packs["rows"]).as_py() or 0
    return {"packs": len(packs), "sequences": sequences, "damaged": dict(sorted(damaged.items()))}


def _dropped_problems(store: Store, manifest: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the files of dropped rows; rows that the mixture leaves out are in no file."""
    there: Counter[str] = Counter()
    try:
        listed = listed_dropped(store)
        if listed is None:  # packs of an older version
            for name in store.names("_dropped"):
                there.update(dropped_counts(store, f"_dropped/{name}"))
    except (DamagedError, OSError, ValueError, pa.ArrowException) as error:
        yield f"cannot be read: {one_line(error)[:200]}"
        return
    sound = True
    for one in [] if listed is None else listed.to_pylist():
        for problem in file_problems(store, one, DROPPED, lambda reader: count_dropped(reader, there)):
            sound = False
            yield f"{one['path'].removeprefix('_dropped/')}: {problem}"
    told = {reason: count for reason, count in manifest["dropped"].items() if reason != "left_out_by_mix"}
    if sound and there != told:
        yield f"holds {dict(there)} instead of {told}"
