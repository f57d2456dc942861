"""Rows of shards or packs by their number, with their images' bytes: what every data set here reads from."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs
from xxhash import xxh3_64_intdigest

from curate.errors import DamagedError, InputError
from curate.loader.file_index import open_index
from curate.storage.dataset import DataFile, find
from curate.storage.filesystems import filesystem
from curate.storage.image_places import PLACE, REFERENCES, referred_shard
from curate.storage.ranges import OpenedFile

Ints = npt.NDArray[np.int64]
Row = dict[str, Any]
Place = tuple[int | str, int, int, int]  # number of the file, or its URI; offset and size in bytes; checksum

REMOTE_READS = 32  # at once, of an object store: a read there is mostly waiting
OPEN_FILES = 128  # at once in a process: a data set may have more than the system allows
OPEN_INDEXES = 1024
KEPT_BYTES = 24 << 20  # of freed memory, and twice as much, that glibc may keep (mallopt(3), at most 32 MiB)


OPTIONAL = {"image_grid_thw", "messages"}  # of packs of some dialects, and of all but old shards


class Fault(NamedTuple):
    """An image that cannot be had."""

    holder: Row  # what holds its place
    error: DamagedError


class ShardSource:
    """The rows of all files, numbered through. Each process that it is sent to opens the files anew.

    A row is a dictionary. At first, places (file, offset, size, checksum) stand for its images' bytes: in
    `image`, and in the `bytes` of each of a dialogue's or a pack's `images`; None where there is no image. The images
    that a pack refers to lie in the shards that it was made of. `fill` reads them, and compares their checksums unless
    `check` is False. A shard's row that is no dialogue has no list: its `images` is None.
    """

    def __init__(
        self, paths: Sequence[str], stem: str, columns: tuple[str, ...], cache: str = "", check: bool = True
    ) -> None:
        self._data = find(paths, stem)
        known = set(self._data.schema.names)
        columns = tuple(name for name in columns if name in known or name not in OPTIONAL)
        if unknown := set(columns) - known:
            raise InputError(f"{self._data.files[0].uri} has no column {', '.join(sorted(unknown))}")
        self._columns, self._cache, self._check = columns, cache, check
        self._refers = REFERENCES.name in known  # packs whose images lie in shards elsewhere
        self.digest = self._data.digest
        self.rows = self._data.rows
        self.files_of_paths = self._data.files_of
        self.file_rows = self._data.file_rows
        self.local = isinstance(filesystem(self._data.files[0].uri)[0], fs.LocalFileSystem)
        self._first = np.cumsum(np.append(0, self.file_rows))
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_file", "_table")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._open()

    def read(self, rows: Ints, damaged: list[DamagedError] | None = None) -> list[Row]:
        """The rows of those numbers, in that order, with their images; see `fill` for `damaged`.

        Raises:
            DamagedError: an image or a file is not what was written, or cannot be read.
        """
        return self.fill(self.light(rows), damaged)

    def light(self, rows: Ints) -> list[Row]:
        """The rows of those numbers, in that order, with places for their images' bytes."""
        found: list[Row] = [{}] * len(rows)
        file_of = np.searchsorted(self._first, rows, side="right") - 1
        for number in np.unique(file_of).tolist():
            mine = np.flatnonzero(file_of == number)
            batch = self._table(number).take(pa.array(rows[mine] - self._first[number]))
            for place, row in zip(mine.tolist(), _rows(batch, number), strict=True):
                found[place] = row
        return found

    def expect(self, rows: Iterable[Row]) -> None:
        """Ask the system to bring these rows' images from the disk meanwhile."""
        file_of = self._files()
        for holder, name in _holders(rows):
            file, offset, size, _ = holder[name]
            with suppress(DamagedError):  # reading will say so
                file_of(file).expect(offset, size)

    def fill(self, rows: Sequence[Row], damaged: list[DamagedError] | None = None) -> list[Row]:
        """Read the images' bytes: on a disk one by one, from an object store many at once.

        Returns the rows. Where `damaged` is given, rows with a damaged image are left out and named there.

        Raises:
            DamagedError: an image is not what was written, or its file cannot be read.
        """
        self._files()
        near = self.local and not (
            self._refers and any(_is_far(holder[name]) for holder, name in _holders(rows))
        )
        faults = self._fill_from_disk(rows) if near else self._fill_from_store(rows)
        if not faults:
            return list(rows)
        if damaged is None:
            raise faults[0].error
        damaged += [fault.error for fault in faults]
        lost = {id(fault.holder) for fault in faults}
        return [row for row in rows if lost.isdisjoint(_identities(row))]

    def _fill_from_disk(self, rows: Iterable[Row]) -> list[Fault]:
        """Put the bytes of each image in its place, one after another; those that cannot be had.

        Written out in one loop: on images in memory already, calls of ours would cost more than the checksums.
        """
        faults, file_of, check, read = list[Fault](), self._file, self._check, os.pread
        for holder, name in _holders(rows):
            file, offset, size, known = place = holder[name]
            try:
                body = read(file_of(file).descriptor, size, offset)
            except (OSError, DamagedError, OverflowError, MemoryError):  # the last two of a size that is none
                body = b""
            if len(body) == size and (
                not check or xxh3_64_intdigest(body) & 0xFFFFFFFF == known
            ):  # `checksum`
                holder[name] = body
            else:  # read once more, to say what is wrong
                faults += _placed(holder, name, self._body(place))
        return faults

    def _fill_from_store(self, rows: Iterable[Row]) -> list[Fault]:
        """The same, many at once."""
        holders = list(_holders(rows))
        bodies = _readers().map(self._body, [holder[name] for holder, name in holders])
        placed = (_placed(*of, body) for of, body in zip(holders, bodies, strict=True))
        return list(itertools.chain.from_iterable(placed))

    def _body(self, place: Place) -> bytes | DamagedError:
        file, offset, size, known = place
        try:
            body = self._file(file).read(offset, size)
        except DamagedError as error:
            return error
        if self._check and xxh3_64_intdigest(body) & 0xFFFFFFFF != known:  # `checksum`, without a call
            return self._damaged(place)
        return body

    def _damaged(self, place: Place) -> DamagedError:
        """The error that names the row, by the place of its image."""
        number, offset = place[:2]
        if isinstance(number, str):
            return DamagedError(
                f"{number}, the image at byte {offset}: its bytes are not those that were packed; `curate verify` on "
                "its folder names every damaged file"
            )
        file = self._data.files[number]
        row, key = row_of(file, self._table(number), offset)
        return DamagedError(
            f"{file.uri}, row {row}, key {key}: the image's bytes are not those that were written; "
            "`curate verify` on its folder names every damaged file, and with --repair makes shards anew"
        )

    def _files(self) -> Callable[[int | str], OpenedFile]:
        """What opens a file by its number or URI."""
        if os.getpid() != self._process:  # a fork has the parent's connections
            self._open()
        return self._file

    def _open(self) -> None:
        """Begin with no file open; in a worker process, or a fork of one, too."""
        self._process = os.getpid()
        _keep_freed_memory()
        self._file: Callable[[int | str], OpenedFile] = lru_cache(OPEN_FILES)(self._open_file)
        self._table: Callable[[int], pa.RecordBatch] = lru_cache(OPEN_INDEXES)(self._open_table)

    def _open_file(self, file: int | str) -> OpenedFile:
        """A file of this data set by its number, or a shard that a pack refers to.

        Raises:
            DamagedError: it cannot be opened, or is no shard on a disk or object store.
        """
        if isinstance(file, int):
            return OpenedFile(self._data.files[file].uri)
        return OpenedFile(referred_shard(file))

    def _open_table(self, number: int) -> pa.RecordBatch:
        table = open_index(self._data.files[number], self._columns, self._cache)
        return table.combine_chunks().to_batches()[0]


