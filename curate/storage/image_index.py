"""Where each image lies in a shard or pack, and its checksum: an index that is written into the file itself.

It stands in the Parquet footer under `curate.images`, so it is published, moved and deleted with its file, and
costs a reader no request beyond the footer's. A reader takes an image by its place alone, past the checksums
of the pages; the index's checksum of each image (XXH3, 32 of its 64 bits) takes their part. Readers that know
nothing of it see one more key in the footer's metadata.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from curate.storage.parquet_pages import (
    DICTIONARY_PAGE,
    Buffer,
    Header,
    chunk_range,
    page_header,
    values_start,
)
from curate.storage.parquet_pages import walk_values as walk

KEY = b"curate.images"
FORMAT = 1
LEAVES = ("image.bytes", "images.list.element.bytes")  # of shards, of packs
MAX_HEADER = 2**16  # bytes; statistics in a page's header hold a value at each end

Ints = npt.NDArray[np.int64]
Sums = npt.NDArray[np.uint32]


class IndexedImages(NamedTuple):
    """The images of a row group that are there, in order (K of them)."""

    offset: Ints  # bytes from the start of the file
    size: Ints  # bytes
    sum: Sums  # `checksum` of the bytes


def checksum(data: Buffer) -> int:
    """The lower 32 bits of XXH3-64: at the speed of memory, and as good at finding damage as any 32 bits."""
    return xxhash.xxh3_64_intdigest(data) & 0xFFFFFFFF


def write_groups(sink: Any, tables: Iterable[pa.Table], schema: pa.Schema, options: dict[str, Any]) -> int:
    """Write the tables to a stream as a Parquet file, a row group each, with the index of their images.

    Returns how many rows they have.
    """
    rows, schema = 0, without_index(schema)
    recorder = Recorder(sink, schema)
    with pq.ParquetWriter(pa.PythonFile(recorder, mode="w"), schema, **options) as writer:
        for table in tables:
            table = table.cast(schema)
            recorder.begin(table)
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
            rows += table.num_rows
        if (index := recorder.index()) is not None:
            writer.add_key_value_metadata({KEY.decode(): index})
    return rows


def without_index(schema: pa.Schema) -> pa.Schema:
    """The schema without an index that it was read with: it is of another file."""
    told = dict(schema.metadata or {})
    return schema.with_metadata(told) if told.pop(KEY, None) is not None else schema


def read_index(parquet: pq.ParquetFile, leaf: str) -> list[IndexedImages] | None:
    """The index that the file was written with, by row group; None where it has none that is its own.

    A file that other software wrote anew may hold an older one's: the chunks' places tell.
    """
    told = (parquet.metadata.metadata or {}).get(KEY)
    try:
        found = _decode(told) if told else None
        groups = [parquet.metadata.row_group(number) for number in range(parquet.num_row_groups)]
        if found is None or len(found["chunks"]) != len(groups):
            return None
        pairs = [pair for pair in zip(groups, found["chunks"], strict=True) if pair[0].num_rows]
        if any(chunk_range(group, leaf)[1:] != tuple(chunk[:2]) for group, chunk in pairs):
            return None
        return _by_group(found)
    except (ValueError, KeyError, IndexError, TypeError):
        return None


class Recorder(io.RawIOBase):
    """A stream on the way to `target` that notes where the images of each row group come to lie.

    It reads the pages that pass, one at a time, of the columns up to that of the images.
    """

    def __init__(self, target: Any, schema: pa.Schema) -> None:
        self._target, self._at = target, 0
        self._leaf = next((leaf for leaf in LEAVES if _column(leaf) in schema.names), None)
        self._before = schema.names[: schema.get_field_index(_column(self._leaf))] if self._leaf else []
        self._pending = bytearray()  # the beginning of a page
        self._header: Header | None = None  # of that page, once it is there
        self._entries: list[int] = []  # of this group's columns up to the images, how many are to come
        self._written = ImageNotes([], [], [], [])
        self._sound = self._leaf is not None

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Pass on all of `data`."""
        self._target.write(data)
        self._at += len(data)
        if self._entries and self._sound:
            self._pending += data
            self._sound = self._read()
        return len(data)

    def begin(self, table: pa.Table) -> None:
        """A row group of this table is written next."""
        self._sound = self._sound and not self._entries
        if self._leaf is not None:
            names = (*self._before, _column(self._leaf)) if table.num_rows else ()
            self._entries = [_entries(table[name]) for name in names]
            self._written.chunks.append([self._at, 0, 0])
            self._pending.clear()

    def index(self) -> str | None:
        """The index of all row groups; None where there is none to be had."""
        if not self._sound or self._entries:
            return None
        return self._written.encode()

    def _read(self) -> bool:
        """Read what pages are there; False where they are not what they should be."""
        try:
            while self._entries and (header := self._next_header()) is not None:
                end = header.length + header.size
                if len(self._pending) < end:
                    return True
                self._page(header, end)
                del self._pending[:end]
                self._header = None
        except (ValueError, KeyError):
            return False
        return True

    def _next_header(self) -> Header | None:
        if self._header is None and self._pending:
            try:
                self._header = page_header(self._pending, 0)
            except ValueError:
                if len(self._pending) > MAX_HEADER:
                    raise
        return self._header

    def _page(self, header: Header, end: int) -> None:
        """Note a page's images, if it holds any; `end` is where it ends among the pending bytes."""
        start = self._at - len(self._pending)  # the place in the file of what is pending
        if len(self._entries) == 1:
            levels = 1 if self._leaf == LEAVES[0] else 2
            with memoryview(self._pending) as page:
                self._written.add(page[:end], values_start(page, header.length, header, levels), start)
        if header.kind != DICTIONARY_PAGE:
            self._entries[0] -= header.fields[1]
        if self._entries[0] < 0:
            raise ValueError("a page holds more than its column")
        while self._entries and self._entries[0] == 0:
            del self._entries[0]
            if len(self._entries) == 1:
                self._written.chunks[-1][0] = start + end


