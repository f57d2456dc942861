"""What `curate verify` says of packs: their checksums, and what must be true of every sequence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.engine.journal import MANIFEST
from curate.errors import DamagedError
from curate.packing.sequences import pack_schema
from curate.schema import DROPPED
from curate.storage.filesystems import one_line
from curate.storage.finished import listed_dropped
from curate.storage.shards import Shard
from curate.storage.store import Store
from curate.verifying.dropped import count_dropped, dropped_counts
from curate.verifying.parquet_checks import file_problems

NEEDED = ("settings", "tokenizer", "dropped", "tasks", "shards")

Tally = dict[str, Counter[str]]  # by task: sequences, tokens, samples


def finished_packs(store: Store) -> dict[str, Any] | None:
    """The `_manifest.json` of a folder of packs; None where the folder holds something else."""
    try:
        manifest = msgspec.json.decode(store.read_bytes(MANIFEST) or b"null")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("kind") == "packs" else None


class PackedSettings(msgspec.Struct, frozen=True):
    """What is taken for granted of the settings that packs were made with."""

    seq_len: int


class PackedTokens(msgspec.Struct, frozen=True):
    """What is taken for granted of their tokenizer."""

    vocabulary: int


class PacksShape(msgspec.Struct, frozen=True):
    """What is taken for granted of the `_manifest.json` of packs."""

    settings: PackedSettings
    tokenizer: PackedTokens
    dropped: dict[str, int]
    tasks: dict[str, dict[str, float]]
    shards: list[Shard]


def _fault(manifest: dict[str, Any]) -> str | None:
    """What is wrong with the manifest in itself."""
    if lacking := [name for name in NEEDED if name not in manifest]:
        return f"it lacks {', '.join(lacking)}"
    try:
        msgspec.convert(manifest, PacksShape)
    except msgspec.ValidationError as error:
        return f"it is damaged: {error}"
    return None


def verify_packs(store: Store, manifest: dict[str, Any]) -> dict[str, Any]:
    """What is damaged in a folder of packs, file by file."""
    if fault := _fault(manifest):
        return {"packs": 0, "sequences": 0, "damaged": {MANIFEST: [fault]}}
    damaged: dict[str, list[str]] = {}
    tally: Tally = {}

    def look(reader: pq.ParquetFile) -> Iterator[str]:
        return _pack_problems(reader, manifest, tally)

    schema = pack_schema(manifest.get("dialect", {}).get("cost", {}).get("rule") == "smart_resize")
    for pack in manifest["shards"]:
        if problems := list(file_problems(store, pack, schema, look)):
            damaged[pack["path"]] = problems
    listed = {pack["path"] for pack in manifest["shards"]}
    for name in store.names():
        if name.startswith("pack-") and name not in listed:
            damaged[name] = ["it is not in the manifest: delete it, or move it away"]
    if problems := list(_dropped_problems(store, manifest)):
        damaged["_dropped"] = problems
    told = {task: Counter(counts) for task, counts in manifest["tasks"].items()}
    for counts in told.values():
        counts.pop("padding", None)
    if not damaged and told != tally:
        damaged[MANIFEST] = [f"its counts by task are {told}, and the packs hold {tally}"]
    return {
        "packs": len(listed),
        "sequences": sum(pack["rows"] for pack in manifest["shards"]),
        "damaged": damaged,
    }


def _pack_problems(reader: pq.ParquetFile, manifest: dict[str, Any], tally: Tally) -> Iterator[str]:
    told = json.loads((reader.schema_arrow.metadata or {}).get(b"curate", b"{}"))
    seq_len, vocabulary = manifest["settings"]["seq_len"], manifest["tokenizer"]["vocabulary"]
    if (told.get("tokenizer"), told.get("seq_len")) != (manifest["tokenizer"], seq_len):
        yield "its schema's metadata are not of these packs"
    problems: dict[str, None] = {}
    for group in range(reader.num_row_groups):
        table = reader.read_row_group(group)
        problems |= dict.fromkeys(_sequence_problems(table, seq_len, vocabulary))
        _count(table, tally)
    yield from problems


def _sequence_problems(table: pa.Table, seq_len: int, vocabulary: int) -> Iterator[str]:
    """What is wrong with sequences, once a kind of problem."""
    tokens, segments, images = (table[name].combine_chunks() for name in ("tokens", "segments", "images"))
    lengths = _lengths(tokens)
    if (lengths > seq_len).any():
        yield f"a sequence has more than {seq_len} tokens"
    if (lengths != _lengths(table["loss_mask"].combine_chunks())).any():
        yield "a loss mask is not as long as its tokens"
    flat = tokens.flatten().to_numpy(zero_copy_only=False)
    if len(flat) and not 0 <= flat.min() <= flat.max() < vocabulary:
        yield "a token is not of the tokenizer"
    counts, bounds = _lengths(segments), segments.flatten().to_numpy(zero_copy_only=False)
    if (counts != _lengths(table["keys"].combine_chunks()) + 1).any() or (counts < 2).any():
        yield "segments and keys do not go together"
    else:
        last = np.cumsum(counts) - 1
        inner = np.delete(np.arange(len(bounds)), last)
        if (
            bounds[last - counts + 1].any()
            or (bounds[last] != lengths).any()
            or (bounds[inner] >= bounds[inner + 1]).any()
        ):
            yield "segments do not cut a sequence into samples"
    starts = images.flatten().field("start").to_numpy(zero_copy_only=False)
    if ((starts < 0) | (starts >= np.repeat(lengths, _lengths(images)))).any():
        yield "an image stands outside its sequence"


def _lengths(lists: pa.ListArray) -> npt.NDArray[np.int64]:
    return np.asarray(pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False), np.int64)


def _count(table: pa.Table, tally: Tally) -> None:
    """Count sequences, tokens and samples by task."""
    counted = (
        pa.table(
            {
                "task": table["task"].cast(pa.string()),
                "tokens": pc.list_value_length(table["tokens"]),
                "samples": pc.list_value_length(table["keys"]),
            }
        )
        .group_by("task")
        .aggregate([("tokens", "count"), ("tokens", "sum"), ("samples", "sum")])
    )
    for row in counted.to_pylist():
        tally.setdefault(row["task"], Counter()).update(
            sequences=row["tokens_count"], tokens=row["tokens_sum"], samples=row["samples_sum"]
        )


def _dropped_problems(store: Store, manifest: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the rows that were dropped; what the mixture leaves out is only counted."""
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
