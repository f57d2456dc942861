"""One worker slot: a child process, restarted after a failure, and its job queue."""

from __future__ import annotations

import math
import re
import selectors
import time
from collections import deque
from dataclasses import dataclass
from typing import Literal

from curate.children.child import END, FAILED, PART, READY, WHOLE
from curate.children.jobs import Job, Outcome
from curate.children.process import Process
from curate.errors import MachineError

IN_FLIGHT = 8  # jobs queued in one child's socket, so that it need not wait for its parent between two
IN_FLIGHT_BYTES = 8 * 2**20  # limit on the bytes of these
START_S = 60.0  # for an interpreter, the target's imports and its factory
STARTS = 3  # failed starts in a row after which the error is put down to the machine, not to a payload
LATE_S = 0.25  # added once to a deadline: if this process was delayed, it first reads what has arrived
GRACE_S = 0.5  # how long a child that closed its socket may take to exit, so that its status is known
LOOK_S = 0.2  # between two checks of a child's memory
SLUG = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class Limits:
    """The limits of one child. Times are seconds, sizes are bytes."""

    timeout_s: float = 20.0  # for one answer, or one frame of a stream
    # For all frames of a stream together, time spent on its reader not counted
    stream_timeout_s: float = 600.0
    memory_bytes: int = 2 * 2**30
    # Address space of the child, or PSS of it and all it started
    memory_by: Literal["rlimit", "pss"] = "rlimit"
    recycle_after: int = 500  # payloads
    max_answer_bytes: int = 256 * 2**20


