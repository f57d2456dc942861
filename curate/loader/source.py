"""Reads rows of shards or packs by their number, with their images' bytes. All data sets of the loader use it."""

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

REMOTE_READS = 32  # at once from an object store, where a read is mostly waiting
OPEN_FILES = 128  # at once in a process: a data set may have more files than a process may open
OPEN_INDEXES = 1024  # at once in a process
KEPT_BYTES = 24 << 20  # once a block of this size is freed, glibc keeps up to twice as much (mallopt(3))
SHARD_COLUMNS = ("key", "task", "prompt", "target", "width", "height", "messages")
PACK_COLUMNS = ("task", "tokens", "loss_mask", "segments", "keys", "image_grid_thw")
OPTIONAL = {"image_grid_thw", "messages"}  # packs of some dialects lack the first, old shards the second


class Fault(NamedTuple):
    """An image that cannot be read."""

    holder: Row  # the dictionary that holds the image's place
    error: DamagedError


class ShardSource:
    """The rows of several files, numbered from 0 over all files. It can be pickled: each process opens its own files.

    A row is a dictionary. `light` gives it with a place (file, offset, size, checksum) instead of each image's bytes:
    in `image`, and in the `bytes` of each of the `images` of a dialogue or pack; None if there is no image. `fill`
    replaces the places by the bytes. The `images` of a shard's row that is no dialogue is None.

    Args:
        paths: folders and files, as `curate.storage.dataset.find` takes them.
        stem: `shard` or `pack`.
        columns: the columns of a row, besides its images.
        cache: the folder for the files' indexes; empty: see `curate.loader.file_index`.
        check: whether images are compared with their checksums.

    Raises:
        InputError: there are no such files, or they lack a column.
        DamagedError: a folder lacks a file that it lists.
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
        """Return the rows with these numbers, in that order, with their images; see `fill` for `damaged`.

        Raises:
            DamagedError: an image or a file is not what was written, or cannot be read.
        """
        return self.fill(self.light(rows), damaged)

    def light(self, rows: Ints) -> list[Row]:
        """Return the rows with these numbers, in that order, with places instead of their images' bytes.

        Raises:
            DamagedError: a file cannot be read, or is not the one that its folder lists.
        """
        found: list[Row] = [{}] * len(rows)
        file_of = np.searchsorted(self._first, rows, side="right") - 1
        for number in np.unique(file_of).tolist():
            mine = np.flatnonzero(file_of == number)
            batch = self._table(number).take(pa.array(rows[mine] - self._first[number]))
            for place, row in zip(mine.tolist(), _rows(batch, number), strict=True):
                found[place] = row
        return found

    def expect(self, rows: Iterable[Row]) -> None:
        """Tell the system that the images of these rows will be read soon, so that it reads them from the disk now."""
        file_of = self._files()
        for holder, name in _holders(rows):
            file, offset, size, _ = holder[name]
            with suppress(DamagedError):  # `fill` will report it
                file_of(file).expect(offset, size)

    def fill(self, rows: Sequence[Row], damaged: list[DamagedError] | None = None) -> list[Row]:
        """Read the images' bytes into the rows and return the rows: one by one from a disk, many at once from a store.

        If `damaged` is given, rows with a damaged image are left out, and their errors are appended to it.

        Raises:
            DamagedError: an image is not what was written, or its file cannot be read; only if `damaged` is None.
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
        """Replace the place of each image by its bytes, one after another; return the images that cannot be read.

        This is one loop without calls of our own functions: for images in the page cache, these would cost more than
        the checksums.
        """
        faults, file_of, check, read = list[Fault](), self._file, self._check, os.pread
        for holder, name in _holders(rows):
            file, offset, size, known = place = holder[name]
            try:
                body = read(file_of(file).descriptor, size, offset)
            except (OSError, DamagedError, OverflowError, MemoryError):  # the last two: an impossible size
                body = b""
            if len(body) == size and (
                not check or xxh3_64_intdigest(body) & 0xFFFFFFFF == known
            ):  # `checksum`
                holder[name] = body
            else:  # read once more, to say what is wrong
                faults += _placed(holder, name, self._body(place))
        return faults

    def _fill_from_store(self, rows: Iterable[Row]) -> list[Fault]:
        """Do what `_fill_from_disk` does, but read many images at once."""
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
        """Return the error that names the row whose image is at this place."""
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
        """Return the function that opens a file by its number or URI."""
        if os.getpid() != self._process:  # after a fork the open files are the parent's
            self._open()
        return self._file

    def _open(self) -> None:
        """Start with no file open: when the source is made, unpickled, or used in a forked process."""
        self._process = os.getpid()
        _keep_freed_memory()
        self._file: Callable[[int | str], OpenedFile] = lru_cache(OPEN_FILES)(self._open_file)
        self._table: Callable[[int], pa.RecordBatch] = lru_cache(OPEN_INDEXES)(self._open_table)

    def _open_file(self, file: int | str) -> OpenedFile:
        """Open a file of this data set by its number, or a shard that a pack refers to by its URI.

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
    """Return the number and the key of the first row whose image is at `offset`; for a pack, its samples' keys.

    Args:
        file: the shard or pack.
        index: its index (see `open_index`).
        offset: of the image in the file, bytes.
    """
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
    """Return the rows of a file's index as dictionaries, with places instead of their images' bytes."""
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
    """Turn columns into one dictionary for each row.

    They are filled column by column, which takes a tenth of the time of `dict(zip(…))` for each row.
    """
    empty = dict.fromkeys(names)
    rows: list[Row] = [empty.copy() for _ in columns[0]]
    for name, column in zip(names, columns, strict=True):
        for row, value in zip(rows, column, strict=True):
            row[name] = value
    return rows


def _image_lists(places: pa.ListArray, file: int) -> list[list[Row] | None]:
    """Return the list of images of each row, with places instead of bytes; None for a row without a list."""
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
    """Return the place of each image; None where there is no image."""
    known = pc.and_(place.is_valid(), place.field("size").is_valid()).to_numpy(zero_copy_only=False)
    fields = [place.field(name).fill_null(0).to_numpy().tolist() for name in ("offset", "size", "sum")]
    own = place.type.get_field_index("uri") < 0
    files = [file] * len(place) if own else place.field("uri").to_pylist()
    places: list[Place | None] = list(zip(files, *fields, strict=True))
    if not known.all():
        places = [at if there else None for at, there in zip(places, known.tolist(), strict=True)]
    return places


def _placed(holder: Row, name: str, body: bytes | DamagedError) -> list[Fault]:
    """Replace an image's place by its bytes; if these could not be read, return the fault."""
    if isinstance(body, DamagedError):
        return [Fault(holder, body)]
    holder[name] = body
    return []


