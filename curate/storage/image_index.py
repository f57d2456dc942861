"""The image index of a shard or pack: offset, size and checksum of each image, written into the file itself.

The index is stored in the Parquet footer under `curate.images`. So it is published, moved and deleted with its file,
and a reader needs no request beyond the one for the footer. A reader fetches an image by its byte range, without the
page around it, so it cannot verify the page's checksum; the index has a checksum of each image instead (XXH3, 32 of
its 64 bits). For readers that do not know the index, it is one more key in the footer's metadata.

Where several rows of a file show the same image, the column is dictionary-encoded: a row group holds the image once,
and the index says which image each row shows. The images of dialogues are a second column with an index of its own.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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
    PLAIN,
    Buffer,
    Header,
    chunk_range,
    encoding,
    page_header,
    values_start,
)
from curate.storage.parquet_pages import walk_values as walk

KEY = b"curate.images"
FORMAT = 1
LEAVES = ("image.bytes", "images.list.element.bytes")  # of shards, of packs
AT_ONCE = 2**18  # bytes that are written at once: Arrow writes a file in very many small pieces
MAX_HEADER = 2**16  # bytes; a page's header may hold its least and its largest value

Ints = npt.NDArray[np.int64]
Sums = npt.NDArray[np.uint32]


class IndexedImages(NamedTuple):
    """The images of a row group's rows, in order, without rows that have none (K); several may be the same image."""

    offset: Ints  # bytes from the start of the file
    size: Ints  # bytes
    sum: Sums  # `checksum` of the bytes


def checksum(data: Buffer) -> int:
    """The lower 32 bits of XXH3-64: as fast as memory is read, and finds damage as well as any 32-bit checksum."""
    return xxhash.xxh3_64_intdigest(data) & 0xFFFFFFFF


def write_groups(sink: Any, tables: Iterable[pa.Table], schema: pa.Schema, options: dict[str, Any]) -> int:
    """Write tables to the stream `sink` as a Parquet file, one row group for each, with the index of their images.

    `options` are those of `pq.ParquetWriter`. Returns the number of rows written.
    """
    rows, schema = 0, without_index(schema)
    recorder = Recorder(sink, schema)
    with (
        pa.BufferedOutputStream(pa.PythonFile(recorder, mode="w"), AT_ONCE) as stream,
        pq.ParquetWriter(stream, schema, **options) as writer,
    ):
        for table in tables:
            table = table.cast(schema)
            stream.flush()
            recorder.begin(table)
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
            rows += table.num_rows
        stream.flush()
        if (index := recorder.index()) is not None:
            writer.add_key_value_metadata({KEY.decode(): index})
    return rows


def without_index(schema: pa.Schema) -> pa.Schema:
    """The schema without an image index, which belongs to the file that the schema was read from."""
    told = dict(schema.metadata or {})
    return schema.with_metadata(told) if told.pop(KEY, None) is not None else schema


