"""The event loop's side: starts jobs as slots fall free, and delivers what became of them."""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import Iterable
from concurrent.futures import Future

from curate.errors import CurateError, MachineError, UnitError
from curate.fetch.budget import Budget
from curate.fetch.client import Client, open_session
from curate.fetch.outage import NetworkDown, Reachability
from curate.fetch.outcome import Fetched, FetchOutcome, printable
from curate.fetch.resolver import Resolver
from curate.fetch.schedule import Call, FetchJob, Schedule
from curate.manifest.settings import FetchSettings

log = logging.getLogger(__name__)

CLOSE_S = 5.0
LONGEST_PAUSE_S = 15.0  # between two looks for the network


class Engine:
    """Everything that lives in the event loop; its methods are called there only."""

    def __init__(self, settings: FetchSettings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._resolver = Resolver(
            allow_private=settings.allow_private,
            timeout_s=settings.connect_timeout_s,
            name_servers=settings.name_servers,
        )
        self._session = open_session(settings, self._resolver)
        self._budget = Budget(settings.concurrency, settings.max_bytes)
        self._client = Client(settings, self._session, self._budget)
        self._schedule = Schedule(settings.per_host)
        self._reachability = Reachability(self._resolver, settings.connect_timeout_s)
        self._calls: set[Call] = set()
        self._running: dict[asyncio.Task[None], FetchJob] = {}
        self._doubtful: list[tuple[FetchJob, FetchOutcome]] = []  # hosts not reached: the network may be gone
        self._looking: asyncio.Task[None] | None = None

    @classmethod
    async def live(cls, settings: FetchSettings, started: Future[Engine]) -> None:
        """Make an engine, hand it out, and serve until `stop`."""
        engine = cls(settings)
        started.set_result(engine)
        try:
            await engine._stopping.wait()
        finally:
            await engine._end()

    def submit(self, call: Call, jobs: Iterable[FetchJob]) -> None:
        """Queue jobs of a call."""
        self._calls.add(call)
        for job in jobs:
            self._schedule.add(job)
        self._start()

    def release(self, n_bytes: int) -> None:
        """Bodies of so many bytes were consumed."""
        self._budget.give(n_bytes)

    def abandon(self, call: Call) -> None:
        """Nobody wants the call's results any more."""
        call.abandoned = True
        self._calls.discard(call)
        self._cancel(job for job in self._running.values() if job.call is call)
        self._doubtful = [held for held in self._doubtful if held[0].call is not call]
        call.hand_over()
        while True:
            try:
                results = call.results.get_nowait()
            except queue.Empty:
                return
            if not isinstance(results, CurateError):
                self._budget.give(sum(outcome.held_bytes for _, outcome in results))

    def stop(self) -> None:
        """End all calls and the loop."""
        self._stopping.set()

    def _start(self) -> None:
        """Begin as many jobs as there are slots."""
        while self._looking is None and len(self._running) < self._settings.concurrency:
            job = self._schedule.next()
            if job is None:
                break
            task = asyncio.get_running_loop().create_task(self._work(job))
            self._running[task] = job
            task.add_done_callback(self._ended)

    async def _work(self, job: FetchJob) -> None:
        try:
            outcome = await self._client.get(job.url)
        except MachineError as error:
            self._fail(error)
            return
        except Exception as error:  # one address costs itself alone
            log.exception("fetching an address failed in a way that has no reason yet")
            detail = printable(f"{type(error).__name__}: {error}")
            outcome = FetchOutcome(Fetched(None, "crashed", detail, str(job.url)))
        self._reachability.note(outcome)
        if outcome.reached is False:
            self._doubtful.append((job, outcome))
        else:
            self._deliver(job, outcome)
        if self._looking is None and self._reachability.suspicious():
            self._looking = asyncio.get_running_loop().create_task(self._look_for_network())
            self._looking.add_done_callback(self._check)
        elif self._looking is None and outcome.reached:
            self._deliver_doubtful()

    def _check(self, task: asyncio.Task[None]) -> None:
        """A mistake of ours ends the calls: they would wait for ever for what it lost."""
        if not task.cancelled() and (error := task.exception()):
            log.error("fetching broke", exc_info=error)
            self._looking = None
            self._fail(UnitError(f"fetching broke: {type(error).__name__}: {error}"))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._check(task)
        self._schedule.done(self._running.pop(task))
        self._start()
        if not self._running and self._looking is None:
            self._deliver_doubtful()

    def _deliver(self, job: FetchJob, outcome: FetchOutcome) -> None:
        if job.call.abandoned:
            self._budget.give(outcome.held_bytes)
            return
        if not job.call.finished:
            asyncio.get_running_loop().call_soon(job.call.hand_over)
        job.call.finished.append((job, outcome))

    def _deliver_doubtful(self) -> None:
        doubtful, self._doubtful = self._doubtful, []
        for job, outcome in doubtful:
            self._deliver(job, outcome)

    async def _look_for_network(self) -> None:
        """Start nothing until the network is known to work, or to be gone for longer than our patience.

        If it was gone, the doubtful jobs run again; if only their hosts were, their failures stand.
        """
        now = asyncio.get_running_loop().time
        deadline, pause_s, gone = now() + self._settings.outage_patience_s, 1.0, False
        while not await self._reachability.probe():
            if now() + pause_s > deadline:
                seen = self._reachability.describe()
                self._fail(NetworkDown(f"the network seems down: {seen}; run again once it is back"))
                break
            if not gone:
                log.warning("the network seems down: %s; waiting", self._reachability.describe())
            gone = True
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._looking = None
        if gone:
            self._reachability.restart()
            self._resolver.forget()
            for job, _ in self._doubtful:
                self._schedule.add(job)
            self._doubtful = []
        else:
            self._reachability.trust()
            self._deliver_doubtful()
        self._start()

    def _fail(self, error: CurateError) -> None:
        """End all calls with an error."""
        for call in self._calls:
            call.abandoned = True
            call.results.put(error)
        self._calls.clear()
        self._doubtful.clear()
        self._cancel(self._running.values())

    def _cancel(self, jobs: Iterable[FetchJob]) -> None:
        ended = set(jobs)
        for task, job in self._running.items():
            if job in ended and task is not asyncio.current_task():
                task.cancel()

    async def _end(self) -> None:
        self._fail(UnitError("the fetcher was closed"))
        tasks = {*self._running, *([self._looking] if self._looking else [])}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)
        for resource in (self._session, self._resolver):
            try:
                await asyncio.wait_for(resource.close(), CLOSE_S)
            except TimeoutError:
                log.warning("%s did not close in time", type(resource).__name__)
