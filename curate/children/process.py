"""The parent's side of one child process: start it, write to it, read from it, measure its memory, kill it.

No call here waits for the child: the socket is non-blocking, and `curate.children.lane` keeps the deadlines.
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

ROOM = 1 << 20  # bytes of the receive buffer, which grows only while a larger frame arrives
PIPE = 1 << 16  # bytes that a pipe holds
BUFFER = 1 << 20  # bytes asked for as socket buffer in each direction; the kernel may grant less
TAIL = 2000  # bytes kept of what a child prints
REAP_S = 5.0  # a killed process that has not exited by then is left to init
# The only environment variables that are passed to a child: no keys, no tokens.
PASSED_ON = ("PYTHONDONTWRITEBYTECODE", "PATH", "LD_LIBRARY_PATH", "TMPDIR", "CURATE_CHROMIUM")


class Process:
    """A running `curate.children.child` in a session of its own; its settings are the first frame sent."""

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
                start_new_session=True,  # a process group of its own: killed as a whole, not reached by Ctrl-C
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
        self._arrived = 0  # how many bytes of it are filled
        self._tail = b""
        self.put(settings)

    def put(self, payload: bytes) -> None:
        """Queue one frame for the child; `flush` sends it."""
        self._outgoing.append(memoryview(HEADER.pack(0, len(payload))))
        if payload:
            self._outgoing.append(memoryview(payload))

    def flush(self) -> bool:
        """Send what the socket takes now; True when nothing is left. `frames` notices a dead child."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._outgoing:
                sent = self.socket.sendmsg(list(self._outgoing)[:8])
                while self._outgoing and sent >= len(self._outgoing[0]):
                    sent -= len(self._outgoing.popleft())
                if sent:
                    self._outgoing[0] = self._outgoing[0][sent:]
        return not self._outgoing

    def frames(self, max_bytes: int) -> Iterator[tuple[int, bytes]]:
        """Yield the kind and body of each frame that has arrived completely.

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
        """Move the bytes from `start` on to the front of a buffer of `size` bytes."""
        if not start and size == len(self._incoming):
            return
        rest = self._incoming[start : self._arrived]
        if size != len(self._incoming):
            self._incoming = bytearray(size)
        self._incoming[: len(rest)] = rest
        self._arrived = len(rest)

    def _read(self) -> bool:
        """Read what has arrived into the buffer; True at the end of the stream."""
        try:
            count = self.socket.recv_into(memoryview(self._incoming)[self._arrived :])
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        self._arrived += count
        return not count

    def drain(self) -> bool:
        """Read what the child printed and keep the last bytes; False once it has closed its output."""
        try:
            printed = os.read(self.output.fileno(), PIPE)
        except BlockingIOError:
            return True
        self._tail = (self._tail + printed)[-TAIL:]
        return bool(printed)

    def pss(self) -> int:
        """Memory of the child and all processes it started, in bytes of PSS (shared pages count in part)."""
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
        """Kill the child and all processes it started; returns how it had ended by itself and its last line.

        A child that is about to exit by itself is given `grace_s` seconds to do so.
        """
        ended = self._ended(grace_s) if grace_s else ""  # does not reap it, so its id cannot be reused yet
        for member in self._family()[1:]:  # also those that moved to a session of their own
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
        """How the process ended: `SIGSEGV`, `exit 1`, or empty while it is still running."""
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
    """A child's environment: import path, UTF-8, a fixed hash seed, one thread, and malloc keeping its memory."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    # without these thresholds glibc returns an image's memory to the kernel and faults it in again for the next
    memory = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    fixed = {"PYTHONPATH": path, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "LANG": "C.UTF-8"}
    return kept | fixed | memory | one_thread
