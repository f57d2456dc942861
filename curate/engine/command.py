"""A run from beginning to end: plan, resume, phases, and the manifest that says it is complete."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filters
from curate.adapters.columns import columns_of
from curate.engine.journal import Journal, Request
from curate.engine.output import DONE, STAGED
from curate.engine.plan import Plan, Retry, Run, limit_rows, row_rules
from curate.engine.progress import Progress
from curate.engine.runners import InProcess, OnRay, Runner
from curate.engine.worker import Job
from curate.errors import CurateError, Halted, InputError, OutputError, Stopped, UnitError
from curate.manifest.load import image_folder, on_sample
from curate.manifest.settings import Manifest
from curate.origins import find, kind_of, open_origin
from curate.scorer import check, check_device
from curate.sources import Input
from curate.storage.filesystems import one_line
from curate.storage.store import Store

log = logging.getLogger("curate")

LITTLE = 3  # units for which starting Ray does not pay
FEW_CORES = 2  # cores that one process with its children fills by itself
CHUNK = 8  # units a job holds at most: a source is then opened once for several


@dataclass(frozen=True)
class Options:
    """How to run, none of which changes what is written."""

    workers: int | None = None  # None: as many as cores, or none for little work or few cores
    address: str | None = None  # of a Ray cluster
    overwrite: bool = False


def request(
    manifest: Manifest,
    inputs: Sequence[str],
    limit: int | None = None,
    sample: float = 1.0,
    retry: Retry | None = None,
) -> Request:
    """What is asked for, with its inputs found but not yet opened.

    Raises:
        InputError: there is nothing to read, or a number makes no sense.
    """
    if limit is not None and limit < 1:
        raise InputError(f"--limit must be at least 1, not {limit}")
    if not 0 < sample <= 1:
        raise InputError(f"--sample must be above 0 and at most 1, not {sample}")
    kind = kind_of(manifest)
    manifest = kind.place(manifest)
    if limit is None and kind.endless is not None:
        limit = kind.endless
        log.warning("no --limit: %d images; they never run out", limit)
    if not inputs and not manifest.input.uris:
        manifest = on_sample(manifest)
    folder = image_folder(manifest)
    if folder is not None and not folder.is_dir():
        raise InputError(f"image.folder {manifest.image.folder!r} is not a folder here")
    return Request(manifest, tuple(find(manifest, inputs)), limit, sample, retry)


def plan(asked: Request, work: Path) -> Plan:
    """Open every input, check that it has what the manifest needs, count its rows, and cut it into units.

    Raises:
        InputError: an input cannot be read, lacks a column, or all of them are empty.
        ManifestError, MachineError: the manifest's scorer is not to be had.
    """
    if asked.manifest.scorer is not None:
        check(asked.manifest.scorer)
    with ThreadPoolExecutor(16) as pool:
        surveys = list(pool.map(lambda one: survey(one, asked, work), asked.inputs))
    for name, settings in row_rules(asked.manifest).items():
        lacking = [one.name for one, of in zip(asked.inputs, surveys, strict=True) if name in of.unjudged]
        if lacking:
            log.warning(
                "rule %s is not judged in %s: no column for it (%s)",
                name,
                _few(lacking),
                _columns(name, settings),
            )
    rows = limit_rows([of.rows for of in surveys], asked.limit)
    return Plan(asked.inputs, rows, asked.manifest.shard.rows)


@dataclass(frozen=True)
class Survey:
    """What is known of an input before anything runs."""

    rows: int
    unjudged: tuple[str, ...]  # rules for which it has no column


def survey(found: Input, asked: Request, work: Path) -> Survey:
    """What the input holds, once it is known to have the columns that the manifest needs.

    Raises:
        InputError: see `plan`.
    """
    origin = open_origin(found, asked.manifest, work)
    try:
        unjudged = tuple(name for name in row_rules(asked.manifest) if not origin.judges(name))
        on_columns = columns_of(asked.manifest)
        if lacking := [name for name in unjudged if name in on_columns]:
            column = on_columns[lacking[0]]
            raise InputError(
                f"{found.uri}: rule {lacking[0]!r} reads the column {column!r}, and there is none"
            )
        return Survey(origin.size, unjudged)
    finally:
        origin.close()


def execute(asked: Request, out: str, options: Options, progress: Progress) -> dict[str, Any]:
    """Do what is asked for, or what is left of it; the finished run's `_manifest.json`.

    Raises:
        CurateError: see `curate.errors`; whatever was finished stays finished.
    """
    journal = Journal(Store(out))
    try:
        finished = None if options.overwrite else journal.finished(asked)
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {one_line(error)}") from None
    if finished is not None:
        progress.say(f"{out} is complete already: nothing to do")
        return finished
    try:
        with journal.locked():
            if options.overwrite:
                journal.clear()
            run = journal.resume(asked, lambda: _planned(asked, options, journal))
            with progress.live():
                _do(run, journal, options, progress)
            return journal.finish(run)
    except KeyboardInterrupt:
        raise Stopped(f"interrupted; the same command goes on where {out} stands") from None
    except OSError as error:
        raise Halted(f"cannot go on in {out}: {one_line(error)}; mend that, then the same command") from None


def _planned(asked: Request, options: Options, journal: Journal) -> Plan:
    """The plan of a run that begins; a device that is missing here is not missed on a cluster."""
    if asked.manifest.scorer is not None and options.address is None:
        check_device(asked.manifest.scorer)
    return plan(asked, Path(journal.work()))


def _do(run: Run, journal: Journal, options: Options, progress: Progress) -> None:
    """Bring every unit from where it stands to done.

    Raises:
        UnitError: some could not be finished; the others are staged or done.
    """
    done, staged = journal.records(DONE), journal.records(STAGED)
    units = [unit.number for unit in run.plan.units() if unit.number not in done]
    if not units:
        return
    steps = Steps(run, journal, progress, _runner(run, len(units), options, progress))
    try:
        steps.judge_across("keys")
        steps.judge_across("seen")
        steps.all(_jobs("stage", run, [n for n in units if n not in staged], steps.runner.workers))
        steps.judge_across("bytes")
        steps.judge_near()
        # without such rules a unit is published as it is staged, but for one that a kill came between
        left = units if run.judges_staged() else [n for n in units if n in staged]
        steps.all(_jobs("publish", run, left, steps.runner.workers))
    finally:
        steps.runner.close()


@dataclass
class Steps:
    """The steps of one run, each of which must be complete before the next."""

    run: Run
    journal: Journal
    progress: Progress
    runner: Runner

    def judge_across(self, phase: str) -> None:
        """Judge the rules across the run: spill each slice, resolve each partition, gather by slice."""
        across = self.run.across(phase)
        if across is None:
            return
        have = set(self.journal.store.names(f"_run/{phase}"))
        slices, partitions = range(across.slices), range(across.partitions)
        for kind, numbers, name in (
            ("scan", slices, across.spill_name),
            ("resolve", partitions, across.partition_name),
            ("gather", slices, across.verdict_name),
        ):
            left = [n for n in numbers if name(n).rsplit("/", 1)[-1] not in have]
            self.all([Job(kind, (n,), phase) for n in left])

    def judge_near(self) -> None:
        """Find near duplicates, in one piece; the last file of verdicts says that it is done."""
        across = self.run.across("near")
        if across is not None and not self.journal.store.exists(across.verdict_name(across.slices - 1)):
            self.all([Job("judge_near", (0,))])

    def all(self, jobs: list[Job]) -> None:
        """Do all these jobs, which are of one kind.

        Raises:
            UnitError: some failed; the others are done.
        """
        failed: list[CurateError] = []
        with self.progress.jobs(jobs):
            for job, result in self.runner.map(jobs):
                if isinstance(result, CurateError):
                    failed.append(result)
                    log.error("%s", result)
                else:
                    self.progress.done(job, result)
        if failed:
            raise UnitError(
                f"{len(failed)} of {len(jobs)} jobs failed, first: {failed[0]}; the others' work is kept: "
                "mend this and run the same command again"
            )


def _jobs(kind: str, run: Run, numbers: Sequence[int], workers: int) -> list[Job]:
    """Units as jobs: neighbours of one input together, while there is enough work for every worker.

    In this process the input stays open anyway.
    """
    inputs = [unit.input for unit in run.plan.units()]
    size = max(1, min(CHUNK, len(numbers) // (4 * workers))) if workers else 1
    jobs: list[list[int]] = []
    for number in numbers:
        last = jobs[-1] if jobs else []
        if last and len(last) < size and last[-1] == number - 1 and inputs[last[-1]] == inputs[number]:
            last.append(number)
        else:
            jobs.append([number])
    return [Job(kind, tuple(job)) for job in jobs]


def _runner(run: Run, units: int, options: Options, progress: Progress) -> Runner:
    """In this process for little work or on few cores, else Ray with a worker a core."""
    workers, cores = options.workers, len(os.sched_getaffinity(0))
    if workers is None and options.address is None:
        workers = 0 if units < LITTLE or cores <= FEW_CORES else cores
    if workers == 0:
        return InProcess(run, progress)
    return OnRay(run, progress, workers or cores, options.address)


def _few(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _columns(rule: str, settings: Mapping[str, Any]) -> str:
    return ", ".join(filters.find_rule(rule, settings).columns)
