"""The part of the fetcher that runs in the event loop: starts jobs within the limits, and delivers their results."""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import Iterable
from concurrent.futures import Future

from curate.errors import CurateError, MachineError, UnitError
from curate.fetch.budget import Budget
from curate.fetch.client import Client, open_session
from curate.fetch.exchange import Exchange
from curate.fetch.outage import NetworkDown, Reachability
from curate.fetch.outcome import Fetched, FetchOutcome, printable
from curate.fetch.resolver import Resolver
from curate.fetch.schedule import MOST_RESTS, Call, FetchJob, Schedule
from curate.manifest.settings import FetchSettings

log = logging.getLogger(__name__)

ACCEPT = {True: "image/*,*/*;q=0.8", False: "text/html,application/xhtml+xml,*/*;q=0.8"}  # key: `images`
CLOSE_S = 5.0  # the longest wait for each thing that is closed
LONGEST_PAUSE_S = 15.0  # between two probes of the network


class Engine:
    """Owns the session, the resolver and the schedule. Its methods may be called in the event loop only.

    Args:
        settings: limits, times and the user agent.
        images: whether bodies that are no images are refused.
        exchange: shares the per-host limits with other workers; None: the limits hold for this fetcher alone.
    """

    def __init__(self, settings: FetchSettings, images: bool, exchange: Exchange | None = None) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._resolver = Resolver(
            allow_private=settings.allow_private,
            timeout_s=settings.connect_timeout_s,
            name_servers=settings.name_servers,
        )
        self._session = open_session(settings, self._resolver, ACCEPT[images])
        self._budget = Budget(settings.concurrency, settings.max_bytes)
        self._client = Client(settings, self._session, self._budget, images)
        loop = asyncio.get_running_loop()
        self._schedule = Schedule(
            settings.per_host,
            settings.per_host_rate,
            loop.time,
            loop.call_later,
            self._start,
            shared=exchange is not None,
        )
        self._exchange = exchange
        self._reachability = Reachability(self._resolver, settings.connect_timeout_s)
        self._calls: set[Call] = set()
        self._running: dict[asyncio.Task[None], FetchJob] = {}
        self._answered: dict[FetchJob, bool] = {}  # finished jobs: whether they brought a body
        self._again: set[FetchJob] = set()  # finished jobs that must run again
        # Hosts that asked for a pause longer than `longest_rest_s`: until when (loop time), and their answer.
        self._closed: dict[str, tuple[float, FetchOutcome]] = {}
        self._rests: dict[
            str, float
        ] = {}  # seconds that hosts asked for since the last trade with other workers
        self._doubtful: list[
            tuple[FetchJob, FetchOutcome]
        ] = []  # host not reached: perhaps the network is gone
        self._looking: asyncio.Task[None] | None = None  # set while the network is probed

    @classmethod
    async def live(
        cls,
        settings: FetchSettings,
        images: bool,
        started: Future[Engine],
        exchange: Exchange | None = None,
    ) -> None:
        """Make an engine, set it as the result of `started`, and run until `stop` is called."""
        engine = cls(settings, images, exchange)
        started.set_result(engine)
        sharing = asyncio.create_task(engine._share()) if exchange else None
        try:
            await engine._stopping.wait()
        finally:
            if sharing is not None:  # slots that it is just being granted must not get lost
                await asyncio.wait([sharing], timeout=CLOSE_S)
            await engine._end()
            if exchange is not None:
                await asyncio.sleep(0)  # so that the slots of ended tasks are counted
                await asyncio.to_thread(exchange.trade, engine._schedule.spare(), {}, {})

    def submit(self, call: Call, jobs: Iterable[FetchJob]) -> None:
        """Queue jobs of a call and start as many as the limits allow."""
        self._calls.add(call)
        for job in jobs:
            self._schedule.add(job)
        self._start()

    def release(self, n_bytes: int) -> None:
        """Give `n_bytes` back to the budget: the consumer has taken the bodies."""
        self._budget.give(n_bytes)

    def abandon(self, call: Call) -> None:
        """End a call whose results are no longer wanted: cancel its jobs and give their bytes back."""
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
        """End all calls and `live`."""
        self._stopping.set()

    def _start(self) -> None:
        """Start jobs up to the limit of concurrent requests."""
        while self._looking is None and len(self._running) < self._settings.concurrency:
            job = self._schedule.next()
            if job is None:
                break
            task = asyncio.get_running_loop().create_task(self._work(job))
            self._running[task] = job
            task.add_done_callback(self._ended)

    async def _work(self, job: FetchJob) -> None:
        try:
            outcome = self._refused(job) or await self._client.get(job.url)
        except MachineError as error:
            self._fail(error)
            return
        except Exception as error:  # one address costs itself alone
            log.exception("fetching an address failed in a way that has no reason yet")
            detail = printable(f"{type(error).__name__}: {error}")
            outcome = FetchOutcome(Fetched(None, "crashed", detail, str(job.url)))
        self._reachability.note(outcome)
        self._answered[job] = outcome.fetched.body is not None
        if outcome.rest_s and self._put_off(job, outcome):
            return
        if outcome.reached is False:
            self._doubtful.append((job, outcome))
        else:
            self._deliver(job, outcome)
        if self._looking is None and self._reachability.suspicious():
            self._looking = asyncio.get_running_loop().create_task(self._look_for_network())
            self._looking.add_done_callback(self._check)
        elif self._looking is None and outcome.reached:
            self._deliver_doubtful()

    def _refused(self, job: FetchJob) -> FetchOutcome | None:
        """Return a failure if the job's host asked for a longer pause than `longest_rest_s`; else None."""
        until, answer = self._closed.get(job.host, (0.0, None))
        if answer is None or until < asyncio.get_running_loop().time():
            return None
        said = f"{answer.fetched.detail}; the host asked for a pause of {answer.rest_s:.0f} s"
        return FetchOutcome(Fetched(None, answer.fetched.reason, said, str(job.url)))

    def _put_off(self, job: FetchJob, outcome: FetchOutcome) -> bool:
        """Pause a host for as long as it asks; return whether the job runs again after the pause."""
        hosts = {job.host, outcome.place[0] if outcome.place else job.host}
        if outcome.rest_s > self._settings.longest_rest_s:
            until = asyncio.get_running_loop().time() + outcome.rest_s
            if not self._closed:  # said of the first host only: there may be thousands
                log.warning(
                    "%s asks for a pause of %.0f s, beyond fetch.longest_rest_s: its rows are dropped as %s meanwhile, "
                    "and so are those of other such hosts; `curate retry` fetches them later",
                    job.host,
                    outcome.rest_s,
                    outcome.fetched.reason,
                )
            self._closed |= dict.fromkeys(hosts, (until, outcome))
            return False
        for host in hosts:
            self._schedule.rest(host, outcome.rest_s)
            self._rests[host] = outcome.rest_s
        job.rests += 1
        if job.rests > MOST_RESTS or job.call.abandoned:
            return False
        self._again.add(job)
        return True

    async def _share(self) -> None:
        """Trade slots with the other workers again and again: give unused ones back, ask for others, start jobs."""
        assert self._exchange is not None
        while not self._stopping.is_set():
            rests, self._rests = self._rests, {}
            spare, wanted = self._schedule.spare(), self._schedule.wanted()
            if spare or wanted or rests:
                granted, resting = await asyncio.to_thread(self._exchange.trade, spare, wanted, rests)
                for host, rest_s in resting.items():
                    self._schedule.rest(host, rest_s)
                self._schedule.grant(granted)
                self._start()
            await asyncio.sleep(self._exchange.pause_s)

    def _check(self, task: asyncio.Task[None]) -> None:
        """End all calls if a task ended with an unexpected error: they would wait for its results for ever."""
        if not task.cancelled() and (error := task.exception()):
            log.error("fetching broke", exc_info=error)
            self._looking = None
            self._fail(UnitError(f"fetching broke: {type(error).__name__}: {error}"))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._check(task)
        job = self._running.pop(task)
        self._schedule.done(job, self._answered.pop(job, False))
        if job in self._again:
            self._again.discard(job)
            self._schedule.add(job, first=True)
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
        """Probe the network until it works, or until `outage_patience_s` have passed; no job starts meanwhile.

        If the network was gone, the jobs whose hosts were not reached run again. If it works at the first probe, their
        failures are delivered. If it stays gone, all calls end with NetworkDown.
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
