"""Rows of shards or packs by their number, with their images' bytes: what every data set here reads from."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from curate.errors import InputError
from curate.loader.index import open_index
from curate.storage.dataset import DataFile, find
from curate.storage.filesystems import filesystem

Ints = npt.NDArray[np.int64]
Row = dict[str, Any]
Place = tuple[int, int, int]  # number of the file, offset and size in bytes

REMOTE_READS = 32  # at once, of an object store: a read there is mostly waiting


class Source:
    """The rows of all files, numbered through. Each process that it is sent to opens the files anew.

    A row is a dictionary. At first, places (file, offset, size) stand for its images' bytes: in `image`, or
    in a pack in the `bytes` of each of its `images`; None where there is no image. `fill` reads them.
    """

    def __init__(self, paths: Sequence[str], stem: str, columns: tuple[str, ...], cache: str = "") -> None:
        self._data = find(paths, stem)
        if unknown := set(columns) - set(self._data.schema.names):
            raise InputError(f"{self._data.files[0].uri} has no column {', '.join(sorted(unknown))}")
        self._columns, self._cache = columns, cache
        self.digest = self._data.digest
        self.rows = self._data.rows
        self.group_rows = [rows for file in self._data.files for rows in file.group_rows]
        self.local = isinstance(filesystem(self._data.files[0].uri)[0], fs.LocalFileSystem)
        self._first = np.cumsum([0, *(file.rows for file in self._data.files)])
        self._tables: dict[int, pa.RecordBatch] = {}
        self._images: dict[int, Images] = {}
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tables": {}, "_images": {}}

    def read(self, rows: Ints) -> list[Row]:
        """The rows of those numbers, in that order, with their images.

        Raises:
            InputError: a file has changed or cannot be read.
        """
        found = self.light(rows)
        self.fill(found)
        return found

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
        for holder, name in _holders(rows):
            file, offset, size = holder[name]
            self._file(file).expect(offset, size)

    def fill(self, rows: Iterable[Row]) -> None:
        """Read the images' bytes: on a disk one by one, from an object store many at once.

        Raises:
            InputError: a file has changed or cannot be read.
        """
        if self.local:
            for holder, name in _holders(rows):
                holder[name] = self._body(holder[name])
            return
        holders = list(_holders(rows))
        bodies = _readers().map(self._body, [holder[name] for holder, name in holders])
        for (holder, name), body in zip(holders, bodies, strict=True):
            holder[name] = body

    def _body(self, place: Place) -> bytes:
        file, offset, size = place
        return self._file(file).read(offset, size)

    def _file(self, number: int) -> Images:
        if os.getpid() != self._process:  # a fork has the parent's connections
            self._process, self._images = os.getpid(), {}
        if number not in self._images:
            self._images[number] = Images(self._data.files[number])
        return self._images[number]

    def _table(self, number: int) -> pa.RecordBatch:
        if number not in self._tables:
            table = open_index(self._data.files[number], self._columns, self._cache)
            self._tables[number] = table.combine_chunks().to_batches()[0]
        return self._tables[number]


def _rows(batch: pa.RecordBatch, file: int) -> Iterator[Row]:
    """Rows of a file's index, with places for their images' bytes."""
    names = [name for name in batch.schema.names if name != "place"]
    columns = [_values(batch[name]) for name in names]
    place = batch["place"]
    if pa.types.is_struct(place.type):
        columns.append(_places(place, file))
    else:
        flat = place.flatten()
        fields = [flat.field(name).to_pylist() for name in ("path", "start")]
        bodies = zip(*fields, _places(flat, file), strict=True)
        images = [{"path": path, "start": start, "bytes": body} for path, start, body in bodies]
        ends = np.append(0, np.cumsum(place.value_lengths().to_numpy())).tolist()
        columns.append([images[start:end] for start, end in itertools.pairwise(ends)])
    names.append("image" if pa.types.is_struct(place.type) else "images")
    return (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))


def _places(place: pa.StructArray, file: int) -> list[Place | None]:
    """Where each image lies; None where there is none."""
    offsets, sizes = place.field("offset").to_pylist(), place.field("size").to_pylist()
    known = pc.and_(place.is_valid(), place.field("size").is_valid()).to_pylist()
    return [(file, *at) if there else None for there, *at in zip(known, offsets, sizes, strict=True)]


def _holders(rows: Iterable[Row]) -> Iterator[tuple[Row, str]]:
    """What holds the bytes of each image, and under which name."""
    for row in rows:
        if "images" not in row:
            if row["image"] is not None:
                yield row, "image"
        else:
            yield from ((image, "bytes") for image in row["images"] if image["bytes"] is not None)


class Images:
    """Byte ranges of one file."""

    def __init__(self, file: DataFile) -> None:
        self._file = file
        self._system, self._path = filesystem(file.uri)
        self._open: int | pa.NativeFile | None = None
        self._lock = threading.Lock()

    def __del__(self) -> None:
        if isinstance(self._open, int):
            os.close(self._open)

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes from there.

        Raises:
            InputError: the file is shorter than its index says, or cannot be read.
        """
        try:
            opened = self._opened()
            body: bytes = (
                os.pread(opened, size, offset) if isinstance(opened, int) else opened.read_at(size, offset)
            )
        except OSError as error:
            raise InputError(f"cannot read {self._file.uri}: {error}") from None
        if len(body) != size:
            raise InputError(f"{self._file.uri} is shorter than it was: its index is of another file")
        return body

    def expect(self, offset: int, size: int) -> None:
        """Say that these bytes will be read; nothing where the system has no ear for it."""
        opened = self._opened()
        if isinstance(opened, int) and hasattr(os, "posix_fadvise"):  # macOS has none
            os.posix_fadvise(opened, offset, size, os.POSIX_FADV_WILLNEED)

    def _opened(self) -> int | pa.NativeFile:
        if self._open is None:
            with self._lock:
                if self._open is None:
                    local = isinstance(self._system, fs.LocalFileSystem)
                    self._open = (
                        os.open(self._path, os.O_RDONLY)
                        if local
                        else self._system.open_input_file(self._path)
                    )
        return self._open


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
