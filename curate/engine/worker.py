"""What one process does: jobs, one after another, holding open what is costly to start.

A worker reads nothing that another worker writes but complete files, so any process may do any job.
"""

from __future__ import annotations

import errno
import gc
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from curate.engine.across import Across
from curate.engine.output import STAGED, Fallen
from curate.engine.plan import Run
from curate.engine.record import Meter, UnitRecord
from curate.engine.unit import Pipeline, Work
from curate.errors import CurateError, Halted, UnitError
from curate.storage.store import Store

log = logging.getLogger("curate")

Done = TypeVar("Done")

HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


class Job(msgspec.Struct, frozen=True):
    """One thing to do: a method of Worker, the numbers of what to do it to, and a phase where it has one."""

    kind: str
    numbers: tuple[int, ...]
    phase: str = ""


class Worker:
    """A process at work on one run, with so many child processes for what may crash.

    `scorers` are the actors that hold the run's scorer; without any this process holds it.
    """

    def __init__(self, run: Run, meter: Meter, children: int, scorers: Sequence[Any] = ()) -> None:
        self.run = run
        self.store = Store(run.out)
        self.pipeline = Pipeline(run, self.store, meter, children, scorers)
        self._units = run.plan.units()
        self._slices = run.plan.slices()
        gc.freeze()  # what was imported stays: looking through it for garbage costs a tenth of fetching,
        gc.set_threshold(20_000)  # and looking too often almost as much

    def watch(self, meter: Meter) -> None:
        """Report to another meter from now on."""
        self.pipeline.meter = meter

    def close(self) -> None:
        """End child processes and connections."""
        self.pipeline.close()

    def do(self, job: Job) -> list[UnitRecord] | CurateError:
        """Do the job; its units' records, or why it could not be done (never raises but on interruption)."""
        work: Callable[..., list[UnitRecord]] = getattr(self, job.kind)
        return self._guarded(job, lambda: work(*job.numbers, **({"phase": job.phase} if job.phase else {})))

    def start(self, job: Job) -> Callable[[], list[UnitRecord] | CurateError]:
        """Do as much of the job as must be done before the next one begins; what is returned does the rest.

        The rest of a unit, once its images are there, is to write it: any thread may do that while the next
        unit's are fetched. Scoring is for one unit at a time.
        """
        if job.kind != "stage" or len(job.numbers) > 1 or self.run.manifest.scorer is not None:
            result = self.do(job)
            return lambda: result
        begun = self._guarded(job, lambda: self._begin(*job.numbers))
        if isinstance(begun, CurateError):
            return lambda: begun
        return lambda: self._guarded(job, lambda: [self._finish(begun)])

    def _guarded(self, job: Job, work: Callable[[], Done]) -> Done | CurateError:
        """What the work gives, or why it could not be done."""
        try:
            return work()
        except CurateError as error:
            return error
        except OSError as error:
            if error.errno in HOPELESS:
                return Halted(
                    f"cannot write to {self.run.out}: {error.strerror}; mend that and run the same command"
                )
            log.debug("%s failed", job, exc_info=True)
            return UnitError(f"{_said(job)}: {error}")
        except Exception as error:  # the one place: a bug or a broken input costs its unit alone
            log.debug("%s failed", job, exc_info=True)
            return UnitError(f"{_said(job)}: {type(error).__name__}: {error}")

    def stage(self, *numbers: int) -> list[UnitRecord]:
        """Take these units from source to staged shards; publish them where nothing is left to judge."""
        return [self._finish(self._begin(number)) for number in numbers]

    def publish(self, *numbers: int) -> list[UnitRecord]:
        """Publish staged units, less what fell to the rules across the run."""
        staging, records = self.pipeline.staging, []
        for number in numbers:
            alike = self._likenesses(number)
            fallen = {**self._fallen("bytes", number), **dict.fromkeys(alike, "near_duplicate")}
            records.append(staging.publish(staging.record(number, STAGED), fallen, alike))
        return records

    def scan(self, number: int, phase: str) -> list[UnitRecord]:
        """Spill a slice's pairs: by their keys, by their URLs, or, once they are staged, by their images."""
        units = self._slices[number]
        if phase == "bytes":
            rows = [self.pipeline.staging.spilled(unit.number) for unit in units]
        else:
            rows = [self.pipeline.scan(unit, by_key=phase == "keys") for unit in units]
        self._across(phase).spill(self.store, number, rows)
        return []

    def resolve(self, number: int, phase: str) -> list[UnitRecord]:
        """Judge a partition of what was spilled."""
        self._across(phase).resolve(self.store, number)
        return []

    def gather(self, number: int, phase: str) -> list[UnitRecord]:
        """Bring a slice's verdicts together."""
        self._across(phase).gather(self.store, number)
        return []

    def judge_near(self, _: int) -> list[UnitRecord]:
        """Find near duplicates among all that is staged."""
        from curate.engine.near import judge_alike

        staging = self.pipeline.staging
        units = {
            unit.number: (staging.record(unit.number, STAGED), self._fallen("bytes", unit.number))
            for unit in self._units
        }
        judge_alike(self.store, self._across("near"), units, self.run.plan.slice_units())
        return []

    def _begin(self, number: int) -> Work:
        fallen = {**self._fallen("seen", number), **self._fallen("keys", number)}
        return self.pipeline.begin(self._units[number], fallen)

    def _finish(self, work: Work) -> UnitRecord:
        record = self.pipeline.finish(work)
        return record if self.run.judges_staged() else self.pipeline.staging.publish(record, {}, {})

    def _across(self, phase: str) -> Across:
        across = self.run.across(phase)
        assert across is not None, phase
        return across

    def _fallen(self, phase: str, number: int) -> Fallen:
        """The rows of a unit that fall in a phase, and why."""
        across = self.run.across(phase)
        if across is None:
            return {}
        return across.fallen(self.store, number // self.run.plan.slice_units(), number)

    def _likenesses(self, number: int) -> dict[int, str]:
        """The near duplicates of a unit, and what each is like."""
        across = self.run.across("near")
        if across is None:
            return {}
        from curate.engine.near import likenesses

        return likenesses(self.store, across, number // self.run.plan.slice_units(), number)


def _said(job: Job) -> str:
    first, last = job.numbers[0], job.numbers[-1]
    numbers = str(first) if first == last else f"{first} to {last}"
    return " ".join(filter(None, (job.kind, job.phase, numbers)))
