"""Decides which request starts next: the oldest one whose host is below its limit and not paused.

A host that asks for a pause gets no request until the pause is over; after that it gets fewer requests at once.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue

from yarl import URL

from curate.errors import CurateError
from curate.fetch.outcome import FetchOutcome

MOST_RESTS = 10  # so often at most one address is tried again after its host asked for a pause


@dataclass(eq=False)
class Call:
    """One call of `Fetcher.fetch` that is under way. A CurateError among its results ends it."""

    results: SimpleQueue[list[tuple[FetchJob, FetchOutcome]] | CurateError] = field(
        default_factory=SimpleQueue
    )
    finished: list[tuple[FetchJob, FetchOutcome]] = field(default_factory=list)  # not yet among the results
    abandoned: bool = False

    def hand_over(self) -> None:
        """Give the consumer all finished jobs together: waking it for each one would cost as much as fetching."""
        if self.finished:
            self.results.put(self.finished)
            self.finished = []


@dataclass(eq=False, slots=True)
class FetchJob:
    """One address of a call."""

    call: Call
    url: URL
    rests: int = 0  # how often it was put off because its host asked for a pause

    @property
    def host(self) -> str:
        """The host name by which requests are counted for the limit."""
        return self.url.raw_host or ""


@dataclass(eq=False, slots=True)
class HostState:
    """The jobs and limits of one host; forgotten once the host has no jobs left."""

    limit: float  # jobs at once; lowered when the host asks for a pause, raised again with each answer
    line: deque[FetchJob] = field(default_factory=deque)  # jobs that wait
    active: int = 0  # jobs that are ready or running
    not_before: float = 0.0  # when the next job may start, by the schedule's clock
    timed: bool = False  # whether a timer for `not_before` is set
    slots: int = 0  # granted and not used yet; only with `shared`


class Schedule:
    """The jobs that have not started. Jobs of a host that is at its limit or paused wait in the host's line.

    Args:
        per_host: the most jobs of one host at once.
        rate: the most jobs of one host that start in a second; 0: any number.
        clock: returns the time in seconds.
        later: `later(delay_s, function, host)` calls `function(host)` after `delay_s` seconds; None: no timers are set.
        begin: called when a timer made a job ready.
        shared: whether a job also needs a slot, which `grant` brings. So the limit holds for all workers together.
    """

    def __init__(
        self,
        per_host: int,
        rate: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[str], None], str], object] | None = None,
        begin: Callable[[], None] = lambda: None,
        shared: bool = False,
    ) -> None:
        self._per_host, self._interval_s = per_host, 1 / rate if rate else 0.0
        self._clock, self._later, self._begin, self._shared = clock, later, begin, shared
        self._ready: deque[FetchJob] = deque()
        self._hosts: dict[str, HostState] = {}
        self._rested: dict[str, float] = {}  # hosts that asked for a pause -> when it ends, by `clock`
        self._back: Counter[str] = Counter()  # with `shared`: host -> slots of jobs that have ended

    def add(self, job: FetchJob, first: bool = False) -> None:
        """Queue a job at the end of its host's line; with `first`, at the front."""
        host = self._hosts.get(job.host)
        if host is None:
            host = self._hosts[job.host] = HostState(float(self._per_host))
            host.not_before = self._rested.get(job.host, 0.0)
            if host.not_before > self._clock():
                host.limit = 1.0
        if first:
            host.line.appendleft(job)
        else:
            host.line.append(job)
        self._promote(job.host, host)

    def next(self) -> FetchJob | None:
        """Return the next job to start, and count it as running; None if no job is ready."""
        while self._ready:
            job = self._ready.popleft()
            if not job.call.abandoned:
                return job
            self.done(job)
        return None

    def done(self, job: FetchJob, well: bool = False) -> None:
        """Note that a job from `next` has ended, so that the next job of its host becomes ready.

        `well` says that it brought a body: if the host's limit was lowered, it rises.
        """
        host = self._hosts[job.host]
        host.active -= 1
        self._back[job.host] += self._shared
        if well and host.limit < self._per_host:
            host.limit = min(host.limit + 1 / max(host.limit, 1.0), self._per_host)
        self._promote(job.host, host, first=True)
        self._forget(job.host, host)

    def rest(self, name: str, seconds: float) -> None:
        """Start no job of the host `name` for `seconds`, and after that half as many at once as before."""
        until = self._clock() + seconds
        self._rested = {one: end for one, end in self._rested.items() if end > self._clock()}
        self._rested[name] = max(until, self._rested.get(name, 0.0))
        if (host := self._hosts.get(name)) is not None:
            if until > host.not_before:
                host.limit = max(1.0, host.limit / 2)
            host.not_before = max(until, host.not_before)

    def wanted(self) -> dict[str, int]:
        """Return host -> the slots that it could use beyond those it has (with `shared`)."""
        now = self._clock()
        found = {
            name: min(len(host.line), int(host.limit) - host.active - host.slots)
            for name, host in self._hosts.items()
            if host.line and host.not_before <= now
        }
        return {name: count for name, count in found.items() if count > 0}

    def grant(self, slots: Mapping[str, int]) -> None:
        """Add granted slots (host -> number) and make jobs ready; `spare` gives back those that stay unused."""
        for name, count in slots.items():
            host = self._hosts.setdefault(name, HostState(float(self._per_host)))
            host.slots += count
            self._promote(name, host)

    def spare(self) -> dict[str, int]:
        """Return host -> slots to give back: unused ones and those of ended jobs. The schedule no longer has them."""
        found, self._back = self._back, Counter()
        for name in [name for name, host in self._hosts.items() if host.slots]:
            found[name] += self._hosts[name].slots
            self._hosts[name].slots = 0
            self._forget(name, self._hosts[name])
        return {name: count for name, count in found.items() if count}

    def _promote(self, name: str, host: HostState, first: bool = False) -> None:
        """Make the host's jobs ready that may start now; with `first`, ahead of the jobs that are ready already."""
        while host.line and host.active < int(host.limit) and (host.slots or not self._shared):
            now = self._clock()
            if host.not_before > now:
                self._look_later(name, host, host.not_before - now)
                return
            job = host.line.popleft()
            host.active += 1
            host.slots -= self._shared
            host.not_before = now + self._interval_s
            if first:
                self._ready.appendleft(job)  # it was queued before the jobs that are ready
            else:
                self._ready.append(job)

    def _forget(self, name: str, host: HostState) -> None:
        """Forget a host without jobs and slots; if it may not get a request yet, set a timer to forget it then."""
        if host.active or host.line or host.slots:
            return
        delay_s = host.not_before - self._clock()
        if delay_s > 0 and self._later is not None:
            self._look_later(name, host, delay_s)
        else:
            del self._hosts[name]

    def _look_later(self, name: str, host: HostState, delay_s: float) -> None:
        if not host.timed and self._later is not None:
            host.timed = True
            self._later(delay_s, self._wake, name)

    def _wake(self, name: str) -> None:
        host = self._hosts.get(name)
        if host is not None:
            host.timed = False
            self._promote(name, host)
            self._forget(name, host)
            self._begin()

    def __bool__(self) -> bool:
        return bool(self._ready)
