"""What one process does: jobs, one after another, holding open what is costly to start.

A worker reads nothing that another worker writes but complete files, so any process may do any job.
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
from curate.engine.similar import SimilarImages
from curate.engine.unit import Pipeline
from curate.engine.unit_rows import UnitReader
from curate.errors import HOPELESS, CurateError, Halted, UnitError
from curate.fetch.exchange import Exchange
from curate.storage.store import Store

log = logging.getLogger("curate")

Done = TypeVar("Done")

ROOM = 2**16  # free bytes below which a disk counts as full
RECORDED = ("stage", "publish")  # kinds of jobs whose numbers are units, each of which leaves a record
HOPELESS_ERRNOS = {errno.EFBIG, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


class Job(msgspec.Struct, frozen=True):
    """One thing to do: a method of Worker, the numbers of what to do it to, and a phase where it has one.

    `again`: it was begun before, so that some of its units may have records already. `memory`: bytes that it takes
    beyond the usual. `alone`: no other job goes on meanwhile, so that it may use all cores of its machine.
    """

    kind: str
    numbers: tuple[int, ...]
    phase: str = ""
    again: bool = False
    memory: int = 0
    alone: bool = False

    @property
    def name(self) -> str:
        """What it does, for a person: `stage 8 to 15`, `scan seen 3`."""
        first, last = self.numbers[0], self.numbers[-1]
        numbers = str(first) if first == last else f"{first} to {last}"
        return " ".join(filter(None, (self.kind, self.phase, numbers)))


class JobFailure(msgspec.Struct, frozen=True):
    """A number of a job that could not be done, and why."""

    number: int
    error: CurateError


Result = list[Any]  # of a job: what it made of its numbers (of units their records), and JobFailures


def full_place(error: OSError, out: str) -> str:
    """Where there was no room: what the error names, else the temporary folder if that is full, else `out`."""
    if isinstance(error.filename, str):
        return out if Path(error.filename).is_relative_to(out) else error.filename
    temporary = tempfile.gettempdir()
    is_full = shutil.disk_usage(temporary).free < ROOM
    return f"the temporary folder {temporary}" if is_full else out


class JobWorker:
    """A process at work: it does jobs, each of which names one of its methods and the numbers to do it to."""

    def __init__(self, out: str) -> None:
        self.out = out  # the folder that is written to
        gc.freeze()  # what was imported stays: looking through it for garbage costs a tenth of fetching,
        gc.set_threshold(20_000)  # and looking too often almost as much

    def watch(self, meter: Meter) -> None:
        """Report to another meter from now on."""

    def close(self) -> None:
        """Let go of what is held open."""

    def do(self, job: Job) -> Result:
        """Do the job, number by number (never raises but on interruption)."""
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
        """Do as much of the job as must be done before the next one begins; what is returned does the rest."""
        result = self.do(job)
        return lambda: result

    def _guarded(self, job: Job, number: int, work: Callable[[], Done]) -> Done | JobFailure:
        """What the work gives, or why it could not be done."""
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
        except Exception as error:  # the one place: a bug or a broken input costs its unit alone
            log.debug("%s failed", job, exc_info=True)
            return JobFailure(number, UnitError(f"{_said(job, number)}: {type(error).__name__}: {error}"))


class Worker(JobWorker):
    """A worker of a run, with so many child processes for what may crash.

    `scorers` are the actors that hold the run's scorer; without any this process holds it. `exchange` is where all
    workers share out how many requests a host gets at once.
    """

    def __init__(
        self,
        run: Run,
        meter: Meter,
        children: int,
        scorers: Sequence[Any] = (),
        exchange: Exchange | None = None,
    ) -> None:
        super().__init__(run.out)
        self.run = run
        self.store = Store(run.out)
        self.pipeline = _way(run, self.store, meter, children, scorers, exchange)
        self._verdicts: dict[str, tuple[int, pa.Table]] = {}  # of each phase: the latest slice and its
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
            self.pipeline.reader.stop = max(self.pipeline.reader.stop, job.numbers[-1] + 1)
        if self._near is not None and job.phase != NEAR:
            self._near.release()
        return super().do(job)

    def start(self, job: Job) -> Callable[[], Result]:
        """Do as much of the job as must be done before the next one begins; what is returned does the rest.

        The rest of a unit, once its images are there, is to write it: any thread may do that while the next
        unit's are fetched. Scoring is for one unit at a time.
        """
        if job.kind != "stage" or len(job.numbers) > 1 or self.run.manifest.scorer is not None:
            return super().start(job)
        (number,) = job.numbers
        self.pipeline.reader.stop = self.run.plan.units  # in one process units come in order
        begun = self._guarded(job, number, lambda: self._begin(number))
        if isinstance(begun, JobFailure):
            return lambda: [begun]
        return lambda: [self._guarded(job, number, lambda: self.pipeline.finish(begun))]

    def stage(self, number: int, again: bool = False) -> UnitRecord:
        """Take a unit from source to staged shards, or to its final ones where nothing is left to judge."""
        state = STAGED if self.run.judges_staged else DONE
        known = read_record(self.store, state, number) if again else None
        return known or self.pipeline.finish(self._begin(number))

    def publish(self, number: int, again: bool = False) -> UnitRecord:
        """Publish a staged unit, less what fell to the rules across the run."""
        known = read_record(self.store, DONE, number) if again else None
        if known is not None:
            return known
        staging, near = self.pipeline.staging, self._near_duplicates(number)
        if self.run.select:
            fallen = self._fallen_before(number)
        else:
            fallen = {**self._fallen_after(number), **dict.fromkeys(near, "near_duplicate")}
        return staging.publish(staging.record(number, STAGED), fallen, near | self._copies(number, "detail"))

    def scan(self, number: int, phase: str) -> None:
        """Spill a slice's pairs: by their keys, by their URLs, or, once they are staged, by their images."""
        plan = self.run.plan
        if phase == SIMILAR:
            kept = ((unit, self._fallen_by_content(unit)) for unit in plan.slice(number))
            self._similar.spill(self.store, number, kept)
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
        """Judge a partition of what was spilled."""
        if phase == NEAR:
            self._near_search().search(number)
            return
        across = self._similar if phase == SIMILAR else self._across(phase)
        across.resolve(self.store, number)

    def gather(self, number: int, phase: str) -> None:
        """Bring a slice's verdicts together."""
        self._across(phase).gather(self.store, number)

    def settle(self, _: int, phase: str) -> None:
        """Say which of the similar images stay, in source order."""
        if phase == NEAR:
            self._near_search().settle()
        else:
            self._similar.settle(self.store)

    def arrange(self, _: int, phase: str) -> None:
        """Say how the rows whose features were spilled are compared."""
        assert phase == NEAR
        self._near_search().plan()

    def encode(self, number: int, phase: str) -> None:
        """Make codes of a block of features."""
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
        """The rows of a unit that fall across the run by what needs no image, and why."""
        return {**self._fallen("seen", number), **self._fallen("keys", number)}

    def _fallen_after(self, number: int) -> Fallen:
        """The kept rows of a staged unit that fall across the run by their images and redirects, and why."""
        return {**self._fallen_by_content(number), **self._copies(number, "reason")}

    def _fallen_by_content(self, number: int) -> dict[int, str]:
        """The same, by what was written of them; whoever falls by several phases falls by the last."""
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
        """The rows of a unit that fall in a phase, and why."""
        across = self.run.across(phase)
        return {} if across is None else self._told(across, number, "reason")

    def _copies(self, number: int, column: str) -> dict[int, str]:
        """What is said of the altered copies in a unit."""
        return {} if self.run.similar is None else self._told(self.run.similar, number, column)

    def _near_duplicates(self, number: int) -> dict[int, str]:
        """The near duplicates of a unit, and what each is like."""
        across = self.run.across("near")
        return {} if across is None else self._told(across, number, "detail")

    def _told(self, across: PhaseFiles, unit: int, column: str) -> dict[int, str]:
        """What a phase's verdicts say of a unit's rows; one slice's units come one after the other."""
        number = unit // self.run.plan.slice_units
        if self._verdicts.get(across.phase, (-1, None))[0] != number:
            self._verdicts[across.phase] = (number, across.verdicts(self.store, number))
        return of_unit(self._verdicts[across.phase][1], unit, column)


class UnitWay(Protocol):
    """The way that the units of a run take, or of a selection."""

    meter: Meter

    @property
    def staging(self) -> Staging:
        """The output side."""

    @property
    def reader(self) -> UnitReader:
        """What reads the units."""

    def scan(self, unit: Unit, by_key: bool = False) -> pa.Table:
        """What the rules across the run need of a unit before any image is there (rows of SPILL)."""

    def begin(self, unit: Unit, seen: Fallen) -> Any:
        """Do as much of a unit as must be done before the next one begins."""

    def finish(self, work: Any) -> UnitRecord:
        """Do the rest of what `begin` gave."""

    def close(self) -> None:
        """Let go of what is held open."""


def _way(
    run: Run,
    store: Store,
    meter: Meter,
    children: int,
    scorers: Sequence[Any],
    exchange: Exchange | None,
) -> UnitWay:
    """The way that the run's units take."""
    if run.select:
        return Selection(run, store, meter, children)
    return Pipeline(run, store, meter, children, scorers, exchange)


def _said(job: Job, number: int) -> str:
    return " ".join(filter(None, (job.kind, job.phase, str(number))))
