"""Whose turn it is: requests in their order, except that no host gets more than its share at once.

A host that asks for a pause gets it, for all its addresses; after it fewer requests go there at once.
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

MOST_RESTS = 10  # that one address is put off for, because its host asked for a pause


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
    rests: int = 0  # how often it was put off because its host asked for a pause

    @property
    def host(self) -> str:
        """The name that shares a limit."""
        return self.url.raw_host or ""


@dataclass(eq=False, slots=True)
class HostState:
    """One host's jobs and limits, while it has any."""

    limit: float  # jobs at once; less after it asked for a pause, more again with each answer
    line: deque[FetchJob] = field(default_factory=deque)  # waiting for their turn
    active: int = 0  # ready or running
    not_before: float = 0.0  # by the schedule's clock
    timed: bool = False  # whether somebody will look at it at `not_before`
    slots: int = 0  # of `active` and still free, that the cluster granted; unused by one worker alone


class Schedule:
    """The jobs that have not begun. A host's jobs beyond its limit, or while it rests, wait in its line.

    `later(delay_s, function, host)` calls a function after so many seconds; `begin` is called when a host's time has
    come. With `shared`, a job also needs one of the slots that `grant` brings: the limit of all workers together.
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
        self._rested: dict[str, float] = {}  # hosts that asked for a pause: until when
        self._back: Counter[str] = Counter()  # slots whose jobs have ended (with `shared`)

    def add(self, job: FetchJob, first: bool = False) -> None:
        """Queue a job, at the end or the front of its host's line."""
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
        """The job that is to begin now, if there is one."""
        while self._ready:
            job = self._ready.popleft()
            if not job.call.abandoned:
                return job
            self.done(job)
        return None

    def done(self, job: FetchJob, well: bool = False) -> None:
        """A job that `next` gave out has ended, `well` with an answer: its host's next one is ready."""
        host = self._hosts[job.host]
        host.active -= 1
        self._back[job.host] += self._shared
        if well and host.limit < self._per_host:
            host.limit = min(host.limit + 1 / max(host.limit, 1.0), self._per_host)
        self._promote(job.host, host, first=True)
        self._forget(job.host, host)

    def rest(self, name: str, seconds: float) -> None:
        """Begin nothing at a host for so long, and then with half as many jobs at once."""
        until = self._clock() + seconds
        self._rested = {one: end for one, end in self._rested.items() if end > self._clock()}
        self._rested[name] = max(until, self._rested.get(name, 0.0))
        if (host := self._hosts.get(name)) is not None:
            if until > host.not_before:
                host.limit = max(1.0, host.limit / 2)
            host.not_before = max(until, host.not_before)

    def wanted(self) -> dict[str, int]:
        """How many slots hosts could use beyond those that were granted (with `shared`)."""
        now = self._clock()
        found = {
            name: min(len(host.line), int(host.limit) - host.active - host.slots)
            for name, host in self._hosts.items()
            if host.line and host.not_before <= now
        }
        return {name: count for name, count in found.items() if count > 0}

    def grant(self, slots: Mapping[str, int]) -> None:
        """Use so many slots of hosts; those that nothing waits for are to be given back by `spare`."""
        for name, count in slots.items():
            host = self._hosts.setdefault(name, HostState(float(self._per_host)))
            host.slots += count
            self._promote(name, host)

    def spare(self) -> dict[str, int]:
        """Slots that nothing needs now, those of ended jobs among them; they are another worker's from here on."""
        found, self._back = self._back, Counter()
        for name in [name for name, host in self._hosts.items() if host.slots]:
            found[name] += self._hosts[name].slots
            self._hosts[name].slots = 0
            self._forget(name, self._hosts[name])
        return {name: count for name, count in found.items() if count}

    def _promote(self, name: str, host: HostState, first: bool = False) -> None:
        """Make ready what may begin."""
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
                self._ready.appendleft(job)  # it came before those that are ready; its host stays busy
            else:
                self._ready.append(job)

    def _forget(self, name: str, host: HostState) -> None:
        """Forget a host for which there is nothing to do, once its next request could begin."""
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