def row_of(file: DataFile, index: pa.RecordBatch, offset: int) -> tuple[int | str, str]:
    """The first row whose image lies at `offset`, and its key; of a pack the keys of the sequence's samples."""
    row: int | str = "unknown"
    if "place" in index.schema.names:
        found = pc.index(index["place"].field("offset"), offset).as_py()
        row = found if found >= 0 else row
    if row == "unknown" and "places" in index.schema.names:
        at = pc.index(pc.list_flatten(index["places"]).field("offset"), offset).as_py()
        row = pc.list_parent_indices(index["places"])[at].as_py()
    try:
        with file.open() as parquet:
            name = "key" if "key" in parquet.schema_arrow.names else "keys"
            key = parquet.read(columns=[name])[name][row].as_py()
    except (OSError, ValueError):
        return row, "unknown (its column is damaged, too)"
    return row, key if isinstance(key, str) else ", ".join(key)


def _rows(batch: pa.RecordBatch, file: int) -> list[Row]:
    """Rows of a file's index, with places for their images' bytes."""
    names = [name for name in batch.schema.names if name not in ("place", "places")]
    columns = [_values(batch[name]) for name in names]
    if "place" in batch.schema.names:
        names.append("image")
        columns.append(_places(batch["place"], file))
    names.append("images")
    several = "places" in batch.schema.names
    columns.append(_image_lists(batch["places"], file) if several else [None] * batch.num_rows)
    return _records(names, columns)


