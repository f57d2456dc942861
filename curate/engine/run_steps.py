"""The steps of a run, each of which must be complete before the next, and how units are grouped into jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np

from curate.engine.across import OF_STAGED, Across
from curate.engine.journal import Journal
from curate.engine.ledger import DONE_STATE, STAGED_STATE
from curate.engine.near_duplicates import PHASE as NEAR
from curate.engine.near_duplicates import codes_name, index_bytes, read_plan
from curate.engine.plan import Run
from curate.engine.progress import Progress
from curate.engine.record import UnitRecord
from curate.engine.runners import Runner
from curate.engine.similar import SimilarImages
from curate.engine.worker import Job, JobFailure, Result
from curate.errors import Halted, UnitError

log = logging.getLogger("curate")

MIN_SEARCHERS = 3  # with fewer workers, one process on all cores searches faster than they do by blocks
CHUNK = 8  # units in a job, at most; several units of one job share an open input


@dataclass
class Steps:
    """The steps of one run, each of which must be complete before the next."""

    run: Run
    journal: Journal
    progress: Progress
    runner: Runner

    def select(self, left: np.ndarray) -> None:
        """Do a selection: stage its units, judge the rules across the run on kept rows, publish the units `left`."""
        staged = self.run.judges_staged
        self.units("stage", self.journal.ledger.below(STAGED_STATE if staged else DONE_STATE))
        if staged:
            self.judge_across("keys")
            self.judge_across("seen")
            self.units("publish", left)

    def judge_across(self, phase: str) -> None:
        """Judge one phase of the rules across the run: spill each slice, resolve each partition, gather by slice."""
        across = self.run.across(phase)
        if across is None:
            return
        self._spilled_and_resolved(phase, across)
        self._each("gather", phase, range(across.slices), across.verdict_name)

    def judge_similar(self) -> None:
        """Find altered copies: spill each slice, resolve each partition, settle all pairs in one job."""
        similar = self.run.similar
        if similar is not None and not self.journal.store.exists(similar.verdict_name(similar.slices - 1)):
            self._spilled_and_resolved(similar.phase, similar)
            self._one("settle", similar.phase)

    def _spilled_and_resolved(self, phase: str, across: Across | SimilarImages) -> None:
        self._each("scan", phase, range(across.slices), across.spill_name)
        self._each("resolve", phase, range(across.partitions), across.partition_name)

    def _each(
        self, kind: str, phase: str, numbers: range, name: Callable[[int], str], memory: int = 0
    ) -> None:
        """Do a job of one kind for each number whose file does not exist; `memory`: see `Job`."""
        have = set(self.journal.store.names(f"_run/{phase}"))
        left = [n for n in numbers if name(n).rsplit("/", 1)[-1] not in have]
        self.all(kind, [Job(kind, (n,), phase, memory=memory) for n in left], len(left), phase)

    def touched(self) -> set[int]:
        """Return the units from before inputs were added that lose rows, or get other reasons, because of these."""
        before = self.run.before
        slices = range(-(-before // self.run.plan.slice_units))
        judged = [across for phase in OF_STAGED if (across := self.run.across(phase)) is not None]
        tables = (across.verdicts(self.journal.store, number) for across in judged for number in slices)
        return {unit for table in tables for unit in table["unit"].unique().to_pylist() if unit < before}

    def judge_near(self) -> None:
        """Find near duplicates: spill features, search for each block of rows, decide on all in source order."""
        across, store = self.run.across(NEAR), self.journal.store
        if across is None or store.exists(across.verdict_name(across.slices - 1)):
            return
        self._each("scan", NEAR, range(across.slices), across.spill_name)
        if read_plan(store) is None:
            self._one("arrange", NEAR)
        plan = read_plan(store)
        assert plan is not None
        if plan.indexed and self.runner.workers >= MIN_SEARCHERS:
            self._each("encode", NEAR, range(plan.blocks), codes_name)
            self._each("resolve", NEAR, range(plan.blocks), across.partition_name, index_bytes(plan))
        self._one("settle", NEAR, index_bytes(plan))

    def _one(self, kind: str, phase: str, memory: int = 0) -> None:
        """Do a job that one process does alone; `memory`: see `Job`."""
        self.all(kind, [Job(kind, (0,), phase, memory=memory, alone=True)], 1, phase)

    def units(self, kind: str, numbers: np.ndarray) -> None:
        """Do jobs of one kind for these units, in ascending order.

        Raises:
            UnitError: some failed; the others are done.
        """
        self.all(kind, unit_jobs(kind, numbers, self.runner.workers), len(numbers))

    def all(self, kind: str, jobs: Iterable[Job], numbers: int, phase: str = "") -> None:
        """Do all these jobs, which are of one kind.

        Args:
            kind: the kind of the jobs.
            jobs: the jobs.
            numbers: how many units or parts they have together.
            phase: the phase of the rules across the run, if they belong to one.

        Raises:
            UnitError: some failed; the others are done.
        """
        state = STAGED_STATE if kind == "stage" and self.run.judges_staged else DONE_STATE
        failed: list[JobFailure] = []
        with self.progress.step(kind, phase, numbers), self._kept():
            for job, results in self.runner.map(jobs):
                self.journal.store.check_held()
                records = [result for result in results if isinstance(result, UnitRecord)]
                failed += self._failed(results, bool(failed))
                for record in records:
                    self.journal.keep(record, state)
                self.progress.done(job, records)
        if failed:
            of = f"{len(failed)} of {numbers} {'parts' if phase else 'units'}"
            raise UnitError(
                f"{of} failed, first: {failed[0].error}; the others' work is kept: mend this and run the same "
                "command again"
            )

    def _failed(self, results: Result, before: bool) -> list[JobFailure]:
        """Return the failures among the results, and log them, except the step's first, which its error names."""
        failed = [result for result in results if isinstance(result, JobFailure)]
        for failure in failed if before else failed[1:]:
            log.error("%s", failure.error)
        return failed

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Write what is finished into the journal when this context ends, also if it ends with an error."""
        try:
            yield
        except BaseException:
            with suppress(OSError, Halted):
                self.journal.flush()
            raise
        self.journal.flush()


def unit_jobs(kind: str, numbers: np.ndarray, workers: int) -> Iterator[Job]:
    """Group units into jobs: neighbouring units together, also of several inputs, if every worker gets several jobs.

    Without Ray (`workers` is 0) each unit is a job of its own, as the process keeps the input open anyway, and may read
    ahead to the end of its neighbours.

    Args:
        kind: the kind of the jobs.
        numbers: the units' numbers, ascending.
        workers: how many workers do the jobs.
    """
    if not workers:
        for number, stop in zip(numbers.tolist(), _ends_of_neighbours(numbers).tolist(), strict=True):
            yield Job(kind, (number,), stop=stop)
        return
    size = max(1, min(CHUNK, len(numbers) // (4 * workers)))
    job: list[int] = []
    for number in numbers.tolist():
        if job and (len(job) == size or job[-1] != number - 1):
            yield Job(kind, tuple(job))
            job = []
        job.append(number)
    if job:
        yield Job(kind, tuple(job))


def _ends_of_neighbours(numbers: np.ndarray) -> np.ndarray:
    """Return for each of N ascending numbers the first one behind it that is not among them."""
    last = np.append(np.diff(numbers) > 1, True)
    return (numbers[last] + 1)[np.cumsum(last) - last] if len(numbers) else numbers
