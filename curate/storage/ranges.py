"""Read byte ranges of many files into one buffer: near ranges in one request, and on object stores many at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pyarrow import fs

from curate.errors import DamagedError
from curate.storage.filesystems import filesystem, one_line

Ints = npt.NDArray[np.int64]

GAP_BYTES = 16 << 10  # ranges with a larger gap between them are read in two requests
REQUEST_BYTES = 8 << 20  # limit on the bytes of one request, unless a single range is longer
REMOTE_READS = 32  # requests at once to an object store
OPEN_FILES = 128  # limit on the files that a reader keeps open


class Ranges(NamedTuple):
    """N ranges of bytes."""

    file: Ints  # the number of the file; see `RangeReader`
    offset: Ints  # bytes from its start
    size: Ints  # bytes


class RangeReader:
    """Reads ranges of files; `uri_of` gives a file's URI by its number. The last OPEN_FILES files stay open."""

    def __init__(self, uri_of: Callable[[int], str]) -> None:
        self._uri_of = uri_of
        self._open: Callable[[int], OpenedFile] = lru_cache(OPEN_FILES)(lambda n: OpenedFile(uri_of(n)))
        self._pool: ThreadPoolExecutor | None = None

    def read(self, ranges: Ranges) -> bytearray:
        """The bytes of all ranges, one after another in the order given.

        Raises:
            DamagedError: a file is too short for its ranges, or cannot be read.
        """
        self._check(ranges)
        into = bytearray(int(ranges.size.sum()))
        target, ends = memoryview(into), np.cumsum(ranges.size)
        starts = ends - ranges.size
        requests = list(_requests(ranges))

        def fetch(request: Ints) -> None:
            self._fetch(ranges, request, target, starts)

        if requests and self._is_remote(int(ranges.file[requests[0][0]])):
            list(self._at_once().map(fetch, requests))
        else:
            for request in requests:
                fetch(request)
        return into

    def _check(self, ranges: Ranges) -> None:
        """Check that all ranges lie within their files, before memory is allocated for them."""
        files = np.unique(ranges.file).tolist()
        if files and self._is_remote(files[0]):
            list(self._at_once().map(self._open, files))
        for file in files:
            mine = ranges.file == file
            opened, offset, size = self._open(file), ranges.offset[mine], ranges.size[mine]
            ends = (offset.argmin(), offset.argmax(), size.argmin(), size.argmax(), (offset + size).argmax())
            for one in ends:
                opened.check(int(offset[one]), int(size[one]))

    def _at_once(self) -> ThreadPoolExecutor:
        self._pool = self._pool or ThreadPoolExecutor(REMOTE_READS, "curate-ranges")
        return self._pool

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _is_remote(self, file: int) -> bool:
        return not isinstance(filesystem(self._uri_of(file))[0], fs.LocalFileSystem)

    def _fetch(self, ranges: Ranges, request: Ints, target: memoryview, starts: Ints) -> None:
        """Read the ranges of one request (in ascending order, in one file) into `target`, each at its `starts`."""
        first, last = int(request[0]), int(request[-1])
        file, start = int(ranges.file[first]), int(ranges.offset[first])
        opened = self._open(file)
        if first == last:
            opened.read_into(start, target[starts[first] : starts[first] + ranges.size[first]])
            return
        body = memoryview(bytearray(int(ranges.offset[last] + ranges.size[last]) - start))
        opened.read_into(start, body)
        for one in request.tolist():
            at, size, to = int(ranges.offset[one]) - start, int(ranges.size[one]), int(starts[one])
            target[to : to + size] = body[at : at + size]


class OpenedFile:
    """A file whose ranges are read; it is opened by the constructor, and any thread may read.

    Raises:
        DamagedError: the file cannot be opened.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.descriptor = -1  # of a file on a disk
        system, path = filesystem(uri)
        try:
            if isinstance(system, fs.LocalFileSystem):
                self.descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would keep us waiting
                found = os.fstat(self.descriptor)
                self._bytes = found.st_size if stat.S_ISREG(found.st_mode) else 0
            else:
                self._stream = system.open_input_file(path)
                self._bytes = self._stream.size()
        except OSError as error:
            raise self._unreadable(error) from None

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

    def check(self, offset: int, size: int) -> None:
        """Check that the file has `size` bytes from `offset` on.

        Raises:
            DamagedError: it has not, so the range was meant for another file.
        """
        if not 0 <= size <= self._bytes or not 0 <= offset <= self._bytes - size:
            raise self._other_file()

    def read(self, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset` on.

        Raises:
            DamagedError: the file is shorter than that, or cannot be read.
        """
        self.check(offset, size)
        try:
            if self.descriptor >= 0:
                body = os.pread(self.descriptor, size, offset)
            else:
                body = self._stream.read_at(size, offset)
        except OSError as error:
            raise self._unreadable(error) from None
        if len(body) != size:
            raise self._other_file()
        return body

    def expect(self, offset: int, size: int) -> None:
        """Tell the system that these bytes of a local file will be read soon; does nothing where it cannot be told."""
        with suppress(OSError):
            if hasattr(os, "posix_fadvise"):  # macOS has none
                os.posix_fadvise(self.descriptor, offset, size, os.POSIX_FADV_WILLNEED)

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill `target` with the bytes from `offset` on.

        Raises:
            DamagedError: the file is shorter than that, or cannot be read.
        """
        try:
            if self.descriptor >= 0:
                got = os.preadv(self.descriptor, [target], offset)
                while 0 < got < len(target):
                    more = os.preadv(self.descriptor, [target[got:]], offset + got)
                    got = got + more if more else -1
            else:
                body = self._stream.read_at(len(target), offset)
                got = len(body)
                target[:got] = body
        except OSError as error:
            raise self._unreadable(error) from None
        if got != len(target):
            raise self._other_file()

    def _unreadable(self, error: OSError) -> DamagedError:
        return DamagedError(f"cannot read {self._uri}: {one_line(error)}")

    def _other_file(self) -> DamagedError:
        return DamagedError(f"{self._uri} is shorter than what names its bytes says: it is another file")


def _requests(ranges: Ranges) -> Iterator[Ints]:
    """Yield the numbers of the ranges of each request, in ascending order of their offsets."""
    order = np.lexsort((ranges.offset, ranges.file))
    if not len(order):
        return
    file, offset = ranges.file[order], ranges.offset[order]
    end = offset + ranges.size[order]
    far = (file[1:] != file[:-1]) | (offset[1:] > end[:-1] + GAP_BYTES) | (offset[1:] < end[:-1])
    for run in np.split(order, np.flatnonzero(far) + 1):
        begun = 0
        for place in range(1, len(run) + 1):
            one = run[min(place, len(run) - 1)]
            whole = ranges.offset[one] + ranges.size[one] - ranges.offset[run[begun]]
            if place == len(run) or whole > REQUEST_BYTES:
                yield run[begun:place]
                begun = place