class ImageNotes(NamedTuple):
    """What is noted of the images as they are written."""

    chunks: list[list[int]]  # of each row group: its image column's first byte, bytes, pages
    pages: list[list[int]]  # of each page: the place of its first value, how many it holds
    sizes: list[int]  # of each image, bytes
    sums: list[int]  # of each image

    def add(self, page: memoryview, first: int, start: int) -> None:
        """Note the images in a page, whose values begin at byte `first`; it lies at `start` of its file."""
        offsets: list[int] = []
        known = len(self.sizes)
        walk(page, first, len(page), 0, offsets, self.sizes)
        for offset, size in zip(offsets, self.sizes[known:], strict=True):
            self.sums.append(checksum(page[offset : offset + size]))
        self.pages.append([start + first, len(offsets)])
        self.chunks[-1][1] += len(page)
        self.chunks[-1][2] += 1

    def encode(self) -> str:
        """As JSON, its arrays in base64."""
        arrays = {"sizes": np.array(self.sizes, "<u4"), "sums": np.array(self.sums, "<u4")}
        text = {name: base64.b64encode(array.tobytes()).decode() for name, array in arrays.items()}
        told = {"format": FORMAT, "chunks": self.chunks, "pages": self.pages} | text
        return json.dumps(told, separators=(",", ":"))


def _decode(told: bytes) -> dict[str, Any] | None:
    """The index as it was written; None where it is of another format."""
    found = json.loads(told)
    if not isinstance(found, dict) or found["format"] != FORMAT:
        return None
    for name in ("sizes", "sums"):
        found[name] = np.frombuffer(base64.b64decode(found[name], validate=True), "<u4")
    return found


def _by_group(found: dict[str, Any]) -> list[IndexedImages]:
    """An index parted by row groups.

    Raises:
        ValueError: its parts do not go together.
    """
    pages = np.array(found["pages"], np.int64).reshape(-1, 2)
    sizes, sums = found["sizes"].astype(np.int64), found["sums"].astype(np.uint32)
    ends = np.cumsum(pages[:, 1])
    if not len(sizes) == len(sums) == (ends[-1] if len(ends) else 0):
        raise ValueError("an index has more or fewer images than its pages")
    past = np.cumsum(sizes + 4) - sizes  # bytes of its page's values before it, as if all were one page
    firsts = ends - pages[:, 1]
    page = np.repeat(np.arange(len(pages)), pages[:, 1])
    offsets = pages[page, 0] + past - (past - 4)[firsts[page]] if len(sizes) else past
    cuts = np.append(0, ends)[np.cumsum([0, *(chunk[2] for chunk in found["chunks"])])]
    return [IndexedImages(offsets[a:b], sizes[a:b], sums[a:b]) for a, b in pairwise(cuts)]


def _column(leaf: str) -> str:
    return leaf.split(".", 1)[0]


def _entries(column: pa.ChunkedArray) -> int:
    """How many entries a flat column or a list of flat ones has in Parquet: an empty list is one, too."""
    if not pa.types.is_list(column.type):
        return len(column)
    lengths = pc.list_value_length(column).fill_null(0)
    return int(pc.sum(pc.max_element_wise(lengths, 1)).as_py() or 0)
