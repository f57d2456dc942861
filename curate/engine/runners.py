"""Running jobs: in this process, or as Ray core tasks on this machine or a cluster.

Either way the same jobs do the same work; what differs is who does them. A job that fails is tried again, and
then reported while the others finish; the first sign that nothing can go on (disk full, network down) ends
the run.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from curate.cluster import start
from curate.engine.plan import Run
from curate.engine.record import Meter, UnitRecord
from curate.engine.worker import Job, Worker
from curate.errors import HOPELESS, CurateError, UnitError
from curate.manifest.settings import ScorerSettings

log = logging.getLogger("curate")

TRIES = 2  # of a job that fails; a worker that dies is tried WORKER_DEATHS times more
WORKER_DEATHS = 3
AHEAD = 2  # jobs in flight for each worker
POLL_S = 0.25
REPORT_S = 0.5
WATCH_S = 5.0

Result = list[UnitRecord] | CurateError


class Runner(Protocol):
    """Whoever does jobs."""

    workers: int

    def map(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        """Do all jobs, in any order; what became of each.

        Raises:
            Halted: nothing can go on.
        """

    def close(self) -> None:
        """Stop what is running."""


class InProcess:
    """Jobs one after the other, in this process; while one begins, the one before it may still be written."""

    workers = 0

    def __init__(self, run: Run, meter: Meter) -> None:
        self._worker = Worker(run, meter, children=len(os.sched_getaffinity(0)))

    def map(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        """See `Runner.map`."""
        with ThreadPoolExecutor(1, "curate-write") as writer:
            flying: deque[tuple[Job, Future[Result]]] = deque()
            for job in jobs:
                flying.append((job, writer.submit(self._worker.start(job))))
                if len(flying) > 1:
                    yield self._landed(*flying.popleft())
            while flying:
                yield self._landed(*flying.popleft())

    def _landed(self, job: Job, first: Future[Result]) -> tuple[Job, Result]:
        return job, attempt(self._worker, job, first.result())

    def close(self) -> None:
        """See `Runner.close`."""
        self._worker.close()


class OnRay:
    """Jobs as Ray tasks, a bounded number in flight."""

    def __init__(self, run: Run, meter: Meter, workers: int, address: str | None) -> None:
        ray = start(workers, address)
        self._ray, self._meter, self.workers = ray, meter, workers
        self._run = ray.put(run)
        self._counts = ray.remote(num_cpus=0, max_restarts=-1)(_Counts).remote()
        self._task = ray.remote(num_cpus=1, max_retries=WORKER_DEATHS)(_do)
        try:
            self._scorers = [] if run.manifest.scorer is None else _scorers(run.manifest.scorer)
        except BaseException:
            self.close()
            raise

    def map(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        """See `Runner.map`."""
        ray, waiting, flying = self._ray, list(reversed(jobs)), dict[Any, Job]()
        while waiting or flying:
            while waiting and len(flying) < AHEAD * max(1, self.workers):
                job = waiting.pop()
                flying[self._task.remote(self._run, self._counts, self._scorers, job)] = job
            done, _ = ray.wait(list(flying), timeout=POLL_S)
            self._watch()
            for reference in done:
                yield flying.pop(reference), self._result(reference)

    def close(self) -> None:
        """See `Runner.close`."""
        self._ray.shutdown()

    def _watch(self) -> None:
        """Pass on what the workers counted; what an actor had whose node died is not seen."""
        try:
            counts = self._ray.get(self._counts.take.remote(), timeout=WATCH_S)
        except self._ray.exceptions.RayError:  # a time-out is one too
            return
        self._meter.add(**counts)

    def _result(self, reference: Any) -> Result:
        try:
            result: Result = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return UnitError(f"its worker died {WORKER_DEATHS + 1} times: {str(error).splitlines()[0]}")
        if isinstance(result, HOPELESS):
            raise result
        return result


def _scorers(settings: ScorerSettings) -> list[Any]:
    """The actors that hold a manifest's scorer, of which one is ready.

    Raises:
        ManifestError, MachineError, Halted: see `curate.scorer.actors`.
    """
    from curate.scorer.actors import Remote, hire

    actors = hire(settings)
    Remote(actors).close()
    return actors


def attempt(worker: Worker, job: Job, first: Result | None = None) -> Result:
    """Do the job, again if it fails; `first` is what came of a first try.

    Raises:
        Halted, MachineError: nothing can go on.
    """
    for attempted in range(TRIES):
        result = worker.do(job) if attempted or first is None else first
        if isinstance(result, HOPELESS):
            raise result
        if not isinstance(result, CurateError):
            break
        log.warning("%s", result)
    return result


class _Counts:
    """An actor that adds up what the workers report until the driver takes it."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, counts: dict[str, int]) -> None:
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count

    def take(self) -> dict[str, int]:
        counts, self._counts = self._counts, {}
        return counts


class _Reporter:
    """A worker's meter: reports to the actor every second or so, not every row."""

    def __init__(self, actor: Any) -> None:
        self._actor, self._counts, self._since = actor, dict[str, int](), time.monotonic()

    def add(self, **counts: int) -> None:
        """See `Meter.add`."""
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count
        if time.monotonic() - self._since > REPORT_S:
            self.flush()

    def flush(self) -> None:
        """Report now."""
        if self._counts:
            self._actor.add.remote(self._counts)
        self._counts, self._since = {}, time.monotonic()


_HELD: dict[str, Worker] = {}  # a Ray worker process keeps its worker from job to job


def _do(run: Run, actor: Any, scorers: list[Any], job: Job) -> Result:
    """A Ray task: one job, by the worker that this process keeps."""
    meter = _Reporter(actor)
    identity = run.identity()
    if identity not in _HELD:
        for old in _HELD.values():
            old.close()
        _HELD.clear()
        _HELD[identity] = Worker(run, meter, 1, scorers)
    worker = _HELD[identity]
    worker.watch(meter)
    try:
        return attempt(worker, job)
    except HOPELESS as error:
        return error
    finally:
        meter.flush()
