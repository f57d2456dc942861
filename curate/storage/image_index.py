"""Where each image lies in a shard or pack, and its checksum: an index that is written into the file itself.

It stands in the Parquet footer under `curate.images`, so it is published, moved and deleted with its file, and
costs a reader no request beyond the footer's. A reader takes an image by its place alone, past the checksums
of the pages; the index's checksum of each image (XXH3, 32 of its 64 bits) takes their part. Readers that know
nothing of it see one more key in the footer's metadata.

Where several rows of a file show one image, its column is dictionary-encoded: a row group holds an image once, and
the index says which of them each row shows. The images of dialogues are a second column with an index of its own.
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
AT_ONCE = 2**18  # bytes: a file comes in a hundred small pieces
MAX_HEADER = 2**16  # bytes; statistics in a page's header hold a value at each end

Ints = npt.NDArray[np.int64]
Sums = npt.NDArray[np.uint32]


class IndexedImages(NamedTuple):
    """The images of a row group that are there, in order (K of them); those of several rows may be one."""

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
    """The schema without an index that it was read with: it is of another file."""
    told = dict(schema.metadata or {})
    return schema.with_metadata(told) if told.pop(KEY, None) is not None else schema


def read_index(parquet: pq.ParquetFile, leaf: str) -> list[IndexedImages] | None:
    """The index of a column that the file was written with, by row group; None where it has none that is its own.

    A file that other software wrote anew may hold an older one's: the chunks' places tell.
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
    """A stream on the way to `target` that notes where the images of each row group come to lie.

    It reads the pages that pass, one at a time, of the columns up to the last one of images.
    """

    def __init__(self, target: Any, schema: pa.Schema) -> None:
        self._target, self._at = target, 0
        self._schema = schema
        self._pending = bytearray()  # the beginning of a page
        self._header: Header | None = None  # of that page, once it is there
        self._columns: list[
            ColumnEntries
        ] = []  # of this group's columns up to the images, those that are to come
        self._written = {leaf: ImageNotes() for leaf in LEAVES if _field(leaf) in schema.names}
        self._sound = bool(self._written)

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Pass on all of `data`."""
        self._target.write(data)
        self._at += len(data)
        if self._columns and self._sound:
            self._pending += data
            self._sound = self._read()
        return len(data)

    def begin(self, table: pa.Table) -> None:
        """A row group of this table is written next."""
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
        """The index of all row groups; None where there is none to be had."""
        if not self._sound or self._columns:
            return None
        (_, first), *more = self._written.items()
        told = first.told()
        told |= {_field(leaf): written.told() for leaf, written in more if written.pages}
        return json.dumps({"format": FORMAT} | told, separators=(",", ":"))

    def _read(self) -> bool:
        """Read what pages are there; False where they are not what they should be."""
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
        """Note a page's images, if it holds any; `end` is where it ends among the pending bytes."""
        start = self._at - len(self._pending)  # the place in the file of what is pending
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
    """A leaf column of a row group, and how many of its entries are to come: an empty list is one, too."""

    leaf: str
    entries: int


@dataclass
class ImageNotes:
    """What is noted of the images of a column as they are written."""

    chunks: list[list[int]] = field(default_factory=list)  # of a row group: its first byte, bytes, pages
    pages: list[list[int]] = field(
        default_factory=list
    )  # of each page: its first value's place, how many it holds
    sizes: list[int] = field(default_factory=list)  # of each image that is stored, bytes
    sums: list[int] = field(default_factory=list)
    shown: list[pa.Array] = field(default_factory=list)  # the row group on its way
    codes: list[Ints] = field(default_factory=list)  # of each row group: which stored image each row's is
    entries: list[int] = field(default_factory=list)  # of each row group: how many images its rows have
    dictionary: bool = False

    def add(self, page: memoryview, header: Header, start: int, levels: int) -> None:
        """Note the images in a page, which lies at `start` of its file.

        Raises:
            ValueError: it is not as it should be.
        """
        if header.kind == DICTIONARY_PAGE:
            self.dictionary, first = True, header.length
        elif self.dictionary:
            if encoding(header) == PLAIN:
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
        """Note which image each row shows, where they are stored in a dictionary.

        Raises:
            ValueError: the dictionary is another one than it should be.
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
        """What the index says of the column, arrays in base64."""
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
    """What an index says of a column; None where it is of another format."""
    found = json.loads(told)
    if not isinstance(found, dict) or found["format"] != FORMAT:
        return None
    found = found.get(_field(leaf), found)
    for name in ("sizes", "sums", "codes"):
        if name in found:
            found[name] = np.frombuffer(base64.b64decode(found[name], validate=True), "<u4")
    return dict(found)


def _by_group(found: dict[str, Any]) -> list[IndexedImages]:
    """An index parted by row groups.

    Raises:
        ValueError: its parts do not go together.
        IndexError: a row shows an image that is not there.
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
    """The images that each row group's rows show, of those that it stores."""
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
    """The images of a column of structs, or of lists of them."""
    return pc.struct_field(pc.list_flatten(column) if pa.types.is_list(column.type) else column, "bytes")


def _entries(array: pa.Array, absent: int = 0) -> Iterator[tuple[str, int]]:
    """Each leaf of a column by its path in it, and how many entries it has in Parquet.

    A null or empty list is an entry, too; `absent` counts those above the array.
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
