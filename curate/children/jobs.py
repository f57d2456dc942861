"""A payload on its way to a child process and back: one answer, or a stream of them."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

PARTS = 4  # frames that may wait for a stream's reader; with more, nothing is read from the child


@dataclass(frozen=True)
class Outcome:
    """An answer to a payload, or the failure of it."""

    value: bytes | None = None  # the answer; None after a failure
    reason: str | None = None  # of a failure: a slug
    detail: str | None = None  # of a failure: what was found


class Answer:
    """A payload with exactly one answer."""

    alone = answered = abandoned = False

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.future: Future[Outcome] = Future()
        self.future.set_running_or_notify_cancel()  # cannot be cancelled: it has a deadline anyway

    def part(self, value: bytes) -> None:
        """Ignore a stream frame: this job has exactly one answer, and `end` reports the mistake."""

    def end(self, outcome: Outcome | BaseException | None) -> None:
        """Set the future's result: the outcome, or the error that ended all children."""
        if isinstance(outcome, BaseException):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome or Outcome(reason="crashed", detail="answered in parts"))

    def full(self) -> bool:
        """Return False: a future always has room for its one answer."""
        return False


class Stream:
    """A payload with any number of answers, which are queued here for the reader."""

    alone = True  # no other job is queued in the same child meanwhile

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.answered = False  # a frame was handed out: this payload cannot be tried again
        self.abandoned = False
        self._outcomes: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()

    def part(self, value: bytes) -> None:
        """Queue one frame for the reader."""
        self.answered = True
        self._outcomes.put(Outcome(value))

    def end(self, outcome: Outcome | BaseException | None) -> None:
        """Queue the last frame or the failure for the reader, then the end of the stream."""
        if outcome is not None:
            self._outcomes.put(outcome)
        self._outcomes.put(None)

    def full(self) -> bool:
        """Whether so many frames are queued that the child should wait for the reader."""
        return self._outcomes.qsize() >= PARTS

    def read(self) -> Iterator[Outcome]:
        """Yield each outcome as it comes.

        Raises:
            BaseException: the error that ended all children.
        """
        while (outcome := self._outcomes.get()) is not None:
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome

    def abandon(self) -> None:
        """Tell the child's slot that nobody will read the rest."""
        self.answered = self.abandoned = True


Job = Answer | Stream
