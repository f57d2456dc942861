"""Checks rows of shards that other software wrote, before they are packed or exported.

Rows that curate wrote were checked in a run. In other shards an image may be missing, cut short or of another size than
its columns say, a text may not be UTF-8, and a box of a dialogue may be outside its image.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.children.pool import Children, Limits, Outcome
from curate.images import protocol
from curate.manifest.settings import ImageSettings
from curate.storage.image_index import LEAVES, read_index
from curate.tasks.coordinates import beyond_image
from curate.tasks.dialogue_places import shown_in
from curate.tasks.flat_regions import flatten
from curate.tasks.formats import CONVERSATION, FORMATS
from curate.tasks.turns import turns_of

AHEAD = 32  # images on their way
REMEMBERED = 1024  # images of which it is known what decoding found
NOT_UTF8 = "text_not_utf8"
NAMES = ("key", "dataset", "task", "source", "url")

Bools = npt.NDArray[np.bool_]


class RowFault(NamedTuple):
    """The reason why a row cannot be used, and the fact that decided."""

    reason: str
    detail: str | None = None


class _Shown(NamedTuple):
    """An image of a row: its number in the row's list, from 1, or 0 for the row's own."""

    row: int
    number: int
    body: bytes
    path: str | None

    def told(self, detail: str | None) -> str:
        """What decided, with the image's number in a list."""
        return f"image {self.number}: {detail}" if self.number else detail or ""


def is_foreign(parquet: pq.ParquetFile) -> bool:
    """Whether other software wrote a shard: it lacks the index of its images that curate writes."""
    return all(read_index(parquet, leaf) is None for leaf in LEAVES)


class ForeignRows:
    """Checks such rows. The child processes that decode their images start with the first image.

    Args:
        processes: number of child processes.
    """

    def __init__(self, processes: int = 1) -> None:
        self._processes = processes
        self._children: Children | None = None

    def faults(self, table: pa.Table) -> list[RowFault | None]:
        """Return the first fault of each row of a shard (N items); None for a row without one.

        `text_not_utf8`, `image_missing`, `name_unsafe` (no key, or an image without a path), what decoding finds
        (`not_an_image`, `damaged`, `format_not_allowed`, …), `image_changed` (another size than the row's),
        `box_broken` (of a dialogue, wholly beyond its image).
        """
        broken = bad_text(table)
        found = [RowFault(NOT_UTF8) if bad else None for bad in broken.tolist()]
        rows = np.flatnonzero(~broken)
        sound = table.take(pa.array(rows))
        for row, fault in self._image_faults(sound):
            place = int(rows[row])
            found[place] = found[place] or fault
        return found

    def close(self) -> None:
        """End the child processes."""
        if self._children is not None:
            self._children.close()

    def _image_faults(self, table: pa.Table) -> Iterator[tuple[int, RowFault]]:
        yield from missing_images(table)
        yield from nameless(table)
        size = _sizes(table)
        sides: dict[int, dict[int, tuple[int, int]]] = {}
        for shown, outcome in self._decoded(_bodies(table)):
            if outcome.value is None:
                yield shown.row, RowFault(outcome.reason or "damaged", shown.told(outcome.detail))
                continue
            image = protocol.read_answer(outcome.value, shown.body)
            there = (image.width, image.height)
            if image.reason is not None:
                yield shown.row, RowFault(image.reason, shown.told(image.detail))
            elif not shown.number and size[shown.row] not in (None, there):
                said = "{}x{}".format(*size[shown.row] or ())
                yield shown.row, RowFault("image_changed", "published={} found={}x{}".format(said, *there))
            sides.setdefault(shown.row, {})[shown.number] = there
        yield from _boxes_beyond(table, sides)

    def _decoded(self, images: Iterator[_Shown]) -> Iterator[tuple[_Shown, Outcome]]:
        """Yield each image with a child process's answer; an image that several rows show is decoded once."""
        flying: deque[tuple[_Shown, Future[Outcome]]] = deque()
        known: dict[bytes, Future[Outcome]] = {}
        for shown in images:
            digest = hashlib.sha256(shown.body).digest()
            if digest not in known:
                if len(known) == REMEMBERED:
                    known.clear()
                known[digest] = self._decoders.submit(shown.body)
            flying.append((shown, known[digest]))
            while len(flying) > AHEAD:
                first, future = flying.popleft()
                yield first, future.result()
        for first, future in flying:
            yield first, future.result()

    @property
    def _decoders(self) -> Children:
        if self._children is None:
            settings = ImageSettings(formats=protocol.STORED)
            limits = Limits(timeout_s=settings.timeout_s, memory_bytes=settings.memory_bytes)
            told = protocol.child_settings(settings, {})
            self._children = Children(protocol.TARGET, self._processes, limits, told)
        return self._children