def _holders(rows: Iterable[Row]) -> Iterator[tuple[Row, str]]:
    """Yield the dictionary that holds the place or bytes of each image, and the key under which it does."""
    for row in rows:
        if row.get("image") is not None:
            yield row, "image"
        for image in row.get("images") or ():
            if image["bytes"] is not None:
                yield image, "bytes"


def _is_far(place: Place) -> bool:
    """Whether an image is in a shard on an object store to which a pack refers."""
    return isinstance(place[0], str) and "://" in place[0]


def _identities(row: Row) -> Iterator[int]:
    """Yield the `id` of each dictionary in a row that may hold an image: the row itself and its `images`."""
    yield id(row)
    yield from map(id, row.get("images") or ())


def _keep_freed_memory() -> None:
    """Make glibc keep the freed memory of a batch for the next one, to save a page fault for every page.

    glibc gives freed memory beyond a threshold back to the system, at first 128 KiB. When a large block is freed, it
    raises the threshold to twice that block's size. So a large block is made and freed here; it is never touched.
    """
    bytes(KEPT_BYTES)


_POOLS: dict[int, ThreadPoolExecutor] = {}


def _readers() -> ThreadPoolExecutor:
    """Return the threads of this process that read from object stores."""
    if os.getpid() not in _POOLS:
        _POOLS[os.getpid()] = ThreadPoolExecutor(REMOTE_READS, "curate-read")
    return _POOLS[os.getpid()]


def _values(array: pa.Array) -> list[Any]:
    """Return the values of a column as a list; lists of numbers become numpy arrays."""
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)  # else each value would be looked up in the dictionary
    if not pa.types.is_list(array.type) or not pa.types.is_primitive(array.type.value_type):
        values: list[Any] = array.to_pylist()
        return values
    flat = array.flatten().to_numpy(zero_copy_only=False)
    return list(np.split(flat, np.cumsum(array.value_lengths().fill_null(0).to_numpy())[:-1]))
