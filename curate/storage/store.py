"""The output folder, local or on an object store: files appear complete or not at all.

On a disk a file is written and hashed under a temporary name, flushed to the disk, and then renamed. For S3, Google's
storage and Azure it is first made on this machine, in memory or in a temporary file, and then written under its name in
one atomic upload: nothing is copied, renamed or deleted on the store. On other stores a temporary object is written and
moved. Files are published only by an explicit call, never by leaving a block, by an exception or by a finaliser.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.fs as pafs

from curate.errors import Halted, OutputError
from curate.storage.filesystems import filesystem, one_line
from curate.storage.lease import Lease, acquire
from curate.storage.objects import open_objects

Made = TypeVar("Made")

TMP = "_run/tmp"
BLOCK = 2**20
IN_MEMORY = 8 << 20  # bytes: a larger file for an object store is first written to a temporary file


class PublishedFile(msgspec.Struct, frozen=True):
    """A published file: its name in the folder, size in bytes and hex SHA-256."""

    path: str
    bytes: int
    sha256: str


class HashingSink(io.RawIOBase):
    """A write-only stream that passes on all bytes to `target`, and counts and hashes them."""

    def __init__(self, target: IO[bytes] | pa.NativeFile) -> None:
        self.target = target
        self.size = 0
        self._sha256 = hashlib.sha256()

    def writable(self) -> bool:
        """Always true."""
        return True

    def write(self, data: Any) -> int:
        """Pass on all of `data`; returns its length."""
        self._sha256.update(data)
        self.target.write(data)
        self.size += len(data)
        return len(data)

    def hexdigest(self) -> str:
        """The SHA-256 of everything written so far, in hex digits."""
        return self._sha256.hexdigest()


class Store:
    """The folder `uri` (a path, or `s3://…`), in which files are published atomically; methods take names in it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/") or uri[:1]
        self.run = ""  # names the run that writes here, while it is unfinished; its files are bound to it
        self.fs, self.root = filesystem(self.uri)
        self.root = self.root.rstrip("/")
        self.local = isinstance(self.fs, pafs.LocalFileSystem)
        self._objects = None if self.local else open_objects(self.uri)
        self._lock: IO[bytes] | None = None
        self._lease: Lease | None = None

    def path(self, name: str) -> str:
        """The path of the file `name` on this store's file system.

        Raises:
            OSError: it is a pipe or a device, which could be read without end.
        """
        path = f"{self.root}/{name}"
        if self.local:
            with suppress(FileNotFoundError, NotADirectoryError):
                _check_kind(path)
        return path

    def write(self, name: str, fill: Callable[[HashingSink], object]) -> PublishedFile:
        """Publish what `fill` writes to its sink as the file `name`, or replace that file.

        Raises:
            OSError: no space, no permission or no connection; nothing was published.
        """
        if self._objects is not None:
            return self._upload(name, fill)
        tmp = self.path(f"{TMP}/{uuid.uuid4().hex}")
        try:
            sink = self._write_local(tmp, fill) if self.local else self._write_remote(tmp, fill)
            self._rename(tmp, self.path(name))
        except BaseException:
            with suppress(OSError):
                self.fs.delete_file(tmp)
            raise
        return PublishedFile(name, sink.size, sink.hexdigest())

    def write_bytes(self, name: str, data: bytes) -> PublishedFile:
        """Publish `data` as the file `name`, or replace that file. Raises: see `write`."""
        if self._objects is not None:
            self._objects.put(name, data)
            return PublishedFile(name, len(data), hashlib.sha256(data).hexdigest())
        return self.write(name, lambda sink: sink.write(data))

    def link(self, source: str, name: str) -> None:
        """Publish the complete file `source` of this folder also as `name`: a hard link on a disk, else a copy."""
        if self.local:
            with suppress(FileNotFoundError):
                Path(self.path(name)).unlink()
            _in_folder(partial(os.link, self.path(source), self.path(name)), self.path(name))
            _fsync_folder(self.path(name))
        else:
            self.fs.copy_file(self.path(source), self.path(name))

    def read_bytes(self, name: str) -> bytes | None:
        """The file's content, or None when there is no such file."""
        if self._objects is not None:
            found = self._objects.get(name)
            return None if found is None else found[0]
        try:
            if self.local:
                return Path(self.path(name)).read_bytes()
            with self.fs.open_input_stream(self.path(name)) as stream:
                data: bytes = stream.read()
                return data
        except FileNotFoundError:
            return None

    def describe(self, name: str) -> PublishedFile:
        """The size and hash of a file, found by reading it. Raises OSError where it cannot be read."""
        there, digest = 0, hashlib.sha256()
        with self.fs.open_input_stream(self.path(name)) as stream:
            while block := stream.read(BLOCK):
                there += len(block)
                digest.update(block)
        return PublishedFile(name, there, digest.hexdigest())

    def differs(self, name: str, size: int, sha256: str) -> str | None:
        """How a file differs, in words, from one of `size` bytes with this SHA-256; None where it does not."""
        there = self.describe(name)
        if (there.bytes, there.sha256) == (size, sha256):
            return None
        return f"{there.bytes} bytes, sha256 {there.sha256[:12]}…, instead of {size}, {sha256[:12]}…"

    def names(self, folder: str = "") -> list[str]:
        """The names (without the folder) of the files directly in `folder`, sorted; empty where it does not exist."""
        if self._objects is not None:
            return self._objects.listed(folder)[0]
        return self._listed(folder, pafs.FileType.File)

    def folders(self, folder: str) -> list[str]:
        """The folders directly in `folder`, each as a name in this store, sorted."""
        if self._objects is not None:
            names = self._objects.listed(folder)[1]
        else:
            names = self._listed(folder, pafs.FileType.Directory)
        return [f"{folder}/{name}" for name in names]

    def exists(self, name: str) -> bool:
        """Whether `name` is a file of this folder."""
        if self._objects is not None:
            return self._objects.exists(name)
        return bool(self.fs.get_file_info(self.path(name)).type == pafs.FileType.File)

    def delete(self, name: str) -> None:
        """Remove the file, if it is there."""
        if self._objects is not None:
            self._objects.delete([name])
            return
        with suppress(FileNotFoundError):
            self.fs.delete_file(self.path(name))

    def delete_folder(self, name: str) -> None:
        """Remove the folder and all below it, if it is there."""
        if self._objects is not None:
            for names in self._objects.below(name):
                self._objects.delete(names)
            return
        path = self.path(name)
        if self.fs.get_file_info(path).type == pafs.FileType.NotFound:
            return  # file systems raise different errors for a missing folder
        with suppress(FileNotFoundError):
            self.fs.delete_dir(path)

    def delete_if_empty(self) -> None:
        """Remove the folder itself if nothing is in it."""
        if self.local:
            with suppress(OSError):
                Path(self.root).rmdir()

    def lock(self, lease: bool = True) -> None:
        """Hold this folder until `unlock` or the end of the process; a second run on it is refused.

        On a disk this is a lock of the operating system; on S3, Google's storage and Azure a lease (see
        `curate.storage.lease`), unless `lease` is False. An emulator of Google's storage has neither.

        Raises:
            OutputError: another run holds the folder, it cannot be written, or its store cannot hold a lease.
        """
        if self.local:
            self._lock_file()
        elif self._objects is not None and lease:
            self._lease = acquire(self._objects, self.uri)
        else:
            self._check_writable()

    @contextmanager
    def locked(self, lease: bool = True) -> Iterator[None]:
        """Hold this folder during the block; see `lock`."""
        self.lock(lease)
        try:
            yield
        finally:
            self.unlock()

    def check_held(self) -> None:
        """Check that this folder is still held (where `lock` took a lease).

        Raises:
            Halted: the lease was lost: another run took it over, or the store did not answer for too long.
        """
        if self._lease is not None:
            self._lease.check()

    def holds(self) -> bool:
        """Whether this folder is still held."""
        try:
            self.check_held()
        except Halted:
            return False
        return True

    def unlock(self) -> None:
        """Release the folder, if it is held."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def _lock_file(self) -> None:
        import fcntl

        try:
            Path(self.path(TMP)).mkdir(parents=True, exist_ok=True)
            self._lock = Path(self.path("_run/lock")).open("ab")  # noqa: SIM115 - held until unlock
        except OSError as error:
            raise OutputError(f"cannot write to {self.uri}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(f"another run is writing to {self.uri}: wait for it or stop it") from None

    def _check_writable(self) -> None:
        try:
            self.write_bytes("_run/lock", b"")
        except OSError as error:
            raise OutputError(f"cannot write to {self.uri}: {one_line(error)}") from None

    def _upload(self, name: str, fill: Callable[[HashingSink], object]) -> PublishedFile:
        """Write the file on this machine first, then upload it as a whole."""
        assert self._objects is not None
        with tempfile.SpooledTemporaryFile(IN_MEMORY, prefix="curate-") as file:
            sink = HashingSink(file)
            fill(sink)
            file.seek(0)
            in_memory = sink.size <= IN_MEMORY
            self._objects.put(name, file.read() if in_memory else file._file)
        return PublishedFile(name, sink.size, sink.hexdigest())

    def _listed(self, folder: str, kind: pafs.FileType) -> list[str]:
        selector = pafs.FileSelector(self.path(folder) if folder else self.root, allow_not_found=True)
        infos = self.fs.get_file_info(selector)
        return sorted(info.base_name for info in infos if info.type == kind)

    def _write_local(self, tmp: str, fill: Callable[[HashingSink], object]) -> HashingSink:
        with _in_folder(partial(open, tmp, "xb"), tmp) as file:
            sink = HashingSink(file)
            fill(sink)
            file.flush()
            os.fsync(file.fileno())
        return sink

    def _write_remote(self, tmp: str, fill: Callable[[HashingSink], object]) -> HashingSink:
        with self.fs.open_output_stream(tmp) as stream:
            sink = HashingSink(stream)
            fill(sink)
        return sink

    def _rename(self, tmp: str, path: str) -> None:
        if self.local:
            _in_folder(partial(os.replace, tmp, path), path)
            _fsync_folder(path)
        else:
            self.fs.move(tmp, path)


def _check_kind(path: str) -> None:
    mode = os.stat(path).st_mode  # noqa: PTH116 (a `Path` takes ten times as long, and this is asked for every file)
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "Neither a file nor a folder", path)


def _in_folder(act: Callable[[], Made], path: str) -> Made:
    """Call `act`, which creates a file at `path`; if the folder is missing, make it and call `act` again."""
    try:
        return act()
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return act()


def _fsync_folder(path: str) -> None:
    """Flush the folder of the file `path`, so that a rename in it survives a power cut."""
    descriptor = os.open(path.rpartition("/")[0] or "/", os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
