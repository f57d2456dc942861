"""What the children of test_children.py run: handlers that behave, and handlers that do not."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def echo(settings: bytes) -> Callable[[bytes], bytes]:
    return lambda payload: settings + payload


def acts(settings: bytes) -> Callable[[bytes], bytes]:
    """The payload is the name of what to do, then a colon and anything."""
    return lambda payload: globals()[payload.partition(b":")[0].decode()](payload)


def ok(payload: bytes) -> bytes:
    return payload


def segfault(payload: bytes) -> bytes:
    return ctypes.string_at(0)


def abort(payload: bytes) -> bytes:
    os.abort()


def leave(payload: bytes) -> bytes:
    sys.stderr.write("some words\nlast words\n")
    sys.stderr.flush()
    os._exit(3)


def spin(payload: bytes) -> bytes:
    while True:
        pass


def hog(payload: bytes) -> bytes:
    return bytes(bytearray(1 << 40))


def swell(payload: bytes) -> bytes:
    """Take memory step by step, for ever."""
    held = []
    while True:
        held.append(b"x" * (1 << 25))


def swell_elsewhere(payload: bytes) -> bytes:
    subprocess.run([sys.executable, "-c", "b = b'x' * (1 << 29); import time; time.sleep(600)"], check=True)
    return b""


LEAKED: list[bytes] = []


def leak(payload: bytes) -> bytes:
    LEAKED.append(b"x" * (1 << 25))
    return payload


def refuse(payload: bytes) -> bytes:
    error = ValueError("no")
    error.reason, error.detail = "encrypted", "needs a password"
    raise error


def fail(payload: bytes) -> bytes:
    raise KeyError(payload)


def misdecode(payload: bytes) -> bytes:
    raise UnicodeDecodeError(
        "utf-8", b"\xff", 0, 1, "invalid start byte"
    )  # it has a `reason`, which is no slug


def chatter(payload: bytes) -> bytes:
    os.write(1, b"\x01\xff" * (1 << 20))
    os.write(2, b"\x04\x00" * (1 << 20))
    sys.stdout.write("hello")
    return payload


def forge(payload: bytes) -> bytes:
    """Write over the protocol's own socket."""
    os.write(int(sys.argv[2]), b"\x01" + b"\xff" * 100)
    return payload


def hang_up(payload: bytes) -> bytes:
    os.close(int(sys.argv[2]))
    while True:
        time.sleep(1)


def big(payload: bytes) -> bytes:
    return b"x" * int(payload.partition(b":")[2])


def pid(payload: bytes) -> bytes:
    return b"%d" % os.getpid()


def environment(payload: bytes) -> bytes:
    return repr(dict(os.environ)).encode()


def spawn(payload: bytes) -> bytes:
    """Start a process; its id goes to the file that the payload names, then spin or crash as it says."""
    _, path, apart, after = payload.decode().split(":")
    process = subprocess.Popen(SLEEP, start_new_session=apart == "apart")
    Path(path).write_text(str(process.pid))
    return globals()[after](payload)


def pages(settings: bytes) -> Callable[[bytes], Iterator[bytes]]:
    """The payload says how many pages, and what to do after them."""

    def handler(payload: bytes) -> Iterator[bytes]:
        count, after = payload.decode().split(":")
        for page in range(int(count)):
            if after == "slowly":
                time.sleep(0.2)
            yield b"%d" % page
        if after != "slowly":
            yield from [] if after == "end" else [globals()[after](payload)]

    return handler


def unready(settings: bytes) -> Callable[[bytes], bytes]:
    raise RuntimeError("no such library")


class BrokenToolError(Exception):
    """What the handler works with is gone: no payload's fault."""

    not_ready = True


def toolless(settings: bytes) -> Callable[[bytes], bytes]:
    raise BrokenToolError("the tool is missing: install it")


def breaks_after_one(settings: bytes) -> Callable[[bytes], bytes]:
    """A tool that is good for one payload, and for none that begins with `bad`."""
    served: list[bytes] = []

    def handle(payload: bytes) -> bytes:
        if served or payload.startswith(b"bad"):
            raise BrokenToolError("the tool is gone")
        served.append(payload)
        return payload

    return handle
