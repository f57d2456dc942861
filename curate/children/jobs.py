"""A payload on its way to a child process and back: one answer, or a stream of them."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

PARTS = 4  # frames that wait for a stream's reader; beyond it the child is left to wait


@dataclass(frozen=True)
class Outcome:
    """What became of a payload: a value, or a reason (a slug) and what was found."""

    value: bytes | None = None
    reason: str | None = None
    detail: str | None = None


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
        """Give the outcome, or what befell the children as a whole, to whoever waits for the future."""
        if isinstance(outcome, BaseException):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome or Outcome(reason="crashed", detail="answered in parts"))

    def full(self) -> bool:
        """False: a future can take its one answer at any time."""
        return False


class Stream:
    """A payload with any number of answers, which wait here for their reader."""

    alone = True  # nothing waits behind it in the same child

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
