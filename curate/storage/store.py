"""The output folder, local or on an object store: files appear complete or not at all.

On a disk a file is written under a temporary name, flushed, hashed on the way, and only then given its name. On
S3 and Google's storage it is made here first, in memory or in a temporary file, and then put under its name in
one atomic upload: nothing is copied, renamed or deleted there. Other stores get a temporary object that is
moved. Nothing is ever published by leaving a block, by an exception or by a finaliser.
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
IN_MEMORY = 8 << 20  # bytes of a file on its way to an object store; a larger one waits on disk


class PublishedFile(msgspec.Struct, frozen=True):
    """A published file: its name in the folder, size in bytes and hex SHA-256."""

    path: str
    bytes: int
    sha256: str


class HashingSink(io.RawIOBase):
    """A write-only stream that counts and hashes what passes to `target`."""

    def __init__(self, target: IO[bytes] | pa.NativeFile) -> None:
        self.target = target
        self.size = 0
        self._sha256 = hashlib.sha256()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Pass on all of `data`."""
        self._sha256.update(data)
        self.target.write(data)
        self.size += len(data)
        return len(data)

    def hexdigest(self) -> str:
        """Of everything written so far."""
        return self._sha256.hexdigest()


class Store:
    """A folder of `uri` (a path, or `s3://…`) in which files are published atomically."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/") or uri[:1]
        self.fs, self.root = filesystem(self.uri)
        self.root = self.root.rstrip("/")
        self.local = isinstance(self.fs, pafs.LocalFileSystem)
        self._objects = None if self.local else open_objects(self.uri)
        self._lock: IO[bytes] | None = None
        self._lease: Lease | None = None

    def path(self, name: str) -> str:
        """The path of the file `name` on this store's file system.

        Raises:
            OSError: there is a pipe or a device, which may have no end.
        """
        path = f"{self.root}/{name}"
        if self.local:
            with suppress(FileNotFoundError, NotADirectoryError):
                _check_kind(path)
        return path

    def write(self, name: str, fill: Callable[[HashingSink], object]) -> PublishedFile:
        """Publish what `fill` writes under `name`, replacing what was there.

        Raises:
            OSError: no space, no permission, no connection; nothing was published.
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
        """Publish `data` under `name`."""
        if self._objects is not None:
            self._objects.put(name, data)
            return PublishedFile(name, len(data), hashlib.sha256(data).hexdigest())
        return self.write(name, lambda sink: sink.write(data))

    def link(self, source: str, name: str) -> None:
        """Publish the complete file `source` of this folder under `name` too."""
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
        """The size and hash of a file, by reading it."""
        there, digest = 0, hashlib.sha256()
        with self.fs.open_input_stream(self.path(name)) as stream:
            while block := stream.read(BLOCK):
                there += len(block)
                digest.update(block)
        return PublishedFile(name, there, digest.hexdigest())

    def differs(self, name: str, size: int, sha256: str) -> str | None:
        """How a file is not the one of so many bytes with that SHA-256; None where it is."""
        there = self.describe(name)
        if (there.bytes, there.sha256) == (size, sha256):
            return None
        return f"{there.bytes} bytes, sha256 {there.sha256[:12]}…, instead of {size}, {sha256[:12]}…"

    def names(self, folder: str = "") -> list[str]:
        """The names of the files directly in `folder`, sorted; none when it is absent."""
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
            return  # what a file system raises here is not the same everywhere
        with suppress(FileNotFoundError):
            self.fs.delete_dir(path)

    def delete_if_empty(self) -> None:
        """Remove the folder itself if nothing is in it."""
        if self.local:
            with suppress(OSError):
                Path(self.root).rmdir()

    def lock(self, lease: bool = True) -> None:
        """Hold this folder until `unlock` or the end of the process; a second run on it is refused.

        On a disk this is a lock of the operating system; on S3 and Google's storage a lease (see
        `curate.storage.lease`), unless `lease` is False. An emulator of Google's has neither.

        Raises:
            OutputError: another run holds it, it cannot be written, or no lease can be had there.
        """
        if self.local:
            self._lock_file()
        elif self._objects is not None and lease:
            self._lease = acquire(self._objects, self.uri)
        else:
            self._check_writable()

    @contextmanager
    def locked(self, lease: bool = True) -> Iterator[None]:
        """This folder held while it lasts; see `lock`."""
        self.lock(lease)
        try:
            yield
        finally:
            self.unlock()

    def check_held(self) -> None:
        """Go on only while this folder is held (where `lock` took a lease).

        Raises:
            Halted: another run took it over.
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
        """Let go of the folder."""
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
        """Make the file here, then put it under its name as a whole."""
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
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "Neither a file nor a folder", path)


def _in_folder(act: Callable[[], Made], path: str) -> Made:
    """Do what puts a file at `path`; its folder is made where it is not there, which it nearly always is."""
    try:
        return act()
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return act()


def _fsync_folder(path: str) -> None:
    """Make a rename in the file's folder survive a power cut."""
    descriptor = os.open(path.rpartition("/")[0] or "/", os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
