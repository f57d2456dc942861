"""A pool of disposable child processes, for code that may crash, hang or use up memory: images, PDFs, browsers.

A child answers payloads one after the other and in order, so a failure belongs to the first unanswered one. After a
crash or a lack of memory, a payload fails only if its process had answered no other payload before; else it is tried
again in a new process. So the result depends on the payload alone. Hostile input may have taken control of the child
that answers: the size of answers is limited, and nothing is unpickled. Processes that a child started are killed with
it, unless such a process moved to a session of its own and the child ended first.

    with Children("curate.images.protocol:preparer", count=2, limits=Limits(), settings=settings) as children:
        outcomes = [children.submit(body) for body in bodies]
"""

from __future__ import annotations

import math
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from types import TracebackType

from curate.children.jobs import Answer, Job, Outcome, Stream
from curate.children.lane import IN_FLIGHT, Lane, Limits

__all__ = ["Children", "Limits", "Outcome"]

QUEUED_BYTES = 256 * 2**20  # with more bytes of payloads in the queue, `submit` waits
CLOSE_S = 30.0  # how long `close` waits for the thread to end


class Children:
    """`count` processes that turn payloads into answers by a handler from the function `target`, `MODULE:FACTORY`.

    FACTORY is called once in each child with `settings` (bytes) and returns the handler, which takes bytes and returns
    bytes or an iterable of bytes. If the handler raises an exception with a `reason` that is a slug, the payload's
    outcome is that reason and the exception's `detail`; with any other exception it is `crashed`. One thread of this
    process serves all children; the methods may be called from any other thread.
    """

    def __init__(self, target: str, count: int, limits: Limits, settings: bytes = b"") -> None:
        """Start the thread; a child starts when it gets its first payload."""
        self._selector = selectors.DefaultSelector()
        self._lanes = [Lane(target, settings, limits, self._selector) for _ in range(count)]
        self._room = threading.Condition()  # guards all that follows
        self._queued: deque[Job] = deque()
        self._queued_bytes = 0
        self._asleep = False
        self._broken: BaseException | None = None
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wakeup, selectors.EVENT_READ, lambda: os.eventfd_read(self._wakeup))
        self._thread = threading.Thread(target=self._serve, name=f"children of {target}", daemon=True)
        self._thread.start()

    def submit(self, payload: bytes) -> Future[Outcome]:
        """Queue a payload that has one answer; waits while the queue is full.

        Raises:
            MachineError: no child can be started; the future may raise it too.
            CancelledError: the pool was closed in the meantime.
        """
        job = Answer(payload)
        self._enqueue(job)
        return job.future

    def stream(self, payload: bytes) -> Iterator[Outcome]:
        """Yield the answers to a payload that has many, as they come; only the last can be a failure.

        A child waits for a slow reader; it is ended when the reader stops reading.

        Raises:
            MachineError, CancelledError: see `submit`.
        """
        job = Stream(payload)
        self._enqueue(job)
        try:
            for outcome in job.read():
                yield outcome
                self._wake()
        finally:
            job.abandon()
            self._wake()

    def close(self) -> None:
        """Kill every child at once; unanswered payloads are cancelled."""
        with self._room:
            self._broken = self._broken or CancelledError("the children were closed")
            self._room.notify_all()
        self._wake()
        self._thread.join(CLOSE_S)

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _enqueue(self, job: Job) -> None:
        with self._room:
            self._room.wait_for(lambda: self._broken or self._has_room())
            if self._broken:
                raise self._broken
            self._queued.append(job)
            self._queued_bytes += len(job.payload)
        self._wake()

    def _has_room(self) -> bool:
        return len(self._queued) < 2 * IN_FLIGHT * len(self._lanes) and self._queued_bytes < QUEUED_BYTES

    def _wake(self) -> None:
        with self._room:
            if self._asleep:
                self._asleep = False
                os.eventfd_write(self._wakeup, 1)

    def _serve(self) -> None:
        """The thread that serves the children; when it returns, every payload has its answer or error."""
        try:
            while self._prepare_to_sleep():
                for key, _ in self._selector.select(self._seconds_until_check()):
                    key.data()
                self._asleep = False
        except BaseException as error:  # raised in this thread, it would reach no caller
            self._broken = error
        finally:
            self._end()

    def _prepare_to_sleep(self) -> bool:
        """Enforce limits, hand out and send jobs; returns False once the pool is closed or broken."""
        self._asleep = True  # set first: whoever queues a job from here on wakes this thread
        if self._broken:
            return False
        now = time.monotonic()
        for lane in self._lanes:
            lane.enforce(now)
        self._assign()
        for lane in self._lanes:
            lane.flush()
        return True

    def _assign(self) -> None:
        """Give queued jobs, in order, to the slots with the fewest jobs, until no slot takes the next one."""
        with self._room:
            while self._queued:
                takers = [lane for lane in self._lanes if lane.takes(self._queued[0])]
                if not takers:
                    break
                job = self._queued.popleft()
                self._queued_bytes -= len(job.payload)
                min(takers, key=lambda lane: len(lane.jobs)).give(job)
                self._room.notify()

    def _seconds_until_check(self) -> float | None:
        """Seconds until a child's deadline or memory must be checked; None: never."""
        first = min(min(lane.deadline, lane.look) for lane in self._lanes)
        return None if math.isinf(first) else max(0.0, first - time.monotonic())

    def _end(self) -> None:
        with self._room:
            # From here on nobody writes to the wake-up descriptor, which is closed below
            self._asleep = False
            jobs = [*(job for lane in self._lanes for job in lane.jobs), *self._queued]
            self._queued.clear()
            self._room.notify_all()
        for lane in self._lanes:
            lane.stop()
        for job in jobs:
            job.end(self._broken)
        self._selector.close()
        os.close(self._wakeup)
