"""Check one shard by itself: its metadata, its rows and its images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import tasks
from curate.children.pool import Children
from curate.engine.journal import SELECTION
from curate.images.header_sides import header_sides
from curate.schema import SHARD_FORMS, conform, shard_metadata
from curate.storage.store import Store
from curate.tasks.chat import dialogue_faults, dialogue_strings
from curate.tasks.dialogue_places import place_faults, shown_in
from curate.tasks.flat_regions import flatten
from curate.tasks.formats import CONVERSATION
from curate.tasks.shard_rows import dialogue_boxes
from curate.tasks.turns import turns_of
from curate.verifying.images import decoders, dialogue_image_problems, image_problems
from curate.verifying.keys import as_bytes
from curate.verifying.parquet_checks import file_problems
from curate.verifying.selections import part_problems

NAMED = 5  # at most so many damaged images of a row group are reported
RENDERED = ["dataset", "task", "language", "text", "regions", "width", "height"]


class ExpectedShards(msgspec.Struct, frozen=True):
    """The values of a run's manifest that its shards are compared with."""

    digest: str
    scorer: dict[str, Any] | None
    cleaned: bool
    image: dict[str, Any]  # the manifest's settings of images
    selection: bool = False  # the files are parts of a selection, not shards

    @property
    def form(self) -> pa.Schema:
        """The columns of its shards."""
        return SHARD_FORMS[bool(self.image.get("fingerprints"))]

    def check(self, folder: str, children: int) -> ShardCheck:
        """Make the object that checks these shards, with `children` child processes that decode their images."""
        return ShardCheck(folder, self, children)

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> ExpectedShards:
        """Take the values from this manifest (the whole of `_manifest.json`)."""
        settings = manifest["manifest"]
        return cls(
            manifest["manifest_digest"],
            manifest["scorer"],
            bool(settings["clean"]),
            settings["image"],
            manifest.get("kind") == SELECTION,
        )


class Checked(msgspec.Struct, frozen=True):
    """The result for one shard: its problems, and the keys of its rows, in the form that `as_bytes` returns."""

    path: str
    problems: list[str]
    keys: bytes


class ShardCheck:
    """Checks shards of one run, with child processes that decode their images."""

    def __init__(self, folder: str, terms: ExpectedShards, children: int) -> None:
        self._store, self._terms = Store(folder), terms
        self._children = decoders(terms.image, children)

    def __call__(self, listed: Mapping[str, Any]) -> Checked:
        """Check a shard; `listed` is its entry with `path`, `rows`, `bytes` and `sha256`."""
        keys: list[bytes] = []

        def look(reader: pq.ParquetFile) -> Iterator[str]:
            return _shard_problems(reader, self._terms, keys, self._children)

        if self._terms.selection:
            problems = list(part_problems(self._store, listed, self._terms.digest, keys))
        else:
            problems = list(file_problems(self._store, listed, self._terms.form, look))
        return Checked(listed["path"], problems, b"".join(keys))

    def close(self) -> None:
        """Stop the child processes."""
        self._children.close()


def _shard_problems(
    reader: pq.ParquetFile, terms: ExpectedShards, keys: list[bytes], children: Children
) -> Iterator[str]:
    if not _says_so(reader.schema_arrow.metadata or {}, terms):
        yield "its schema's metadata are not of this run"
    first = 0
    for group in range(reader.num_row_groups):
        table = reader.read_row_group(group)
        keys.append(as_bytes(table["key"]))
        yield from _row_problems(table, terms.cleaned)
        yield from islice(image_problems(table, first, children), NAMED)
        yield from islice(dialogue_image_problems(table, first, children), NAMED)
        first += table.num_rows


def _says_so(metadata: Mapping[bytes, bytes], terms: ExpectedShards) -> bool:
    """Whether a shard's metadata hold what `datasets` needs, this manifest's digest, and this run's scorer."""
    expected = shard_metadata(terms.digest, terms.scorer, terms.form)
    try:
        told, ours = (msgspec.json.decode(one[b"curate"]) for one in (metadata, expected))
    except (KeyError, msgspec.MsgspecError):
        return False
    same = all(told.get(name) == ours[name] for name in ("manifest", "scorer"))
    return same and metadata.get(b"huggingface") == expected[b"huggingface"]


def _row_problems(table: pa.Table, cleaned: bool) -> Iterator[str]:
    """Yield what is wrong with rows of SHARD, each kind of problem once; `cleaned`: whether texts were cleaned."""
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
    if _outside(table.filter(alone)) or _outside_in_dialogues(table.filter(talks)):
        yield "a region lies outside its image"


def _rendered_the_same(table: pa.Table, paths: pa.Array, cleaned: bool) -> bool:
    """Whether prompts and targets are what the other columns give when they are rendered again.

    A shard has no columns for question and answer: `text` holds both, and the answer is also the target. Where texts
    were cleaned, the question cannot be recovered from them, and rows with questions are not checked.
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
    """Whether prompts and targets of dialogues are what their messages and images give when rendered again."""
    if not table.num_rows:
        return True
    images = _one(table["images"])
    sizes = pc.list_value_length(images).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    if dialogue_faults(table["messages"], sizes, regions=table["regions"]).null_count < table.num_rows:
        return False
    edges = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int32())
    shown = pa.ListArray.from_arrays(edges, pc.struct_field(pc.list_flatten(images), "path"))
    spoken = dialogue_strings(table["messages"], shown, boxes=dialogue_boxes(table, header_sides))
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
    width, height = (table[side].take(parents).to_numpy() for side in ("width", "height"))
    return _beyond(quads, width, height)


def _outside_in_dialogues(table: pa.Table) -> bool:
    """Whether a corner of a dialogue's region lies more than a pixel outside the image that it belongs to."""
    boxes = dialogue_boxes(table, header_sides)
    if boxes is None:
        return False
    turns = turns_of(table["messages"])
    other, broken = place_faults(turns, boxes.regions)
    if other.any() or broken.any():
        return True
    row, image = shown_in(turns)
    at = boxes.starts[row] + image
    return _beyond(flatten(boxes.regions).quad, boxes.width[at], boxes.height[at])


def _beyond(quads: np.ndarray, width: np.ndarray, height: np.ndarray) -> bool:
    x, y = quads[:, 0::2], quads[:, 1::2]
    right, bottom = width[:, None] + 1, height[:, None] + 1
    return bool((~((x >= -1) & (x <= right) & (y >= -1) & (y <= bottom))).any())


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
