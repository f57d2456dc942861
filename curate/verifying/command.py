"""`curate verify`: every checksum and invariant of a finished run, or of packs, computed again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from itertools import islice, pairwise
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import tasks
from curate.children.pool import Children
from curate.engine.journal import MANIFEST, RUN, Begun
from curate.engine.record import UnitRecord, add_counts, count_reasons, summary
from curate.engine.records import every_record
from curate.engine.retry import finished_manifest
from curate.schema import DROPPED, SHARD, conform, shard_metadata
from curate.storage.finished import DamagedManifestError
from curate.storage.shards import dropped_name, unit_of
from curate.storage.store import Store
from curate.tasks.chat import dialogue_strings
from curate.tasks.formats import CONVERSATION
from curate.terminal import plural, printable
from curate.verifying.images import decoders, image_problems
from curate.verifying.packs import finished_packs, verify_packs
from curate.verifying.parquet import file_problems

NAMED = 5  # damaged images that are named, of one row group
RENDERED = ["dataset", "task", "language", "text", "regions", "width", "height"]


def verify(folder: str) -> dict[str, Any]:
    """What is damaged, file by file; nothing where all is well.

    Raises:
        InputError: the folder holds no complete run, nor packs.
    """
    store = Store(folder)
    packs = finished_packs(store)
    return verify_run(folder) if packs is None else verify_packs(store, packs)


def verify_run(folder: str) -> dict[str, Any]:
    """What is damaged of a run's folder.

    Raises:
        InputError: it holds no complete run.
    """
    store = Store(folder)
    try:
        manifest = finished_manifest(folder)
    except DamagedManifestError as error:
        return {"shards": 0, "rows": 0, "damaged": {MANIFEST: [str(error)]}}
    damaged: dict[str, list[str]] = {}
    keys: list[np.ndarray] = []
    with decoders(manifest, len(os.sched_getaffinity(0))) as children:

        def look(reader: pq.ParquetFile) -> Iterator[str]:
            return _shard_problems(reader, manifest, keys, children)

        for shard in manifest["shards"]:
            if problems := list(file_problems(store, shard, SHARD, look)):
                damaged[shard["path"]] = problems
    listed = {shard["path"] for shard in manifest["shards"]}
    for name in store.names():
        if unit_of(name) is not None and name not in listed:
            damaged[name] = ["it is not in the manifest: delete it, or move it away"]
    damaged |= _dropped_problems(store, manifest)
    if problems := list(_count_problems(store, manifest, keys)):
        damaged[MANIFEST] = problems
    return {"shards": len(listed), "rows": manifest["rows_out"], "damaged": damaged}


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `verify` or `repair` found, for a person."""
    for name in found.get("repaired", ()):
        yield f"{name}: made anew"
    for name, problems in found["damaged"].items():
        yield from (f"{name}: {printable(problem)}" for problem in problems)
    packs = "packs" in found
    rows, files = ("sequence", "pack") if packs else ("row", "shard")
    whole = f"{plural(found[f'{rows}s'], rows)} in {plural(found[f'{files}s'], files)}"
    damaged = len(found["damaged"])
    if not damaged:
        yield f"{whole}: all is as it should be"
    elif packs:
        yield f"{whole}: {plural(damaged, 'file')} damaged; pack again with --overwrite"
    elif set(found["damaged"]) == {MANIFEST}:
        yield f"{whole}: delete {MANIFEST} and run the same command again, which writes it anew from _run"
    elif "repaired" in found:
        yield f"{whole}: {plural(damaged, 'file')} could not be mended; run anew with --overwrite"
    else:
        yield f"{whole}: {plural(damaged, 'file')} damaged; `curate verify DIR --repair` makes them anew"


def _shard_problems(
    reader: pq.ParquetFile, manifest: dict[str, Any], keys: list[np.ndarray], children: Children
) -> Iterator[str]:
    if not _says_so(reader.schema_arrow.metadata or {}, manifest):
        yield "its schema's metadata are not of this run"
    first = 0
    for group in range(reader.num_row_groups):
        table = reader.read_row_group(group)
        keys.append(_key_hashes(table["key"]))
        yield from _row_problems(table, bool(manifest["manifest"]["clean"]))
        yield from islice(image_problems(table, first, children), NAMED)
        first += table.num_rows