def bad_text(table: pa.Table) -> Bools:
    """Return which rows hold a text that is not UTF-8 (N)."""
    broken = np.zeros(table.num_rows, bool)
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if _is_valid(column):
            continue
        # a slice of lists would be validated with all that other rows hold
        broken |= [not _is_valid(column.take(pa.array([row]))) for row in range(len(column))]
    return broken


def without_rows(table: pa.Table, which: Bools) -> pa.Table:
    """Replace the values of some rows by null, except in the columns of NAMES whose text is valid UTF-8.

    `which` says which of the N rows.
    """
    if not which.any():
        return table
    made = table.take(pa.array(np.arange(table.num_rows), mask=which))
    for name in NAMES:
        if name in table.column_names and not bad_text(table.select([name])).any():
            made = made.set_column(table.schema.get_field_index(name), name, table[name])
    return made


def _is_valid(column: pa.ChunkedArray) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def missing_images(table: pa.Table) -> Iterator[tuple[int, RowFault]]:
    """Yield the rows that lack an image their task or prompt needs, or have an image without bytes in a list."""
    tasks = table["task"].cast(pa.string()).to_pylist()
    prompts = table["prompt"].to_pylist() if "prompt" in table.column_names else [None] * len(tasks)
    sizes = (
        pc.binary_length(pc.struct_field(table["image"].combine_chunks(), "bytes")).fill_null(0).to_pylist()
    )
    for row, (task, prompt, size) in enumerate(zip(tasks, prompts, sizes, strict=True)):
        asked = task in FORMATS and task != "text"
        if not size and task != CONVERSATION and (asked or "<img>" in (prompt or "")):
            yield row, RowFault("image_missing")
    for row, sizes in enumerate(_list_sizes(table)):
        if 0 in sizes:
            yield row, RowFault("image_missing", f"image {sizes.index(0) + 1}: it has no bytes")


def nameless(table: pa.Table) -> Iterator[tuple[int, RowFault]]:
    """Yield the rows without a key, and those with an image without a path."""
    for row in np.flatnonzero(table["key"].is_null().to_numpy()).tolist():
        yield row, RowFault("name_unsafe", "it has no key")
    for shown in _bodies(table):
        if shown.path is None:
            yield shown.row, RowFault("name_unsafe", shown.told("it has no path"))


def _list_sizes(table: pa.Table) -> list[list[int]]:
    """Return the number of bytes of each image in each row's list (N lists); 0 for an image without bytes."""
    if "images" not in table.column_names:
        return []
    lists = table["images"].combine_chunks()
    flat = pc.binary_length(pc.struct_field(pc.list_flatten(lists), "bytes")).fill_null(0)
    ends = np.cumsum(pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)).tolist()
    return [flat[start:end].to_pylist() for start, end in zip([0, *ends], ends, strict=False)]


def _bodies(table: pa.Table) -> Iterator[_Shown]:
    """Yield the images that have bytes, row by row."""
    lists = table["images"] if "images" in table.column_names else pa.nulls(table.num_rows)
    for row in range(table.num_rows):
        for number, image in enumerate([table["image"][row].as_py(), *(lists[row].as_py() or ())]):
            if image is not None and image["bytes"]:
                yield _Shown(row, number, image["bytes"], image["path"])


def _sizes(table: pa.Table) -> list[tuple[int, int] | None]:
    """Return the stated width and height of each row (N); None for a row that lacks either."""
    pairs = zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True)
    return [None if width is None or height is None else (width, height) for width, height in pairs]


def _boxes_beyond(
    table: pa.Table, sides: dict[int, dict[int, tuple[int, int]]]
) -> Iterator[tuple[int, RowFault]]:
    """Yield the dialogues that have a box completely outside its image, given the sides of each row's images."""
    if not {"messages", "regions"} <= set(table.column_names):
        return
    tasks: list[Any] = table["task"].cast(pa.string()).to_pylist()
    for row, images in sides.items():
        if tasks[row] != CONVERSATION:
            continue
        one = table.slice(row, 1)
        quads = flatten(one["regions"].combine_chunks()).quad
        places = shown_in(turns_of(one["messages"]))[1] + 1
        if len(places) != len(quads) or not set(places.tolist()) <= set(images):
            continue  # `curate.tasks.chat.dialogue_faults` tells
        width, height = np.array([images[place] for place in places.tolist()], np.int64).reshape(-1, 2).T
        beside = np.flatnonzero(beyond_image(quads, width, height))
        if len(beside):
            place = int(beside[0])
            yield row, RowFault("box_broken", f"region {place + 1}: {quads[place].tolist()}")
