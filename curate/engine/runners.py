"""Run jobs in this process, or as Ray core tasks on this machine or a cluster.

The jobs and their results are the same either way. A job that fails is tried again; if it fails again, it is reported,
and the others go on. An error that every other job would meet, too (disk full, network down), ends the run at once.
"""

from __future__ import annotations

import logging
import os
import platform
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Any, Protocol

import msgspec

from curate.cluster import connected, cores_of_task, largest_memory, memory_of_task, start
from curate.engine.host_slots import HostExchange
from curate.engine.nodes import code_digest
from curate.engine.record import Meter
from curate.engine.worker import Job, JobFailure, JobWorker, Result, Worker
from curate.engine.worker_counts import WorkerCounts
from curate.errors import HOPELESS, MachineError, UnitError
from curate.manifest.settings import ScorerSettings

log = logging.getLogger("curate")

MIN_UNITS_FOR_RAY = 3  # with fewer units, starting Ray takes longer than it saves
FEW_CORES = 2  # so few cores are kept busy by one process with its child processes
TRIES = 2  # how often a number of a job is tried
WORKER_DEATHS = 3  # if the process of a job dies more often than this, the job has failed
MEMORY_BYTES = 2**30  # memory that a task asks the cluster for
ALL_CORES = 2**16  # more cores than any node has
AHEAD = 2  # jobs in flight for each worker
POLL_S = 0.25  # how long to wait for a result before progress is updated
REPORT_S = 0.5  # between two reports of a worker
WATCH_S = 5.0  # how long to wait for the counts of the actor
CPUS_S = 10.0  # between two checks of how many workers the cluster has


class Runnable(Protocol):
    """What workers must know about the work of a command: a run, a packing, an export, …."""

    @property
    def identity(self) -> str:
        """A string that no other work has."""

    @property
    def scorer(self) -> ScorerSettings | None:
        """The settings of the model that the jobs use; None if they use none."""

    @property
    def models(self) -> int | None:
        """How many of these models run on Ray; None: one for each GPU, or one for each node if there are no GPUs."""

    @property
    def per_host(self) -> int:
        """How many requests one host gets at once, at most, from all workers."""


class OfflineRun(msgspec.Struct, frozen=True):
    """The base of a `Runnable` whose jobs use no model and fetch nothing."""

    @property
    def scorer(self) -> ScorerSettings | None:
        """None: no model."""
        return None

    @property
    def models(self) -> int | None:
        """None: no model."""
        return None

    @property
    def per_host(self) -> int:
        """0: nothing is fetched."""
        return 0


Hire = Callable[
    ..., JobWorker
]  # makes a worker from: the work, a meter, the number of child processes, scorer actors, and an `Exchange`


class Runner(Protocol):
    """Does jobs, by one or more workers."""

    workers: int  # how many; 0: in this process

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
        """Do all jobs; yield each with its result, in any order. Jobs are taken from the iterable as they are needed.

        Raises:
            Halted, MachineError, ManifestError: no job can go on.
        """

    def close(self) -> None:
        """Stop all jobs that are running."""


