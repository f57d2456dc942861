"""Serve a file that this process can open to a child process that cannot: children have no credentials.

The child asks for byte ranges over a local socket, and gets bytes of this one file only. Only processes of the same
user are answered.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
import threading
import weakref
from typing import Any

from curate.storage.filesystems import one_line

SOCKET = "served:"  # the place of a served file begins with this; any other place is a path
REQUEST = struct.Struct("<QQ")  # offset, bytes
ANSWER = struct.Struct("<BQ")  # whether it failed, bytes that follow
PEER = struct.Struct("3i")  # process, user, group
PIECE = 8 * 2**20


class Place:
    """Where a child process finds a file; a served file is served until this object is deleted."""

    def __init__(self, name: str, listener: socket.socket | None = None) -> None:
        self.name = name
        if listener is not None:
            weakref.finalize(self, _stop, listener)


def served(file: Any) -> Place:
    """Serve a file (with `size` and `read_at`, as pyarrow's files have); returns its place."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    name = f"curate-{os.getpid()}-{secrets.token_hex(8)}"
    listener.bind(f"\0{name}")
    listener.listen()
    threading.Thread(target=_accept, args=(listener, file), name=name, daemon=True).start()
    return Place(SOCKET + name, listener)


def _stop(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def _accept(listener: socket.socket, file: Any) -> None:
    with contextlib.suppress(OSError):  # the listener was closed: the file is no longer needed
        while True:
            asking, _ = listener.accept()
            threading.Thread(target=_serve, args=(asking, file), daemon=True).start()


def _serve(asking: socket.socket, file: Any) -> None:
    """Answer one child until it closes its connection."""
    with asking, contextlib.suppress(OSError, EOFError):
        _, user, _ = PEER.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
        if user != os.geteuid():
            return
        size = file.size()
        asking.sendall(ANSWER.pack(0, size))
        while True:
            offset, count = REQUEST.unpack(exactly(asking, REQUEST.size))
            _answer(asking, file, min(offset, size), max(0, min(count, size - offset)))


def _answer(asking: socket.socket, file: Any, offset: int, count: int) -> None:
    """Send `count` bytes from `offset` on, in pieces, or the error with which they cannot be read."""
    while True:
        try:
            piece = file.read_at(min(PIECE, count), offset)
        except Exception as error:  # whatever a store's client raises
            said = one_line(error).encode()
            asking.sendall(ANSWER.pack(1, len(said)) + said)
            return
        asking.sendall(ANSWER.pack(0, len(piece)))
        asking.sendall(piece)
        offset, count = offset + len(piece), count - len(piece)
        if not piece or not count:
            return


def exactly(asking: socket.socket, count: int) -> bytes:
    """Receive exactly `count` bytes.

    Raises:
        EOFError: the other side has closed the connection.
    """
    got = bytearray(count)
    view, at = memoryview(got), 0
    while at < count:
        more = asking.recv_into(view[at:])
        if not more:
            raise EOFError("the file is no longer served")
        at += more
    return bytes(got)


class RemoteFile:
    """The child's side: a file for reading, with the methods that `pyarrow.PythonFile` needs."""

    closed = False

    def __init__(self, place: str) -> None:
        self._asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._asking.connect(f"\0{place.removeprefix(SOCKET)}")
        self._at = 0
        self._size = ANSWER.unpack(exactly(self._asking, ANSWER.size))[1]

    def size(self) -> int:
        """Bytes of the file."""
        return int(self._size)

    def tell(self) -> int:
        """The offset at which the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset, as Python's files do; returns the offset from the file's beginning."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size()}[whence]
        self._at = base + offset
        return self._at

    def read(self, count: int = -1) -> bytes:
        """The next `count` bytes (fewer at the end), or all to the end where `count` is negative.

        Raises:
            OSError: the other side cannot read them.
            EOFError: the other side has closed the connection.
        """
        left = max(0, self.size() - self._at)
        left = left if count < 0 else min(count, left)
        parts = []
        if left:
            self._asking.sendall(REQUEST.pack(self._at, left))
        while left:
            part = self._part()
            parts.append(part)
            left -= len(part)
        got = b"".join(parts)
        self._at += len(got)
        return got

    def _part(self) -> bytes:
        failed, size = ANSWER.unpack(exactly(self._asking, ANSWER.size))
        part = exactly(self._asking, size)
        if failed or not part:
            raise OSError(part.decode(errors="replace") or "the file is shorter than it was")
        return part

    def readable(self) -> bool:
        """Always true."""
        return True

    def close(self) -> None:
        """Close the connection."""
        self.closed = True
        self._asking.close()
