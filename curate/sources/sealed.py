"""Pass a batch from a child process to its parent through shared memory, without a copy.

The child writes the batch to an anonymous file in memory and seals it, so that nobody can change it any more. The
parent checks the seals before it reads: so the child, which may be hostile, cannot change what was checked.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections import deque

import msgspec
import pyarrow as pa

SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
KEPT = 4  # so many answers stay open: the parent asks for two at a time, and opens them later


class Handle(msgspec.Struct, frozen=True):
    """Where the parent finds the file: a process and its file descriptor."""

    process: int
    descriptor: int


class Sealer:
    """The child's side: seals batches, and keeps the last KEPT open until the parent has surely opened them."""

    def __init__(self) -> None:
        self._kept: deque[int] = deque()

    def seal(self, batch: pa.RecordBatch) -> bytes:
        """Write the batch as an Arrow stream into sealed memory; returns the message for the parent."""
        while len(self._kept) >= KEPT:
            os.close(self._kept.popleft())
        descriptor = os.memfd_create("batch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._kept.append(descriptor)
        with (
            pa.OSFile(f"/proc/self/fd/{descriptor}", "wb") as file,
            pa.ipc.new_stream(file, batch.schema) as stream,
        ):
            stream.write_batch(batch)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
        return msgspec.msgpack.encode(Handle(os.getpid(), descriptor))


def opened(message: bytes, max_bytes: int) -> pa.Buffer:
    """Open what a child sealed, as a buffer; `message` is the child's.

    Raises:
        OSError: the file does not exist, is not sealed, is empty, or larger than `max_bytes`.
        ValueError: the message is malformed.
    """
    found = msgspec.msgpack.decode(message, type=Handle)
    descriptor = os.open(f"/proc/{found.process}/fd/{found.descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & SEALS != SEALS or not 0 < size <= max_bytes:
            raise OSError(f"a batch of {size} bytes is not sealed, or larger than {max_bytes} bytes")
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        return pa.py_buffer(mmap.mmap(descriptor, size, flags=flags, prot=mmap.PROT_READ))
    finally:
        os.close(descriptor)
