"""Whose turn it is: requests in their order, except that no host gets more than its share at once."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from queue import SimpleQueue

from yarl import URL

from curate.errors import CurateError
from curate.fetch.outcome import FetchOutcome


@dataclass(eq=False)
class Call:
    """One `Fetcher.fetch` that is under way. A CurateError among its results ends it."""

    results: SimpleQueue[list[tuple[FetchJob, FetchOutcome]] | CurateError] = field(
        default_factory=SimpleQueue
    )
    finished: list[tuple[FetchJob, FetchOutcome]] = field(default_factory=list)  # not yet among the results
    abandoned: bool = False

    def hand_over(self) -> None:
        """Give the consumer all that has finished at once: waking it for each costs as much as fetching."""
        if self.finished:
            self.results.put(self.finished)
            self.finished = []


@dataclass(eq=False, slots=True)
class FetchJob:
    """One address of a call."""

    call: Call
    url: URL

    @property
    def host(self) -> str:
        """The name that shares a limit."""
        return self.url.raw_host or ""


class Schedule:
    """The jobs that have not begun. A host's jobs beyond its limit wait for `done` of earlier ones."""

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._ready: deque[FetchJob] = deque()
        self._waiting: dict[str, deque[FetchJob]] = {}
        self._active: Counter[str] = Counter()  # ready or running

    def add(self, job: FetchJob) -> None:
        """Queue a job."""
        if self._active[job.host] < self._per_host:
            self._active[job.host] += 1
            self._ready.append(job)
        else:
            self._waiting.setdefault(job.host, deque()).append(job)

    def next(self) -> FetchJob | None:
        """The job that is to begin now, if there is one."""
        while self._ready:
            job = self._ready.popleft()
            if not job.call.abandoned:
                return job
            self.done(job)
        return None

    def done(self, job: FetchJob) -> None:
        """A job that `next` gave out has ended: its host's next one is ready."""
        line = self._waiting.get(job.host)
        if line:
            self._ready.appendleft(line.popleft())  # it came before those that are ready; its host stays busy
            if not line:
                del self._waiting[job.host]
            return
        self._active[job.host] -= 1
        if not self._active[job.host]:
            del self._active[job.host]

    def __bool__(self) -> bool:
        return bool(self._ready)