class ChildError(Exception):
    """The child must be ended and replaced; `reason` is a slug, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class Lane:
    """A child process that works on the first of `jobs`, while the others wait in the child's socket.

    `deadline` and `look` are times of the monotonic clock at which `enforce` must be called.
    """

    def __init__(
        self, target: str, settings: bytes, limits: Limits, selector: selectors.BaseSelector
    ) -> None:
        self._target, self._settings, self._limits, self._selector = target, settings, limits, selector
        self._process: Process | None = None
        self._failed_starts = 0
        self.jobs: deque[Job] = deque()
        self._rest()

    def _rest(self) -> None:
        """Reset the state to that of a slot without a process."""
        self._ready = self._paused = self._overdue = False
        self._watched = 0  # the selector's events
        self._served = 0  # jobs that this process has ended
        self._since = self._spent = 0.0  # start of the current wait; seconds already spent on the first job
        self.deadline = self.look = math.inf  # when the first job times out; when to check the memory

    def takes(self, job: Job) -> bool:
        """Whether `give` may be called with the job now."""
        if not self.jobs:
            return True
        if job.alone or self.jobs[0].alone or len(self.jobs) >= IN_FLIGHT:
            return False
        size = len(job.payload) + sum(len(each.payload) for each in self.jobs)
        return self._served + len(self.jobs) < self._limits.recycle_after and size <= IN_FLIGHT_BYTES

    def give(self, job: Job) -> None:
        """Queue a job, and start the child if there is none; `flush` sends the job."""
        self.jobs.append(job)
        if self._process is None:
            self._start()
        else:
            self._process.put(job.payload)
            if len(self.jobs) == 1:
                self._restart_clock()

    def flush(self) -> None:
        """Send what the socket takes, and listen for answers unless a stream's reader is too slow."""
        if self._process is None:
            return
        paused = bool(self.jobs) and self.jobs[0].full()
        if paused != self._paused:
            self._paused = paused
            self._restart_clock(self._spent)
        wanted = 0 if paused else selectors.EVENT_READ
        wanted |= 0 if self._process.flush() else selectors.EVENT_WRITE
        if wanted != self._watched:
            self._watch(wanted)

    def receive(self) -> None:
        """Read and handle the frames that have arrived from the child."""
        try:
            if self._process is not None:
                for kind, body in self._process.frames(self._limits.max_answer_bytes):
                    self._receive_frame(kind, body)
        except EOFError as error:
            self._replace(ChildError("crashed", str(error)))
        except ChildError as lost:
            self._replace(lost)
        if not self.jobs and self._served >= self._limits.recycle_after:
            self.stop()

    def listen(self) -> None:
        """Read what the child printed; its last words go into error messages."""
        if self._process is not None and not self._process.drain():
            self._selector.unregister(self._process.output)

    def enforce(self, now: float) -> None:
        """End and replace the child if it exceeded a limit. `now`: seconds of the monotonic clock."""
        try:
            if self.jobs and self.jobs[0].abandoned:
                raise ChildError("abandoned", "nobody reads on")
            if now >= self.deadline:
                self._expire(now)
            if now >= self.look:
                self._check_memory(now)
        except ChildError as lost:
            self._replace(lost)

    def stop(self, grace_s: float = 0.0) -> str:
        """End the process, if there is one; returns how it had ended by itself and the last line it printed."""
        process, self._process = self._process, None
        if process is None:
            return ""
        self._unwatch(process)
        self._rest()
        return process.kill(grace_s)

    def _start(self) -> None:
        """Start a process and send it every queued job.

        Raises:
            MachineError: no process could be started.
        """
        by_limit = self._limits.memory_by == "rlimit"
        try:
            process = Process(self._target, self._settings, self._limits.memory_bytes if by_limit else 0)
        except OSError as error:
            raise MachineError(f"cannot start a child process for {self._target}: {error}") from None
        self._process = process
        self._selector.register(process.output, selectors.EVENT_READ, self.listen)
        now = time.monotonic()
        self.deadline = now + START_S
        self.look = math.inf if by_limit else now + LOOK_S
        for job in self.jobs:
            process.put(job.payload)

    def _receive_frame(self, kind: int, body: bytes) -> None:
        """Handle one frame from the child.

        Raises:
            ChildError: the child is to be replaced.
        """
        if kind == READY and not self._ready:
            self._ready, self._failed_starts = True, 0
            self._restart_clock()
        elif not self._ready or not self.jobs:
            raise ChildError("crashed", "answered when it was not asked")
        elif kind == PART:
            self.jobs[0].part(body)
            self._restart_clock(self._spent + time.monotonic() - self._since)
            if self._spent > self._limits.stream_timeout_s:
                raise ChildError("timed_out", f"not done within {self._limits.stream_timeout_s:g} s")
        elif kind == WHOLE:
            self._end(Outcome(body))
        elif kind == END:
            self._end(None)
        elif kind == FAILED:
            self._end(failure(body))
        else:
            raise ChildError("crashed", f"sent a frame of unknown kind {kind}")

    def _end(self, outcome: Outcome | None) -> None:
        """Finish the first job and start the clock of the next one."""
        self._served += 1
        self.jobs.popleft().end(outcome)
        self._restart_clock()

    def _restart_clock(self, spent: float = 0.0) -> None:
        """Set the clock for the first job's next answer; `spent` seconds went into its answers before."""
        self._since, self._spent, self._overdue = time.monotonic(), spent, False
        if not self._ready:
            return
        if not self.jobs or self._paused:
            self.deadline = math.inf
            return
        left = self._limits.stream_timeout_s - spent if self.jobs[0].alone else math.inf
        self.deadline = self._since + min(self._limits.timeout_s, left)

    def _expire(self, now: float) -> None:
        if self._overdue:
            limit = self._limits.timeout_s if self._ready else START_S
            raise ChildError("timed_out", f"no answer within {limit:g} s")
        self._overdue = True
        self.deadline = now + LATE_S

    def _check_memory(self, now: float) -> None:
        assert self._process is not None
        used = self._process.pss()
        if used > self._limits.memory_bytes:
            raise ChildError("out_of_memory", f"{used} bytes in use, of {self._limits.memory_bytes} allowed")
        self.look = now + LOOK_S

    def _replace(self, lost: ChildError) -> None:
        """End the process and start another one for the jobs that are left.

        The first job gets the failure if it alone can have caused it; else it is sent once more.

        Raises:
            MachineError: processes keep ending before they are ready.
        """
        up, alone = self._ready, self._served == 0
        words = self.stop(GRACE_S if lost.reason == "crashed" else 0.0)
        detail = "; ".join(part for part in (lost.detail, words) if part)
        if not up:
            self._failed_starts += 1
            if self._failed_starts == STARTS:
                raise MachineError(f"a child process for {self._target} does not start: {detail}")
        elif self.jobs and (alone or lost.reason == "timed_out" or self.jobs[0].answered):
            self.jobs.popleft().end(Outcome(reason=lost.reason, detail=detail))
        if self.jobs:
            self._start()

    def _watch(self, events: int) -> None:
        assert self._process is not None
        if not events:
            self._selector.unregister(self._process.socket)
        elif self._watched:
            self._selector.modify(self._process.socket, events, self.receive)
        else:
            self._selector.register(self._process.socket, events, self.receive)
        self._watched = events

    def _unwatch(self, process: Process) -> None:
        watched = self._selector.get_map()
        for end in (process.socket, process.output):
            if end in watched:
                self._selector.unregister(end)


def failure(body: bytes) -> Outcome:
    """Turn a child's failure message into an outcome: its own reason if that is a slug, else `crashed`.

    Raises:
        ChildError: the child ran out of memory, and is about to exit.
    """
    reason, _, detail = body[:4000].decode(errors="replace").partition("\n")
    if reason == "out_of_memory":
        raise ChildError(reason, detail)
    if not SLUG.fullmatch(reason):
        return Outcome(reason="crashed", detail=detail)
    return Outcome(reason=reason, detail=detail)