def _says_so(metadata: Mapping[bytes, bytes], manifest: dict[str, Any]) -> bool:
    """Whether a shard says of itself what `datasets` needs, which manifest it is of, and who scored it."""
    expected = shard_metadata(manifest["manifest_digest"], manifest["scorer"])
    try:
        told, ours = (msgspec.json.decode(one[b"curate"]) for one in (metadata, expected))
    except (KeyError, msgspec.MsgspecError):
        return False
    same = all(told.get(name) == ours[name] for name in ("manifest", "scorer"))
    return same and metadata.get(b"huggingface") == expected[b"huggingface"]


def _row_problems(table: pa.Table, cleaned: bool) -> Iterator[str]:
    """What is wrong with rows of SHARD, whose texts were cleaned or not, once a kind of problem."""
    image = table["image"].combine_chunks()
    bodies, paths = pc.struct_field(image, "bytes"), pc.struct_field(image, "path")
    hashes = [None if not b.is_valid else hashlib.sha256(b.as_buffer()).hexdigest() for b in bodies]
    if not pa.array(hashes, pa.string()).equals(table["sha256"].combine_chunks()):
        yield "an image is not the one that sha256 names"
    if pc.any(pc.invert(pc.match_substring_regex(table["key"], "^[0-9a-f]{32}$"))).as_py():
        yield "a key is not 32 hex digits"
    talks = pc.equal(_one(table["task"]).cast(pa.string()), CONVERSATION).fill_null(False)
    alone = pc.invert(talks)
    same = _rendered_the_same(table.filter(alone), paths.filter(alone), cleaned)
    if not same or not _spoken_the_same(table.filter(talks)):
        yield "a prompt or target is not what its row's columns say"
    if _outside(table):
        yield "a region lies outside its image"


def _rendered_the_same(table: pa.Table, paths: pa.Array, cleaned: bool) -> bool:
    """Whether prompts and targets follow from the other columns.

    A shard holds a question and its answer together, as `text`, unless that was cleaned since: the answer is
    what the target says.
    """
    if cleaned:
        told = pc.invert(pc.is_in(_one(table["task"]).cast(pa.string()), pa.array(["vqa", "ocr_vqa"])))
        table, paths = table.filter(told), paths.filter(told)
    answers = [(target or " ")[1:] for target in table["target"].to_pylist()]
    texts = zip(table["text"].to_pylist(), answers, strict=True)
    questions = [(text or "").removesuffix(f" {answer}") for text, answer in texts]
    columns = {
        "question": pa.array(questions, pa.large_string()),
        "answer": pa.array(answers, pa.large_string()),
    }
    rows = table.select(RENDERED)
    for name, values in columns.items():
        rows = rows.append_column(name, values)
    rendered = tasks.render(conform(rows), paths)
    return all(
        made.cast(pa.string()).equals(_one(table[name]))
        for made, name in zip(rendered, ("prompt", "target"), strict=True)
    )


def _spoken_the_same(table: pa.Table) -> bool:
    """Whether dialogues' prompts and targets follow from their messages and the paths of their images."""
    if not table.num_rows:
        return True
    images = _one(table["images"])
    sizes = pc.list_value_length(images).fill_null(0).to_numpy(zero_copy_only=False)
    edges = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int32())
    shown = pa.ListArray.from_arrays(edges, pc.struct_field(pc.list_flatten(images), "path"))
    spoken = dialogue_strings(table["messages"], shown)
    return all(
        made.cast(pa.string()).equals(_one(table[name]))
        for made, name in zip(spoken, ("prompt", "target"), strict=True)
    )


def _outside(table: pa.Table) -> bool:
    """Whether a corner of a region lies outside its image by more than a pixel."""
    regions = _one(table["regions"])
    parents = pc.list_parent_indices(regions)
    if not len(parents):
        return False
    quads = (
        pc.list_flatten(pc.struct_field(pc.list_flatten(regions), "quad"))
        .to_numpy(zero_copy_only=False)
        .reshape(-1, 8)
    )
    width = table["width"].take(parents).to_numpy()[:, None]
    height = table["height"].take(parents).to_numpy()[:, None]
    x, y = quads[:, 0::2], quads[:, 1::2]
    return bool((~((x >= -1) & (x <= width + 1) & (y >= -1) & (y <= height + 1))).any())


