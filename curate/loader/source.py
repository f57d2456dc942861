"""Rows of shards or packs by their number, with their images' bytes: what every data set here reads from."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import fs

from curate.dataset_files import DataFile, find
from curate.errors import InputError
from curate.loader.index import open_index
from curate.storage import filesystem

Ints = npt.NDArray[np.int64]

REMOTE_READS = 32  # at once, of an object store: a read there is mostly waiting


class Source:
    """The rows of all files, numbered through. Each process that it is sent to opens the files anew."""

    def __init__(self, paths: Sequence[str], stem: str, columns: tuple[str, ...], cache: str = "") -> None:
        self._data = find(paths, stem)
        if unknown := set(columns) - set(self._data.schema.names):
            raise InputError(f"{self._data.files[0].uri} has no column {', '.join(sorted(unknown))}")
        self._columns, self._cache = columns, cache
        self.digest = self._data.digest
        self.rows = self._data.rows
        self.group_rows = [rows for file in self._data.files for rows in file.group_rows]
        self._first = np.cumsum([0, *(file.rows for file in self._data.files)])
        self._tables: dict[int, pa.Table] = {}
        self._images: dict[int, Images] = {}
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tables": {}, "_images": {}}

    def read(self, rows: Ints) -> list[dict[str, Any]]:
        """The rows of those numbers, in that order, a dictionary each.

        `image` is an image's bytes or None; a pack's `images` have bytes, path and start.

        Raises:
            InputError: a file has changed or cannot be read.
        """
        if os.getpid() != self._process:  # a fork has the parent's connections
            self._process, self._images = os.getpid(), {}
        found: list[dict[str, Any]] = [{}] * len(rows)
        file_of = np.searchsorted(self._first, rows, side="right") - 1
        for number in np.unique(file_of).tolist():
            mine = np.flatnonzero(file_of == number)
            table = self._table(number).take(pa.array(rows[mine] - self._first[number]))
            for place, row in zip(mine.tolist(), self._finish(number, table), strict=True):
                found[place] = row
        return found

    def _table(self, number: int) -> pa.Table:
        if number not in self._tables:
            self._tables[number] = open_index(self._data.files[number], self._columns, self._cache)
        return self._tables[number]

    def _finish(self, number: int, table: pa.Table) -> list[dict[str, Any]]:
        """Rows of one file's index as dictionaries, with their images read."""
        names = [name for name in table.column_names if name != "place"]
        columns = [_values(table[name]) for name in names]
        rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
        images = self._images.setdefault(number, Images(self._data.files[number]))
        place = table["place"].combine_chunks()
        if pa.types.is_struct(place.type):
            sizes = place.field("size").to_pylist()
            places = list(zip(place.field("offset").to_pylist(), sizes, strict=True))
            there = place.is_valid().to_pylist()
            bodies = iter(images.read([p for p, known in zip(places, there, strict=True) if known]))
            for row, known in zip(rows, there, strict=True):
                row["image"] = next(bodies) if known else None
        else:
            lists = place.to_pylist()
            bodies = iter(
                images.read(
                    [(i["offset"], i["size"]) for some in lists for i in some if i["size"] is not None]
                )
            )
            for row, some in zip(rows, lists, strict=True):
                row["images"] = [
                    {
                        "path": i["path"],
                        "start": i["start"],
                        "bytes": None if i["size"] is None else next(bodies),
                    }
                    for i in some
                ]
        return rows


class Images:
    """Byte ranges of one file: read in place on a disk, many at once from an object store."""

    def __init__(self, file: DataFile) -> None:
        self._file = file
        self._system, self._path = filesystem(file.uri)
        self._local = isinstance(self._system, fs.LocalFileSystem)
        self._open: int | pa.NativeFile | None = None
        self._lock = threading.Lock()

    def __del__(self) -> None:
        if isinstance(self._open, int):
            os.close(self._open)

    def read(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes at those offsets and of those sizes.

        Raises:
            InputError: the file is shorter than its index says, or cannot be read.
        """
        if not places:
            return []
        try:
            if self._local:
                bodies = [os.pread(self._descriptor(), size, offset) for offset, size in places]
            else:
                stream = self._stream()
                bodies = list(_readers().map(lambda place: stream.read_at(place[1], place[0]), places))
        except OSError as error:
            raise InputError(f"cannot read {self._file.uri}: {error}") from None
        if any(len(body) != size for body, (_, size) in zip(bodies, places, strict=True)):
            raise InputError(f"{self._file.uri} is shorter than it was: its index is of another file")
        return bodies

    def _descriptor(self) -> int:
        if not isinstance(self._open, int):
            self._open = os.open(self._path, os.O_RDONLY)
        return self._open

    def _stream(self) -> pa.NativeFile:
        with self._lock:
            if self._open is None:
                self._open = self._system.open_input_file(self._path)
            return self._open


_POOLS: dict[int, ThreadPoolExecutor] = {}


def _readers() -> ThreadPoolExecutor:
    """This process's threads for reading from object stores."""
    if os.getpid() not in _POOLS:
        _POOLS[os.getpid()] = ThreadPoolExecutor(REMOTE_READS, "curate-read")
    return _POOLS[os.getpid()]


def _values(column: pa.ChunkedArray) -> list[Any]:
    """A column's values; lists of numbers become numpy arrays."""
    array = column.combine_chunks()
    if not pa.types.is_list(array.type) or not pa.types.is_primitive(array.type.value_type):
        values: list[Any] = array.to_pylist()
        return values
    flat = array.flatten().to_numpy(zero_copy_only=False)
    return list(np.split(flat, np.cumsum(array.value_lengths().fill_null(0).to_numpy())[:-1]))