def _records(names: Sequence[str], columns: Sequence[Sequence[Any]]) -> list[Row]:
    """Columns as dictionaries, a row each: filled column by column, which takes a tenth of `dict(zip(…))` a row."""
    empty = dict.fromkeys(names)
    rows: list[Row] = [empty.copy() for _ in columns[0]]
    for name, column in zip(names, columns, strict=True):
        for row, value in zip(rows, column, strict=True):
            row[name] = value
    return rows


def _image_lists(places: pa.ListArray, file: int) -> list[list[Row] | None]:
    """The images of each row, with places for their bytes; None where it has no list of them."""
    flat = places.flatten()
    told = [field.name for field in flat.type if field.name not in ("uri", *PLACE.names)]
    columns = [flat.field(name).to_pylist() for name in told] + [_places(flat, file)]
    images = _records([*told, "bytes"], columns)
    ends = np.append(0, np.cumsum(places.value_lengths().fill_null(0).to_numpy())).tolist()
    valid = places.is_valid().to_pylist()
    return [
        images[start:end] if there else None
        for (start, end), there in zip(itertools.pairwise(ends), valid, strict=True)
    ]


def _places(place: pa.StructArray, file: int) -> list[Place | None]:
    """Where each image lies; None where there is none."""
    known = pc.and_(place.is_valid(), place.field("size").is_valid()).to_numpy(zero_copy_only=False)
    fields = [place.field(name).fill_null(0).to_numpy().tolist() for name in ("offset", "size", "sum")]
    own = place.type.get_field_index("uri") < 0
    files = [file] * len(place) if own else place.field("uri").to_pylist()
    places: list[Place | None] = list(zip(files, *fields, strict=True))
    if not known.all():
        places = [at if there else None for at, there in zip(places, known.tolist(), strict=True)]
    return places


def _placed(holder: Row, name: str, body: bytes | DamagedError) -> list[Fault]:
    """Put an image's bytes in their place; the fault where there are none."""
    if isinstance(body, DamagedError):
        return [Fault(holder, body)]
    holder[name] = body
    return []


def _holders(rows: Iterable[Row]) -> Iterator[tuple[Row, str]]:
    """What holds the bytes of each image, and under which name."""
    for row in rows:
        if row.get("image") is not None:
            yield row, "image"
        for image in row.get("images") or ():
            if image["bytes"] is not None:
                yield image, "bytes"


def _is_far(place: Place) -> bool:
    """Whether an image lies on an object store, though its pack does not."""
    return isinstance(place[0], str) and "://" in place[0]


def _identities(row: Row) -> Iterator[int]:
    """Of what may hold an image's bytes in a row."""
    yield id(row)
    yield from map(id, row.get("images") or ())


def _keep_freed_memory() -> None:
    """Have glibc keep the memory of a batch for the next one, whose every page would else cost a fault.

    It gives back what is freed beyond a threshold, at first 128 KiB, which it raises once a large block was freed: to
    twice that block's size. This block's pages are never touched.
    """
    bytes(KEPT_BYTES)


_POOLS: dict[int, ThreadPoolExecutor] = {}


def _readers() -> ThreadPoolExecutor:
    """This process's threads for reading from object stores."""
    if os.getpid() not in _POOLS:
        _POOLS[os.getpid()] = ThreadPoolExecutor(REMOTE_READS, "curate-read")
    return _POOLS[os.getpid()]


def _values(array: pa.Array) -> list[Any]:
    """A column's values; lists of numbers become numpy arrays."""
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)  # a dictionary's values would be looked up one by one
    if not pa.types.is_list(array.type) or not pa.types.is_primitive(array.type.value_type):
        values: list[Any] = array.to_pylist()
        return values
    flat = array.flatten().to_numpy(zero_copy_only=False)
    return list(np.split(flat, np.cumsum(array.value_lengths().fill_null(0).to_numpy())[:-1]))