def _count_problems(store: Store, manifest: dict[str, Any], keys: list[np.ndarray]) -> Iterator[str]:
    """What is wrong with the manifest's sums, in itself, with the shards, and with the journal."""
    dropped = sum(manifest["dropped"].values())
    if manifest["rows_in"] != manifest["rows_out"] + dropped:
        yield f"{manifest['rows_in']} rows in, but {manifest['rows_out']} out and {dropped} dropped"
    kept = sum(shard["rows"] for shard in manifest["shards"])
    if kept != manifest["rows_out"]:
        yield f"its shards hold {kept} rows instead of {manifest['rows_out']}"
    every = np.concatenate([np.zeros(0, dtype="S32"), *keys])
    if len(np.unique(every)) != len(every):
        yield f"{len(every) - len(np.unique(every))} keys occur twice"
    for before, after in pairwise(manifest["stages"]):
        if before["rows_out"] != after["rows_in"]:
            names = f"{before['name']} and {after['name']}"
            yield f"{before['rows_out']} and {after['rows_in']} rows between {names}"
    settings = json.dumps(manifest["manifest"], sort_keys=True)
    if hashlib.sha256(settings.encode()).hexdigest() != manifest["manifest_digest"]:
        yield "its settings are not those of its digest"
    yield from _journal_problems(store, manifest)


def _journal_problems(store: Store, manifest: dict[str, Any]) -> Iterator[str]:
    """Where the manifest says otherwise than the units' records, as far as these are there and describe it.

    They describe the run as it was before `curate score` changed its shards.
    """
    begun, done = store.read_bytes(RUN), sorted(records(store), key=lambda record: record.unit)
    inputs = [one["rows"] for one in manifest["inputs"]]
    if begun is not None and list(msgspec.json.decode(begun, type=Begun).rows) != inputs:
        yield "the rows of its inputs are not those that were planned"
    told = summary(done)
    if [one["sha256"] for one in told["shards"]] == [one["sha256"] for one in manifest["shards"]]:
        for name in ("inputs_in", "rows_in", "rows_out", "dropped", "stages"):
            if told[name] != manifest[name]:
                yield f"{name} is not the sum of what the units' records say"


def _dropped_problems(store: Store, manifest: dict[str, Any]) -> dict[str, list[str]]:
    """What is wrong with the files of dropped rows, by name; the journal knows what each holds."""
    damaged, written = dict[str, list[str]](), dict[str, dict[str, int]]()
    for name in (f"_dropped/{name}" for name in store.names("_dropped") if name.endswith(".parquet")):
        try:
            written[name] = _read_dropped(store, name)
        except (OSError, pa.ArrowException) as error:
            damaged[name] = [f"cannot be read: {' '.join(str(error).split())[:200]}"]
    if manifest["manifest"]["drops"]["sample"] < 1:
        return damaged
    expected = {dropped_name(record.unit): record.dropped for record in records(store)}
    strange = set(written) if expected and "scored" not in manifest else set()  # `curate score` adds files
    for name in sorted((strange | set(expected)) - set(damaged)):
        if difference := _counts_differ(written.get(name, {}), expected.get(name, {})):
            damaged[name] = [difference]
    if not damaged and (difference := _counts_differ(add_counts(written.values()), manifest["dropped"])):
        damaged["_dropped"] = [difference]
    return damaged


def _counts_differ(there: Mapping[str, int], told: Mapping[str, int]) -> str | None:
    """How rows by reason differ from those that were counted; None where they do not."""
    if sum(there.values()) != sum(told.values()):
        return f"holds {sum(there.values())} rows instead of {sum(told.values())}"
    for reason in {**told, **there}:
        if there.get(reason, 0) != told.get(reason, 0):
            return f"holds {there.get(reason, 0)} rows for {reason} instead of {told.get(reason, 0)}"
    return None


def _read_dropped(store: Store, name: str) -> dict[str, int]:
    """The rows of a file of dropped rows by reason, once all of it has been read."""
    counts: list[dict[str, int]] = []
    with store.fs.open_input_file(store.path(name)) as file:
        reader = pq.ParquetFile(file, page_checksum_verification=True)
        if not reader.schema_arrow.equals(DROPPED):
            raise pa.ArrowInvalid("its columns are not those of dropped rows")
        for group in range(reader.num_row_groups):
            counts.append(count_reasons(reader.read_row_group(group)["reason"].cast(pa.string())))
    return add_counts(counts)


def records(store: Store) -> Iterator[UnitRecord]:
    """The journal's records of finished units, as far as they are still there and whole."""
    return every_record(store)


def _key_hashes(key: pa.ChunkedArray) -> np.ndarray:
    return np.array(key.to_pylist(), dtype="S32")


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
