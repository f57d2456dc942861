"""One disposable child process as its parent holds it: started, written to, read from, measured, killed.

Nothing here waits: the socket never blocks, and `curate.children.pool` says when to give up.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import psutil

from curate.children.child import HEADER

ROOM = 1 << 20  # bytes for what arrives, and more only while a larger frame does
PIPE = 1 << 16  # bytes that a pipe holds
BUFFER = 1 << 20  # bytes on their way in each direction, of which the kernel grants what it may
TAIL = 2000  # bytes kept of what a child prints
REAP_S = 5.0  # a killed process that is not gone by then is left to init
PASSED_ON = (
    "PATH",
    "LD_LIBRARY_PATH",
    "TMPDIR",
    "CURATE_CHROMIUM",
)  # all that a child sees of our environment: no keys, no tokens


class Process:
    """A started `curate.children.child` in a session of its own, its settings already on the way."""

    def __init__(self, target: str, settings: bytes, address_space: int) -> None:
        self.socket, theirs = socket.socketpair()
        for end in (self.socket, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        lifeline, self._lifeline = os.pipe()
        try:
            arguments = (target, str(theirs.fileno()), str(lifeline), str(address_space))
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "curate.children.child", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(),
                cwd="/",
                pass_fds=(theirs.fileno(), lifeline),
                start_new_session=True,  # a group that can be killed whole, out of Ctrl-C's reach
            )
        except BaseException:
            self.socket.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        assert self._popen.stdout is not None
        self.output = self._popen.stdout
        self.socket.setblocking(False)
        os.set_blocking(self.output.fileno(), False)
        self._outgoing: deque[memoryview] = deque()
        self._incoming = bytearray(ROOM)
        self._arrived = 0  # bytes in it
        self._tail = b""
        self.put(settings)

    def put(self, payload: bytes) -> None:
        """Queue one frame for the child; `flush` sends it."""
        self._outgoing.append(memoryview(HEADER.pack(0, len(payload))))
        if payload:
            self._outgoing.append(memoryview(payload))

    def flush(self) -> bool:
        """Send what the socket takes now; True when nothing is left. A dead child is noticed in reading."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._outgoing:
                sent = self.socket.sendmsg(list(self._outgoing)[:8])
                while self._outgoing and sent >= len(self._outgoing[0]):
                    sent -= len(self._outgoing.popleft())
                if sent:
                    self._outgoing[0] = self._outgoing[0][sent:]
        return not self._outgoing

    def frames(self, max_bytes: int) -> Iterator[tuple[int, bytes]]:
        """The kind and body of each frame that has wholly arrived.

        Raises:
            EOFError: the child closed its end, or announced a frame of more than `max_bytes`.
        """
        ended, start, size = self._read(), 0, ROOM
        while self._arrived - start >= HEADER.size:
            kind, length = HEADER.unpack_from(self._incoming, start)
            if length > max_bytes:
                raise EOFError(f"announced an answer of {length} bytes, of {max_bytes} allowed")
            end = start + HEADER.size + length
            if self._arrived < end:
                size = max(ROOM, end - start)
                break
            yield kind, bytes(memoryview(self._incoming)[start + HEADER.size : end])
            start = end
        self._keep(start, size)
        if ended:
            raise EOFError

    def _keep(self, start: int, size: int) -> None:
        """Move what arrived from `start` on to the front of room for `size` bytes."""
        if not start and size == len(self._incoming):
            return
        rest = self._incoming[start : self._arrived]
        if size != len(self._incoming):
            self._incoming = bytearray(size)
        self._incoming[: len(rest)] = rest
        self._arrived = len(rest)

    def _read(self) -> bool:
        """Take in what has arrived; True at the end of the stream."""
        try:
            count = self.socket.recv_into(memoryview(self._incoming)[self._arrived :])
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        self._arrived += count
        return not count

    def drain(self) -> bool:
        """Take what the child printed and keep its end; False once there is no more to come."""
        try:
            printed = os.read(self.output.fileno(), PIPE)
        except BlockingIOError:
            return True
        self._tail = (self._tail + printed)[-TAIL:]
        return bool(printed)

    def pss(self) -> int:
        """Bytes of memory of the child and all it started, shared pages divided among their users."""
        total = 0
        for member in self._family():
            with contextlib.suppress(psutil.Error):
                total += member.memory_full_info().pss
        return total

    def _family(self) -> list[psutil.Process]:
        try:
            child = psutil.Process(self._popen.pid)
            return [child, *child.children(recursive=True)]
        except psutil.Error:
            return []

    def kill(self, grace_s: float = 0.0) -> str:
        """End the child and all it started; says how it had ended by itself and its last words.

        A child that is about to end by itself is given `grace_s`.
        """
        ended = self._ended(grace_s) if grace_s else ""  # not reaped yet, so its group's id is still its own
        for member in self._family()[1:]:  # those in sessions of their own too
            with contextlib.suppress(psutil.Error):
                member.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(REAP_S)
        self.drain()
        self.socket.close()
        self.output.close()
        os.close(self._lifeline)
        words = self._tail.decode(errors="replace").strip().rpartition("\n")[2]
        return ": ".join(part for part in (ended, words) if part)

    def _ended(self, grace_s: float) -> str:
        """`SIGSEGV`, `exit 1`, or nothing for a process that is still running."""
        watch = os.pidfd_open(self._popen.pid)
        try:
            poller = select.poll()
            poller.register(watch, select.POLLIN)
            poller.poll(grace_s * 1000)
            ended = os.waitid(os.P_PIDFD, watch, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        finally:
            os.close(watch)
        if ended is None:
            return ""
        exited = ended.si_code == os.CLD_EXITED
        return f"exit {ended.si_status}" if exited else signal.Signals(ended.si_status).name


def environment() -> dict[str, str]:
    """A child's environment: where to import from, UTF-8, a fixed hash seed, one thread, memory held."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    # glibc would hand an image's memory back and fault it in again with every image
    memory = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    fixed = {"PYTHONPATH": path, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "LANG": "C.UTF-8"}
    return kept | fixed | memory | one_thread