def read_index(parquet: pq.ParquetFile, leaf: str) -> list[IndexedImages] | None:
    """The index of the column `leaf`, one item for each row group; None where the file has no valid index.

    Other software may copy the index into a file that it writes. Such an index is recognised by the offsets of its
    column chunks, and ignored.
    """
    told = (parquet.metadata.metadata or {}).get(KEY)
    try:
        found = _decode(told, leaf) if told else None
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
    """A stream that passes on all bytes to `target`, and records the offsets of each row group's images.

    It parses the pages that pass, one at a time, of all columns up to the last column of images.
    """

    def __init__(self, target: Any, schema: pa.Schema) -> None:
        self._target, self._at = target, 0
        self._schema = schema
        self._pending = bytearray()  # the bytes of the current page so far
        self._header: Header | None = None  # the header of that page, once it is complete
        self._columns: list[
            ColumnEntries
        ] = []  # the row group's columns, up to the images, that are not yet written
        self._written = {leaf: ImageNotes() for leaf in LEAVES if _field(leaf) in schema.names}
        self._sound = bool(self._written)

    def writable(self) -> bool:
        """Always true."""
        return True

    def write(self, data: Any) -> int:
        """Pass on all of `data`; returns its length."""
        self._target.write(data)
        self._at += len(data)
        if self._columns and self._sound:
            self._pending += data
            self._sound = self._read()
        return len(data)

    def begin(self, table: pa.Table) -> None:
        """Prepare for the next row group, which holds this table."""
        self._sound = self._sound and not self._columns
        if not self._written:
            return
        for written in self._written.values():
            written.chunks.append([self._at, 0, 0])
        first, *others = self._written
        wanted = [first, *(leaf for leaf in others if table[_field(leaf)].null_count < table.num_rows)]
        last = max(self._schema.get_field_index(_field(leaf)) for leaf in wanted)
        names = self._schema.names[: last + 1] if table.num_rows else []
        self._columns = [
            ColumnEntries(f"{name}{path}", entries)
            for name in names
            for path, entries in _entries(_one(table[name]))
        ]
        while self._columns and self._columns[-1].leaf not in wanted:
            self._columns.pop()
        for leaf in wanted if table.num_rows else ():
            self._written[leaf].shown = [_one(table[_field(leaf)])]
        self._pending.clear()

    def index(self) -> str | None:
        """The index of all row groups as JSON; None where the pages were not as expected."""
        if not self._sound or self._columns:
            return None
        (_, first), *more = self._written.items()
        told = first.told()
        told |= {_field(leaf): written.told() for leaf, written in more if written.pages}
        return json.dumps({"format": FORMAT} | told, separators=(",", ":"))

    def _read(self) -> bool:
        """Parse the complete pages among the pending bytes; False where they are not as expected."""
        try:
            while self._columns and (header := self._next_header()) is not None:
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
        """Record the images of a page, if it holds any; `end` is the page's end in the pending bytes."""
        start = self._at - len(self._pending)  # offset of the pending bytes in the file
        column = self._columns[0]
        if (written := self._written.get(column.leaf)) is not None:
            levels = column.leaf.count(".list.") + 1
            with memoryview(self._pending) as page:
                written.add(page[:end], header, start, levels)
        if header.kind != DICTIONARY_PAGE:
            column.entries -= header.fields[1]
        if column.entries < 0:
            raise ValueError("a page holds more than its column")
        if column.entries == 0:
            del self._columns[0]
            if written is not None:
                written.end_chunk()


@dataclass
class ColumnEntries:
    """A leaf column of a row group, and how many of its entries are still to come (an empty list is an entry too)."""

    leaf: str
    entries: int


@dataclass
class ImageNotes:
    """What is recorded of a column's images as they are written."""

    chunks: list[list[int]] = field(default_factory=list)  # of each row group: first byte, bytes, pages
    pages: list[list[int]] = field(
        default_factory=list
    )  # of each page: the offset of its first value, and its number of values
    sizes: list[int] = field(default_factory=list)  # of each image that is stored, bytes
    sums: list[int] = field(default_factory=list)
    shown: list[pa.Array] = field(default_factory=list)  # the images of the row group that is being written
    codes: list[Ints] = field(default_factory=list)  # of each row group: the stored image that each row shows
    entries: list[int] = field(default_factory=list)  # of each row group: how many images its rows have
    dictionary: bool = False

    def add(self, page: memoryview, header: Header, start: int, levels: int) -> None:
        """Record the images in a page (with its header), which begins at byte `start` of the file.

        `levels` is how many kinds of levels stand before the values; see `value_places`.

        Raises:
            ValueError: the page is not encoded as expected.
        """
        if header.kind == DICTIONARY_PAGE:
            self.dictionary, first = True, header.length
        elif self.dictionary:
            if encoding(header) == PLAIN:  # the writer gave up the dictionary because it was full
                raise ValueError("a dictionary was full")
            self._count(len(page), start)
            return
        else:
            first = values_start(page, header.length, header, levels)
        offsets: list[int] = []
        known = len(self.sizes)
        walk(page, first, len(page), 0, offsets, self.sizes)
        for offset, size in zip(offsets, self.sizes[known:], strict=True):
            self.sums.append(checksum(page[offset : offset + size]))
        self._count(len(page), start)
        self.pages.append([start + first, len(offsets)])
        self.chunks[-1][2] += 1

    def end_chunk(self) -> None:
        """At the end of a column chunk with a dictionary, record which image each row shows.

        Raises:
            ValueError: the dictionary has another number of images than the rows.
        """
        shown = self.shown.pop()
        if not self.dictionary:
            return
        encoded = bodies(shown).drop_null().dictionary_encode()
        if len(encoded.dictionary) != self.pages[-1][1]:
            raise ValueError("a dictionary holds more or fewer images than its rows")
        self.codes.append(encoded.indices.to_numpy().astype(np.int64))
        self.entries.append(len(encoded))

    def told(self) -> dict[str, Any]:
        """The column's index as JSON data, with arrays in base64."""
        arrays = {"sizes": np.array(self.sizes, "<u4"), "sums": np.array(self.sums, "<u4")}
        if self.dictionary:
            arrays["codes"] = np.concatenate(self.codes).astype("<u4")
        text = {name: base64.b64encode(array.tobytes()).decode() for name, array in arrays.items()}
        more = {"entries": self.entries} if self.dictionary else {}
        return {"chunks": self.chunks, "pages": self.pages} | text | more

    def _count(self, size: int, start: int) -> None:
        if not self.chunks[-1][1]:
            self.chunks[-1][0] = start
        self.chunks[-1][1] += size


