"""A batch handed from a child process to its parent through memory, without a copy on the way.

The child writes the batch to an anonymous file and seals it: nobody can change it any more. The parent checks the
seals before it looks: what it has checked stays as it is, whatever becomes of the child.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections import deque

import msgspec
import pyarrow as pa

SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
KEPT = 4  # answers that the parent may not have opened yet: it asks for two at a time


class Handle(msgspec.Struct, frozen=True):
    """Where the parent finds the file: a process and its file descriptor."""

    process: int
    descriptor: int


class Sealer:
    """The child's side: the last few batches, each until the parent has surely opened it."""

    def __init__(self) -> None:
        self._kept: deque[int] = deque()

    def seal(self, batch: pa.RecordBatch) -> bytes:
        """Write the batch as an Arrow stream; the message for the parent."""
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
    """What a child sealed, as a buffer.

    Raises:
        OSError: it is not there, not sealed, or larger than `max_bytes`.
        ValueError: the message is none.
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
