"""Child processes for the tests by a fork, where curate starts an interpreter that imports for half a second.

A nursery is a process of one thread that has imported what the children of nearly every run work with. It belongs to
one process, whose `curate.children.process` then has these children from it; all others are started as ever. To its
user a child of the nursery is what any is: a child process of its own, in a session of its own, with the environment
and the descriptors it was given and no others, under its limit of memory.

What shows how children start, die and are limited uses targets of its own, which none of this concerns
(tests/curate/children), or runs the command line in an interpreter.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import ctypes
import importlib
import io
import json
import os
import platform
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from curate.children import child, process
from curate.children.no_pandas import hide_pandas
from curate.images import protocol
from curate.scorer import framing
from curate.sources import parquet_child

ROOT = Path(__file__).parents[2]
# The targets that children of the nursery serve
RAISED = (
    parquet_child.TARGET, protocol.TARGET, framing.TARGET, "curate.origins.pages:renderer",
    "curate.origins.seeds:drawer",
)  # fmt: skip
CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine()) if sys.platform == "linux" else None
CLONE_PARENT = 0x8000
HIGH, MOST = 1 << 9, 1 << 16  # descriptors: where those handed over wait; more than are open
ORDER = 1 << 16  # bytes of an order at most


class Nursery:
    """The asking side. `Popen` stands in for `subprocess.Popen` in `curate.children.process`."""

    def __init__(self, start: Callable[[], socket.socket]) -> None:
        self._start, self._one = start, threading.Lock()

    @cached_property
    def _asks(self) -> socket.socket:
        return self._start()

    def Popen(self, command: list[str], **options: Any) -> Any:  # noqa: N802
        """A child process: one of the nursery, if its target is one of `RAISED`."""
        arguments = command[command.index("curate.children.child") + 1 :]
        if arguments[0] not in RAISED:
            return subprocess.Popen(command, **options)
        reading, writing = os.pipe()
        handed = array.array("i", [*options["pass_fds"], writing])
        order = json.dumps([arguments, options["env"], options["cwd"]]).encode()
        with self._one:
            self._asks.sendmsg([order], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handed)])
            pid = int(self._asks.recv(ORDER))
        os.close(writing)
        return Raised(pid, os.fdopen(reading, "rb"))


class Raised:
    """What `curate.children.process` needs of a `subprocess.Popen`."""

    def __init__(self, pid: int, stdout: io.BufferedReader) -> None:
        self.pid, self.stdout = pid, stdout

    def wait(self, timeout: float) -> None:
        """Reap the process.

        Raises:
            subprocess.TimeoutExpired: it has not ended within so many seconds.
        """
        with contextlib.suppress(ProcessLookupError), os.fdopen(os.pidfd_open(self.pid), "rb") as ends:
            if not select.select([ends], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a child", timeout)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def adopt(start: Callable[[], socket.socket]) -> None:
    """Have this process's children from the nursery that `start` (`forked`, `hired`) gives, where the machine can."""
    if CLONE is None:
        return
    kept = {name: getattr(subprocess, name) for name in ("DEVNULL", "PIPE", "STDOUT", "TimeoutExpired")}
    process.subprocess = SimpleNamespace(Popen=Nursery(start).Popen, **kept)  # type: ignore[assignment]


def forked() -> socket.socket:
    """A nursery forked off this process, which has one thread."""
    bring_in()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if not os.fork():
        ours.close()
        try:
            raise_children(theirs)
        finally:
            os._exit(0)
    theirs.close()
    return ours


def hired() -> socket.socket:
    """A nursery in an interpreter of its own, started as children are, for a process of any kind."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        hired = subprocess.Popen(
            [sys.executable, "-m", "tests.curate.nursery", str(theirs.fileno())],
            env=process.environment(),
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(lambda: (ours.close(), hired.wait()))
    return ours


def bring_in() -> None:
    """Import what the children work with."""
    for target in RAISED:
        importlib.import_module(target.partition(":")[0])


def raise_children(asked: socket.socket) -> None:
    """Bring a child up for each order, until nobody is left who asks."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    while True:
        order, rights, _, _ = asked.recvmsg(ORDER, socket.CMSG_SPACE(16 * array.array("i").itemsize))
        if not order:
            return
        handed = array.array("i")
        for _, _, data in rights:
            handed.frombytes(data)
        pid = clone()
        if not pid:
            live(*json.loads(order), [*handed])
        for one in handed:
            os.close(one)
        asked.send(str(pid).encode())


def clone() -> int:
    """Fork, but into a child process of this process's parent: it alone may wait for it."""
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid: int = ctypes.PyDLL(None).syscall(CLONE, CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    if pid:
        python.PyOS_AfterFork_Parent()
    else:
        python.PyOS_AfterFork_Child()
    return pid


def live(arguments: list[str], environment: dict[str, str], folder: str, handed: list[int]) -> None:
    """Be `python -m curate.children.child`, started like that by `curate.children.process`."""
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        target, *_, memory = arguments
        *passed, output = [os.dup2(one, HIGH + place) for place, one in enumerate(handed)]
        for place, one in enumerate([os.open(os.devnull, os.O_RDONLY), output, output, *passed]):
            os.dup2(one, place)
        ends = range(3, 3 + len(passed))
        os.closerange(ends.stop, MOST)
        os.environ.clear()
        os.environ.update(environment)
        limit = int(memory) + resident() if int(memory) else 0
        sys.argv = ["child", target, *map(str, ends), str(limit)]
        child.main()
        code = 0
    except SystemExit as stop:
        sys.excepthook(*sys.exc_info()) if not isinstance(stop.code, int) else None
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def resident() -> int:
    """Bytes of address space that this process has already: those of the modules of all children are among them."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    hide_pandas()
    bring_in()
    raise_children(socket.socket(fileno=int(sys.argv[1])))
