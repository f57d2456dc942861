"""A worker: one process that does jobs, one after another, and keeps open what is slow to start.

Of what other workers write, a worker reads only complete files. So any process can do any job.
"""

from __future__ import annotations

import errno
import gc
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import pyarrow as pa

from curate.engine.across import OF_STAGED, Across, PhaseFiles, of_unit
from curate.engine.near_duplicates import PHASE as NEAR
from curate.engine.near_duplicates import NearDuplicates
from curate.engine.near_features import spill_features
from curate.engine.output import Fallen, Staging
from curate.engine.plan import Run, Unit
from curate.engine.record import Meter, UnitRecord
from curate.engine.records import DONE, STAGED, read_record
from curate.engine.select_unit import Selection
from curate.engine.similar import PHASE as SIMILAR
from curate.engine.similar import RULE as SIMILAR_RULE
from curate.engine.similar import SimilarImages
from curate.engine.unit import Pipeline
from curate.engine.unit_rows import UnitReader
from curate.errors import HOPELESS, CurateError, Halted, UnitError
from curate.fetch.exchange import Exchange
from curate.storage.store import Store

log = logging.getLogger("curate")

Done = TypeVar("Done")

ROOM = 2**16  # free bytes below which a disk counts as full
RECORDED = ("stage", "publish")  # kinds of jobs whose numbers are units, and which write a record for each
HOPELESS_ERRNOS = {errno.EFBIG, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


class Job(msgspec.Struct, frozen=True):
    """One job: a method of the worker, and the numbers to call it with, one after the other."""

    kind: str  # the method's name
    numbers: tuple[int, ...]  # of units, slices, partitions, …
    phase: str = ""  # the phase of the rules across the run, if the job belongs to one
    again: bool = False  # it was begun before: some of its units may have records already
    memory: int = 0  # bytes of memory that it needs beyond the usual
    alone: bool = False  # no other job runs at the same time, so it may use all cores of its machine
    stop: int = 0  # this worker does all units before this one next, in order; 0: only those of the job

    @property
    def name(self) -> str:
        """What the job does, for people: `stage 8 to 15`, `scan seen 3`."""
        first, last = self.numbers[0], self.numbers[-1]
        numbers = str(first) if first == last else f"{first} to {last}"
        return " ".join(filter(None, (self.kind, self.phase, numbers)))


class JobFailure(msgspec.Struct, frozen=True):
    """A number of a job that could not be done, and why."""

    number: int
    error: CurateError


Result = list[Any]  # of a job: what its method returned (for units their records), and JobFailures


def full_place(error: OSError, out: str) -> str:
    """Return what has no room left: the error's file, else the temporary folder if that is full, else `out`."""
    if isinstance(error.filename, str):
        return out if Path(error.filename).is_relative_to(out) else error.filename
    temporary = tempfile.gettempdir()
    is_full = shutil.disk_usage(temporary).free < ROOM
    return f"the temporary folder {temporary}" if is_full else out


class JobWorker:
    """Does jobs in one process. Each job names one of its methods, and the numbers to call it with."""

    def __init__(self, out: str) -> None:
        self.out = out  # the folder that is written to
        gc.freeze()  # collecting garbage among imported objects takes a tenth of the time of fetching,
        gc.set_threshold(20_000)  # and collecting too often almost as much

    def watch(self, meter: Meter) -> None:
        """Report to another meter from now on."""

    def close(self) -> None:
        """Close what is held open."""

    def do(self, job: Job) -> Result:
        """Do the job, number by number. Errors become JobFailures; only an interruption is raised.

        After an error that every other job would meet, too, the other numbers are not tried.
        """
        work: Callable[..., Any] = getattr(self, job.kind)
        more: dict[str, Any] = {"phase": job.phase} if job.phase else {}
        if job.again and job.kind in RECORDED:
            more["again"] = True
        results: Result = []
        for number in job.numbers:
            result = self._guarded(job, number, partial(work, number, **more))
            if result is not None:
                results.append(result)
            if isinstance(result, JobFailure) and isinstance(result.error, HOPELESS):
                break
        return results

    def start(self, job: Job) -> Callable[[], Result]:
        """Do what must be done before the next job may begin; return a function that does the rest."""
        result = self.do(job)
        return lambda: result

    def _guarded(self, job: Job, number: int, work: Callable[[], Done]) -> Done | JobFailure:
        """Call `work`, and return its result, or a JobFailure if it raises an error."""
        try:
            return work()
        except CurateError as error:
            return JobFailure(number, error)
        except OSError as error:
            if error.errno in HOPELESS_ERRNOS:
                place = full_place(error, self.out)
                said = f"cannot write to {place}: {error.strerror}; mend that and run the same command"
                return JobFailure(number, Halted(said))
            log.debug("%s failed", job, exc_info=True)
            return JobFailure(number, UnitError(f"{_said(job, number)}: {error}"))
        except Exception as error:  # the only place for this: a bug or a broken input fails only its unit
            log.debug("%s failed", job, exc_info=True)
            return JobFailure(number, UnitError(f"{_said(job, number)}: {type(error).__name__}: {error}"))


class Worker(JobWorker):
    """A worker of a run or selection."""

    def __init__(
        self,
        run: Run,
        meter: Meter,
        children: int,
        scorers: Sequence[Any] = (),
        exchange: Exchange | None = None,
    ) -> None:
        """Set up the stages.

        Args:
            run: the run.
            meter: gets the progress.
            children: how many child processes decode or render.
            scorers: actors that hold the run's scorer. Empty: this process holds it.
            exchange: shares the limit of requests to one host among all workers. None: this worker has it alone.
        """
        super().__init__(run.out)
        self.run = run
        self.store = Store(run.out)
        self.store.run = run.begun
        self.pipeline = _stages_of(run, self.store, meter, children, scorers, exchange)
        self._verdicts: dict[str, tuple[int, pa.Table]] = {}  # phase → the last slice that was read
        self._near: NearDuplicates | None = None

    def watch(self, meter: Meter) -> None:
        """Report to another meter from now on."""
        self.pipeline.meter = meter

    def close(self) -> None:
        """End child processes and connections."""
        self.pipeline.close()

    def do(self, job: Job) -> Result:
        """See `JobWorker.do`."""
        if job.kind == "stage":
            self.pipeline.reader.stop = job.stop or job.numbers[-1] + 1
        if self._near is not None and job.phase != NEAR:
            self._near.release()
        return super().do(job)

    def start(self, job: Job) -> Callable[[], Result]:
        """Do what must be done before the next job may begin; return a function that does the rest.

        When a unit's images are decoded, the rest is to write the unit. Another thread may do that, while the next
        unit's images are fetched. With a scorer nothing is left for later, as it scores one unit at a time.
        """
        if job.kind != "stage" or len(job.numbers) > 1 or self.run.manifest.scorer is not None:
            return super().start(job)
        (number,) = job.numbers
        self.pipeline.reader.stop = job.stop or number + 1
        begun = self._guarded(job, number, lambda: self._begin(number))
        if isinstance(begun, JobFailure):
            return lambda: [begun]
        return lambda: [self._guarded(job, number, lambda: self.pipeline.finish(begun))]

    def stage(self, number: int, again: bool = False) -> UnitRecord:
        """Take a unit from its source to staged shards; to final ones if no rule across the run judges them later.

        With `again`, a unit that has its record already is not done a second time.
        """
        state = STAGED if self.run.judges_staged else DONE
        known = read_record(self.store, state, number) if again else None
        return known or self.pipeline.finish(self._begin(number))

    def publish(self, number: int, again: bool = False) -> UnitRecord:
        """Publish a staged unit, without the rows that rules across the run drop; `again`: see `stage`."""
        known = read_record(self.store, DONE, number) if again else None
        if known is not None:
            return known
        staging, near = self.pipeline.staging, self._near_duplicates(number)
        if self.run.select:
            fallen = self._fallen_before(number)
        else:
            fallen = {**self._fallen_after(number), **dict.fromkeys(near, "near_duplicate")}
        copies = self._copies(number, "detail").items()
        details = near | {row: said for row, said in copies if fallen[row] == SIMILAR_RULE}
        return staging.publish(staging.record(number, STAGED), fallen, details)

    def scan(self, number: int, phase: str) -> None:
        """Spill a slice's pairs: by keys or URLs, or, after they are staged, by images, redirects or fingerprints."""
        plan = self.run.plan
        if phase == SIMILAR:
            self._similar.spill(self.store, number, plan.slice(number))
            return
        if phase == NEAR:
            self._spill_features(number)
            return
        if phase in OF_STAGED:
            rows = [self.pipeline.staging.spilled(unit, phase) for unit in plan.slice(number)]
        else:
            units = map(plan.unit, plan.slice(number))
            self.pipeline.reader.stop = plan.slice(number).stop
            rows = [self.pipeline.scan(unit, by_key=phase == "keys") for unit in units]
        self._across(phase).spill(self.store, number, rows)

    def resolve(self, number: int, phase: str) -> None:
        """Judge one partition of what all slices have spilled."""
        if phase == NEAR:
            self._near_search().search(number)
            return
        across = self._similar if phase == SIMILAR else self._across(phase)
        across.resolve(self.store, number)

    def gather(self, number: int, phase: str) -> None:
        """Join the verdicts of all partitions on a slice."""
        self._across(phase).gather(self.store, number)

    def settle(self, _: int, phase: str) -> None:
        """Decide, in source order, which of the similar images or near duplicates stay."""
        if phase == NEAR:
            self._near_search().settle()
        else:
            self._similar.settle(self.store)

    def arrange(self, _: int, phase: str) -> None:
        """Decide how the rows whose features were spilled are compared."""
        assert phase == NEAR
        self._near_search().plan()

    def encode(self, number: int, phase: str) -> None:
        """Compute the codes of a block of features."""
        assert phase == NEAR
        self._near_search().encode(number)

    def _spill_features(self, number: int) -> None:
        staging, plan = self.pipeline.staging, self.run.plan
        units = [(staging.record(unit, STAGED), self._fallen_after(unit)) for unit in plan.slice(number)]
        spill_features(staging, self._across(NEAR).spill_name(number), number, units)

    def _near_search(self) -> NearDuplicates:
        self._near = self._near or NearDuplicates(self.store, self._across(NEAR))
        return self._near

    def _begin(self, number: int) -> Any:
        fallen = {} if self.run.select else self._fallen_before(number)
        return self.pipeline.begin(self.run.plan.unit(number), fallen)

    def _fallen_before(self, number: int) -> Fallen:
        """Return row → reason for the rows of a unit that rules across the run drop before fetching."""
        return {**self._fallen("seen", number), **self._fallen("keys", number)}

    def _fallen_after(self, number: int) -> Fallen:
        """Return row → reason for a staged unit's kept rows that rules across the run drop by images or redirects."""
        return {**self._copies(number, "reason"), **self._fallen_by_content(number)}

    def _fallen_by_content(self, number: int) -> dict[int, str]:
        """Return the same without altered copies. A row that several phases drop gets the reason of the last one."""
        return {row: why for phase in OF_STAGED for row, why in self._fallen(phase, number).items()}

    def _across(self, phase: str) -> Across:
        across = self.run.across(phase)
        assert across is not None, phase
        return across

    @property
    def _similar(self) -> SimilarImages:
        assert self.run.similar is not None
        return self.run.similar

    def _fallen(self, phase: str, number: int) -> dict[int, str]:
        """Return row → reason for the rows of a unit that are dropped in a phase."""
        across = self.run.across(phase)
        return {} if across is None else self._verdicts_on(across, number, "reason")

    def _copies(self, number: int, column: str) -> dict[int, str]:
        """Return row → `column` of the verdicts, for a unit's altered copies; nothing for older, published units."""
        if self.run.similar is None or number < self.run.before:
            return {}
        return self._verdicts_on(self.run.similar, number, column)

    def _near_duplicates(self, number: int) -> dict[int, str]:
        """Return row → detail for the near duplicates in a unit."""
        across = self.run.across("near")
        return {} if across is None else self._verdicts_on(across, number, "detail")

    def _verdicts_on(self, across: PhaseFiles, unit: int, column: str) -> dict[int, str]:
        """Return row → `column` of a phase's verdicts on a unit; keep the slice, as its other units come next."""
        number = unit // self.run.plan.slice_units
        if self._verdicts.get(across.phase, (-1, None))[0] != number:
            self._verdicts[across.phase] = (number, across.verdicts(self.store, number))
        return of_unit(self._verdicts[across.phase][1], unit, column)


class UnitWay(Protocol):
    """The stages that the units of a run, or of a selection, pass."""

    meter: Meter

    @property
    def staging(self) -> Staging:
        """What writes the output."""

    @property
    def reader(self) -> UnitReader:
        """What reads the units."""

    def scan(self, unit: Unit, by_key: bool = False) -> pa.Table:
        """Return what the rules across the run compare of a unit before fetching (rows of SPILL)."""

    def begin(self, unit: Unit, seen: Fallen) -> Any:
        """Do what must be done of a unit before the next one may begin; return it for `finish`."""

    def finish(self, work: Any) -> UnitRecord:
        """Do the rest of a unit that `begin` returned."""

    def close(self) -> None:
        """Close what is held open."""


def _stages_of(
    run: Run,
    store: Store,
    meter: Meter,
    children: int,
    scorers: Sequence[Any],
    exchange: Exchange | None,
) -> UnitWay:
    """Return the stages of a run or of a selection."""
    if run.select:
        return Selection(run, store, meter, children)
    return Pipeline(run, store, meter, children, scorers, exchange)


def _said(job: Job, number: int) -> str:
    return " ".join(filter(None, (job.kind, job.phase, str(number))))
