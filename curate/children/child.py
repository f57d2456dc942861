"""The main program of a disposable child process: it reads frames and answers with frames.

`curate.children.pool` is the parent's side.

Run as `python -m curate.children.child MODULE:FACTORY SOCKET LIFELINE MEMORY`. FACTORY gets the settings'
bytes once and returns the handler of payloads: bytes in; bytes, or an iterable of bytes, out. Only the standard
library is imported here, and little of it, because children are started often.

A frame is one byte of kind, eight bytes of length (little-endian), and as many bytes of body. Frames have a socket of
their own, so that what the handler prints cannot mix with them.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import io
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterable

HEADER = struct.Struct("<BQ")
# One frame of a stream; the single answer; the end of a stream; "reason\ndetail"; the handler is ready.
PART, WHOLE, END, FAILED, READY = range(5)

Handler = Callable[[bytes], bytes | Iterable[bytes]]


def main() -> None:
    """Answer payloads one after the other until the parent closes the socket."""
    target, socket, lifeline, memory = sys.argv[1:]
    die_with_parent(int(lifeline))
    limit_memory(int(memory))
    os.set_inheritable(int(socket), False)
    incoming, outgoing = io.BufferedReader(io.FileIO(int(socket), closefd=False), 1 << 16), int(socket)
    settings = receive(incoming)
    if settings is None:
        return
    handler = make_handler(target, settings)
    gc.freeze()  # exempts imported modules from garbage collection, which would take a tenth of the time
    send(outgoing, READY)
    try:
        while (payload := receive(incoming)) is not None:
            answer(handler, payload, outgoing)
            del payload  # before the next one is read
    except MemoryError as error:
        send(outgoing, FAILED, b"out_of_memory\n" + repr(error).encode())


def make_handler(target: str, settings: bytes) -> Handler:
    """Call the factory `MODULE:FACTORY` with the settings, and return the handler.

    Raises:
        SystemExit: something that the handler needs is missing; its argument is the line that says what.
    """
    module, _, factory = target.partition(":")
    try:
        handler: Handler = getattr(importlib.import_module(module), factory)(settings)
    except Exception as error:
        if getattr(error, "not_ready", False):
            sys.exit(str(error))
        raise
    return handler


def answer(handler: Handler, payload: bytes, outgoing: int) -> None:
    """Send the handler's answer to one payload, or its failure: the exception's `reason`, or `crashed` if it has none.

    Raises:
        MemoryError: the memory limit was reached; the caller must not take another payload.
        Exception: one with `not_ready`: something that the handler needs is gone, such as its browser. The payload is
            tried once more in a new process, whose factory finds out whether the machine is at fault.
    """
    try:
        result = handler(payload)
        if isinstance(result, bytes):
            send(outgoing, WHOLE, result)
            return
        for part in result:
            send(outgoing, PART, part)
        send(outgoing, END)
    except (MemoryError, BrokenPipeError):
        raise
    except Exception as error:  # a decoder may raise anything; it fails this payload alone
        if getattr(error, "not_ready", False):
            raise
        reason = str(getattr(error, "reason", "crashed"))
        detail = str(getattr(error, "detail", None) or f"{type(error).__name__}: {error}")
        send(outgoing, FAILED, f"{reason}\n{detail}"[:2000].encode(errors="replace"))


def receive(incoming: io.BufferedIOBase) -> bytes | None:
    """Read the next payload; None once the parent has closed the socket."""
    header = incoming.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    length = HEADER.unpack(header)[1]
    payload = incoming.read(length)
    return payload if len(payload) == length else None


def send(outgoing: int, kind: int, body: bytes = b"") -> None:
    """Write one frame, however many system calls it takes.

    Args:
        outgoing: the descriptor of the socket.
        kind: PART, WHOLE, END, FAILED or READY.
        body: the frame's content. Default: empty.
    """
    buffers = [memoryview(HEADER.pack(kind, len(body))), memoryview(body)]
    while buffers:
        sent = os.writev(outgoing, buffers)
        while buffers and sent >= len(buffers[0]):
            sent -= len(buffers.pop(0))
        if buffers:
            buffers[0] = buffers[0][sent:]


def die_with_parent(lifeline: int) -> None:
    """Ask the kernel to kill this process group when the parent's end of the pipe closes.

    PR_SET_PDEATHSIG would kill this process alone, and not the processes that it started.
    """
    os.set_inheritable(lifeline, False)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def limit_memory(address_space: int) -> None:
    """Limit this process's address space to so many bytes (0: no limit), and leave no core dumps."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if address_space and (hard == resource.RLIM_INFINITY or address_space < hard):
        resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))


if __name__ == "__main__":
    main()