def _decode(told: bytes, leaf: str) -> dict[str, Any] | None:
    """The index of a column, from the JSON in the footer; None where its format is another version's."""
    found = json.loads(told)
    if not isinstance(found, dict) or found["format"] != FORMAT:
        return None
    found = found.get(_field(leaf), found)
    for name in ("sizes", "sums", "codes"):
        if name in found:
            found[name] = np.frombuffer(base64.b64decode(found[name], validate=True), "<u4")
    return dict(found)


def _by_group(found: dict[str, Any]) -> list[IndexedImages]:
    """Split an index by row groups.

    Raises:
        ValueError: the numbers of images in its parts differ.
        IndexError: a row shows an image that the index lacks.
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
    groups = [IndexedImages(offsets[a:b], sizes[a:b], sums[a:b]) for a, b in pairwise(cuts)]
    return groups if "codes" not in found else _shown(groups, found)


def _shown(groups: list[IndexedImages], found: dict[str, Any]) -> list[IndexedImages]:
    """For each row group, the images that its rows show, from the images that it stores."""
    codes, ends = found["codes"].astype(np.int64), np.cumsum([0, *found["entries"]])
    if len(ends) != len(groups) + 1 or ends[-1] != len(codes):
        raise ValueError("an index has more or fewer entries than its row groups")
    parts = [codes[a:b] for a, b in pairwise(ends)]
    return [
        IndexedImages(*(values[mine] for values in group)) for group, mine in zip(groups, parts, strict=True)
    ]


def _field(leaf: str) -> str:
    return leaf.split(".", 1)[0]


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def bodies(column: pa.Array) -> pa.Array:
    """The encoded images in a column of structs, or of lists of structs (one after the other)."""
    return pc.struct_field(pc.list_flatten(column) if pa.types.is_list(column.type) else column, "bytes")


def _entries(array: pa.Array, absent: int = 0) -> Iterator[tuple[str, int]]:
    """Yield each leaf of a column: its path within the column, and its number of entries in Parquet.

    A null or empty list is an entry too; `absent` is the number of such lists above the array.
    """
    kind = array.type
    if pa.types.is_struct(kind):
        for one in kind:
            for path, count in _entries(pc.struct_field(array, one.name), absent):
                yield f".{one.name}{path}", count
    elif pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        empty = pc.sum(pc.equal(pc.list_value_length(array).fill_null(0), 0)).as_py() or 0
        for path, count in _entries(pc.list_flatten(array), absent + empty):
            yield f".list.element{path}", count
    else:
        yield "", len(array) + absent