class InProcess:
    """Does jobs one after the other in this process; while one begins, the one before it may still be written."""

    workers = 0

    def __init__(self, run: Runnable, meter: Meter, hire: Hire = Worker) -> None:
        self._worker = hire(run, meter, len(os.sched_getaffinity(0)), (), None)

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
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
    """Does jobs as Ray tasks, with a bounded number in flight.

    What all tasks share is put into the cluster's object store once, and fetched once by each process. If there are
    fewer `parts` of work than cores, each task gets several cores.
    """

    def __init__(
        self,
        run: Runnable,
        meter: Meter,
        workers: int | None,
        address: str | None,
        hire: Hire = Worker,
        parts: int | None = None,
    ) -> None:
        ray = start(workers, address)
        self._ray, self._meter, self._asked = ray, meter, workers
        self.workers, self._counted = workers or cluster_cpus(ray), time.monotonic()
        cores = cores_of_task(ray, max(1, self.workers // max(1, parts or self.workers)))
        try:
            scorers = [] if run.scorer is None else _scorers(run.scorer, run.models)
            self._counts = ray.remote(num_cpus=0, max_restarts=-1)(WorkerCounts).remote(run.per_host)
            shared = (run, self._counts, scorers, code_digest(), hire, self.workers, cores)
            self._shared = [ray.put(shared)]  # in a list, as Ray would fetch a bare reference for every task
        except BaseException:
            self.close()
            raise
        self._identity = run.identity
        self._memory = memory_of_task(ray, MEMORY_BYTES)
        self._task = ray.remote(num_cpus=cores, memory=self._memory, max_retries=0)(_do)
        self._deaths = Counter[Job]()

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
        """See `Runner.map`."""
        ray, waiting, flying, lost = self._ray, iter(jobs), dict[Any, Job](), list[Job]()
        while True:
            room = max(0, AHEAD * self._room() - len(flying))
            again, lost = lost, []
            for job in chain(again, islice(waiting, room)):
                task = self._task.options(name=job.name, **self._needs(job))
                flying[task.remote(self._shared, self._identity, job)] = job
            if not flying:
                return
            done, _ = ray.wait(list(flying), timeout=POLL_S)
            self._watch()
            for reference in done:
                job = flying.pop(reference)
                result = self._result(job, reference)
                if result is None:
                    lost.append(msgspec.structs.replace(job, again=True))
                else:
                    yield job, result

    def close(self) -> None:
        """See `Runner.close`."""
        self._ray.shutdown()

    def _needs(self, job: Job) -> dict[str, int]:
        """Return the resources that a job needs beyond the usual, but at most what the largest node has."""
        needs = {}
        if job.memory:
            needs["memory"] = min(self._memory + job.memory, largest_memory(self._ray))
        if job.alone:
            needs["num_cpus"] = cores_of_task(self._ray, ALL_CORES)
        return needs

    def _room(self) -> int:
        """Return how many workers there are now, as a cluster may grow and shrink."""
        if self._asked is None and time.monotonic() - self._counted > CPUS_S:
            self.workers, self._counted = cluster_cpus(self._ray), time.monotonic()
        return max(1, self.workers)

    def _watch(self) -> None:
        """Pass the counts of the workers on to the meter; counts of an actor whose node died are lost."""
        try:
            counts = self._ray.get(self._counts.take.remote(), timeout=WATCH_S)
        except self._ray.exceptions.RayError:  # also raised after a time-out
            return
        self._meter.add(**counts)

    def _result(self, job: Job, reference: Any) -> Result | None:
        """Return a job's result; None if its worker was lost and the job must be done again.

        If a whole node was lost, the job is done again without a limit. If only its process died, it is done again at
        most WORKER_DEATHS times.
        """
        failures = self._ray.exceptions
        try:
            result: Result = self._ray.get(reference)
        except failures.NodeDiedError:
            return None
        except failures.RayError as error:
            plain = msgspec.structs.replace(job, again=False)
            self._deaths[plain] += 1
            if self._deaths[plain] <= WORKER_DEATHS:
                return None
            why = f"its worker died {WORKER_DEATHS + 1} times: {str(error).splitlines()[0]}"
            return [JobFailure(number, UnitError(f"{job.name}: {why}")) for number in job.numbers]
        stop_if_hopeless(result)
        return result


def runner_for(
    run: Runnable, meter: Meter, parts: int, workers: int | None, address: str | None, hire: Hire = Worker
) -> Runner:
    """Return a runner: this process, or Ray.

    Args:
        run: what the workers must know.
        meter: gets the progress.
        parts: how many units or other pieces of work there are.
        workers: 0: in this process. None: one for each core, of the cluster if there is one; but 0 without `address` if
            there are fewer than MIN_UNITS_FOR_RAY parts or at most FEW_CORES cores.
        address: of a Ray cluster. None: Ray is started on this machine.
        hire: makes a worker.

    Raises:
        MachineError: Ray cannot start, or no cluster answers.
    """
    cores = len(os.sched_getaffinity(0))
    if workers is None and address is None:
        workers = 0 if parts < MIN_UNITS_FOR_RAY or cores <= FEW_CORES else cores
    if workers == 0:
        return InProcess(run, meter, hire)
    return OnRay(run, meter, workers, address, hire)


def cluster_cpus(ray: Any) -> int:
    """Return how many CPUs the cluster has, at least 1."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _scorers(settings: ScorerSettings, count: int | None) -> list[Any]:
    """Start `count` actors with a scorer, and return them when one is ready.

    Raises:
        ManifestError, MachineError, Halted: see `curate.scorer.actors`.
    """
    from curate.scorer.actors import RemoteEncoder, hire

    actors = hire(settings, count)
    RemoteEncoder(actors).close()
    return actors


def attempt(worker: JobWorker, job: Job, first: Result | None = None) -> Result:
    """Do a job, and try again the numbers that failed; `first` is the result of the first try, if that was done.

    Raises:
        Halted, MachineError, ManifestError: no job can go on.
    """
    results = worker.do(job) if first is None else first
    for _ in range(TRIES - 1):
        stop_if_hopeless(results)
        failed = [result for result in results if isinstance(result, JobFailure)]
        if not failed:
            break
        for failure in failed:
            log.info("%s; tried again", failure.error)
        numbers = tuple(failure.number for failure in failed)
        kept: Result = [result for result in results if not isinstance(result, JobFailure)]
        results = kept + worker.do(msgspec.structs.replace(job, numbers=numbers))
    stop_if_hopeless(results)
    return results


def stop_if_hopeless(results: Result) -> None:
    """Raise the first error among the results that every other job would meet, too.

    Raises:
        Halted, MachineError, ManifestError: no job can go on.
    """
    for result in results:
        if isinstance(result, JobFailure) and isinstance(result.error, HOPELESS):
            raise result.error


class _Reporter:
    """A worker's meter: reports counts to the actor every REPORT_S seconds, not for every row."""

    def __init__(self, actor: Any) -> None:
        self._actor, self._counts, self._since = actor, dict[str, int](), time.monotonic()

    def add(self, **counts: int) -> None:
        """See `Meter.add`."""
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count
        if time.monotonic() - self._since > REPORT_S:
            self.flush()

    def flush(self) -> None:
        """Report the counts now."""
        if self._counts:
            self._actor.add.remote(self._counts)
        self._counts, self._since = {}, time.monotonic()


_HELD: dict[
    str, tuple[JobWorker, Any]
] = {}  # identity of the work → worker and counting actor, which a Ray process keeps from job to job


def _do(shared: list[Any], identity: str, job: Job) -> Result:
    """Do one job as a Ray task, by the worker that this process keeps."""
    try:
        worker, counts = _worker(shared, identity)
    except MachineError as error:
        return [JobFailure(job.numbers[0], error)]
    meter = _Reporter(counts)
    worker.watch(meter)
    try:
        return attempt(worker, job)
    except HOPELESS as error:
        return [JobFailure(job.numbers[0], error)]
    finally:
        meter.flush()


def _worker(shared: list[Any], identity: str) -> tuple[JobWorker, Any]:
    if identity not in _HELD:
        while _HELD:
            _HELD.popitem()[1][0].close()
        ray = connected()
        run, counts, scorers, code, hire, workers, cores = ray.get(shared[0])
        if code != code_digest():
            raise MachineError(
                f"node {platform.node()} has another curate than the driver: install the same one"
            )
        exchange = HostExchange(ray, counts, workers)
        _HELD[identity] = hire(run, _Reporter(counts), cores, scorers, exchange), counts
    return _HELD[identity]
