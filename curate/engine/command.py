"""A run from beginning to end: make or read the plan, do what is left of each phase, and write `_manifest.json`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

import filters
from curate.adapters.published_columns import columns_of
from curate.engine import growing
from curate.engine.across import OF_STAGED
from curate.engine.journal import Journal
from curate.engine.ledger import DONE_STATE, STAGED_STATE
from curate.engine.nodes import check_nodes
from curate.engine.plan import Plan, Retry, Run, limit_rows, row_rules
from curate.engine.progress import Progress
from curate.engine.request import Request
from curate.engine.run_steps import Steps
from curate.engine.runners import runner_for
from curate.engine.selectable import check_columns, check_selectable
from curate.errors import InputError, OrderForbidsError, OutputError, UnreadableInputError
from curate.images.evaluation import check_sets
from curate.images.hash_lists import check_lists
from curate.images.name_lists import check_names
from curate.manifest.load import image_folder, on_sample
from curate.manifest.settings import Manifest
from curate.origins import find, kind_of, open_origin
from curate.origins.lost_rows import UnreadableInput
from curate.scorer import check, check_device
from curate.scorer.heads import check_heads
from curate.sources import Input, forget_opened
from curate.storage.filesystems import filesystem, one_line, scheme
from curate.storage.finished import held
from curate.storage.goes_on import goes_on
from curate.storage.shards import unit_of
from curate.storage.store import Store
from curate.storage.uploads import abort_unfinished
from curate.terminal import plural, settings_said

log = logging.getLogger("curate")


@dataclass(frozen=True)
class Options:
    """Options of a run that do not change what it writes."""

    workers: int | None = None  # None: one for each core, or 0 (no Ray) for little work or few cores
    address: str | None = None  # of a Ray cluster
    overwrite: bool = False  # first remove what an earlier run wrote
    lease: bool = True  # hold a folder on an object store by a lease


def request(
    manifest: Manifest,
    inputs: Sequence[str],
    limit: int | None = None,
    sample: float = 1.0,
    retry: Retry | None = None,
    select: bool = False,
) -> Request:
    """Build the request of a run: check the arguments and find the inputs, without opening them.

    Args:
        manifest: the loaded manifest.
        inputs: files, folders, globs or URIs. Empty: the manifest's inputs, or the sample that ships with curate.
        limit: take only this many rows. None: all.
        sample: take this share of the rows, above 0 and at most 1.
        retry: take only rows that an earlier run dropped.
        select: whether this is a selection (`curate select`).

    Raises:
        InputError: there is nothing to read, or `limit` or `sample` is out of range.
        ManifestError: a fingerprint file or list that a rule names cannot be used; or `select` does not work with
            this manifest.
    """
    if limit is not None and limit < 1:
        raise InputError(f"--limit must be at least 1, not {limit}")
    if not 0 < sample <= 1:
        raise InputError(f"--sample must be above 0 and at most 1, not {sample}")
    check_sets(manifest.active_rules())
    check_lists(manifest.active_rules())
    check_names(manifest.active_rules())
    kind = kind_of(manifest)
    if select:
        check_selectable(manifest, kind)
    manifest = kind.place(manifest)
    if limit is None and kind.endless is not None:
        limit = kind.endless
        log.warning("no --limit: %d images are made, as there is no end to them", limit)
    if limit is not None:
        manifest = kind.limited(manifest, limit)
    if not inputs and not manifest.input.uris:
        manifest = on_sample(manifest)
    folder = image_folder(manifest)
    if folder is not None and not folder.is_dir():
        raise InputError(f"image.folder {manifest.image.folder!r} is not a folder here")
    return Request(manifest, tuple(find(manifest, inputs)), limit, sample, retry, select)


def plan(asked: Request, work: Path, judges_again: bool = False) -> Plan:
    """Open every input, check that it has what the manifest needs, count its rows, and divide them into units.

    Args:
        asked: the request.
        work: a local folder for files that are made in one pass over an input.
        judges_again: whether rules that `curate select` has judged are judged again; if not, a change is warned of.

    Raises:
        InputError: an input cannot be reached or lacks a column, or all of them are damaged or empty.
        ManifestError, MachineError: the manifest's scorer or a head cannot be loaded.
    """
    if asked.manifest.scorer is not None and not asked.select:
        check(asked.manifest.scorer)
    if not asked.select:
        check_heads(asked.manifest.heads)
    with ThreadPoolExecutor(16) as pool:
        surveys = list(pool.map(lambda one: survey(one, asked, work), asked.inputs))
    _check_readable(surveys)
    for name, settings in row_rules(asked.manifest).items():
        lacking = [one.name for one, of in zip(asked.inputs, surveys, strict=True) if name in of.unjudged]
        if lacking:
            log.warning(
                "rule %s is not judged in %s: no column for it (%s)",
                name,
                _few(lacking),
                _columns(name, settings),
            )
        if not judges_again:
            _warn_of_settled(name, settings, [of.settled[name] for of in surveys if name in of.settled])
    rows = limit_rows([of.rows for of in surveys], asked.limit)
    return Plan(asked.inputs, rows, asked.unit_rows)


def _check_readable(surveys: Sequence[Survey]) -> None:
    """Log the inputs that cannot be read; each counts as one dropped row.

    Raises:
        InputError: no input can be read.
    """
    faults = [of.fault for of in surveys if of.fault is not None]
    if len(faults) == len(surveys) == 1:
        raise faults[0]
    if len(faults) == len(surveys):
        raise InputError(f"none of the {len(faults)} inputs can be read: {faults[0]}")
    if faults:
        found = plural(len(faults), "input")
        log.warning("%s cannot be read, counted as one dropped row each: %s", found, _few(map(str, faults)))


def _warn_of_settled(name: str, settings: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> None:
    """Log a warning if `curate select` judged by this rule with other settings: the rule is not judged again."""
    others = [of for of in before if dict(of) != dict(settings)]
    if others:
        was, now = (settings_said(of) for of in (others[0], settings))
        log.warning(
            "rule %s is not judged again: `curate select` judged it by %s, not by %s; to change that, select again",
            name, was, now,
        )  # fmt: skip


@dataclass(frozen=True)
class Survey:
    """What is known about an input before the run starts."""

    rows: int
    unjudged: tuple[str, ...]  # rules that are not judged, as it lacks a column
    settled: Mapping[str, Mapping[str, Any]]  # rules that `curate select` judged, with their settings
    fault: UnreadableInputError | None = None  # why it cannot be read, and counts as one dropped row


def survey(found: Input, asked: Request, work: Path) -> Survey:
    """Open an input, check that it has the columns that the manifest needs, and return what is known about it.

    Raises:
        InputError: see `plan`.
    """
    origin = open_origin(found, asked.manifest, work)
    if isinstance(origin, UnreadableInput):
        return Survey(origin.size, (), {}, origin.fault)
    try:
        if asked.select:
            check_columns(found, origin, asked.manifest)
        unjudged = tuple(name for name in row_rules(asked.manifest) if not origin.judges(name))
        on_columns = columns_of(asked.manifest)
        if lacking := [name for name in unjudged if name in on_columns]:
            column = on_columns[lacking[0]]
            raise InputError(
                f"{found.uri}: rule {lacking[0]!r} reads the column {column!r}, and there is none"
            )
        return Survey(origin.size, unjudged, {} if asked.select else origin.settled)
    finally:
        origin.close()


def execute(asked: Request, out: str, options: Options, progress: Progress) -> dict[str, Any]:
    """Do a run or selection, or what is left of it, and return its `_manifest.json`.

    Args:
        asked: the request. On a finished folder the same request does nothing; with inputs added behind the
            others, only what these change is done.
        out: the folder to write to.
        options: workers, overwriting and the lease.
        progress: shows how far it is.

    Raises:
        CurateError: see `curate.errors`. Units that were finished stay finished; the same request goes on.
    """
    journal = Journal(Store(out), asked.select)
    asked = _without_own(asked, journal.store)
    finished = _finished(journal, out, options)
    added = finished is not None and growing.grows(finished["request"], asked)
    if finished is not None and not added:
        if why := growing.misplaced(finished["request"], asked):
            raise OrderForbidsError(
                f"{out} cannot take in more inputs: {why}; run all of them into another --out"
            )
        journal.check_same(finished["request"], asked)
        progress.say(f"{out} is complete already: nothing to do")
        return finished
    forget_opened()
    with goes_on(out), journal.locked(options.lease):
        if options.overwrite:
            journal.clear()
        if aborted := abort_unfinished(journal.store.uri):
            log.warning("%d unfinished uploads of workers that were killed are removed", aborted)
        if options.address is not None:
            check_nodes(options.address, asked, journal.store)
        plan_all = partial(_planned, asked, options, journal)
        if finished is not None:
            growing.prepare(journal, asked, plan_all)
        run = journal.resume(asked, plan_all)
        with progress.live():
            _do(run, journal, options, progress, finished)
        return journal.finish(run)


def _finished(journal: Journal, out: str, options: Options) -> dict[str, Any] | None:
    """Return the manifest of a finished run in the folder; None if there is none, or if it will be overwritten.

    Raises:
        OutputError: the folder cannot be read, or holds packs or an export.
    """
    try:
        if (kind := held(journal.store)) in ("packs", "an export"):
            raise OutputError(f"{out} holds {kind}: give another --out")
        return None if options.overwrite else journal.finished()
    except NotADirectoryError:
        raise OutputError(f"{out} is no folder, or lies below a file: give another --out") from None
    except OSError as error:
        raise OutputError(f"cannot read {out}: {one_line(error)}") from None


def _without_own(asked: Request, store: Store) -> Request:
    """Return the request without inputs that this run itself wrote: `--out` may lie in an input folder.

    Raises:
        OutputError: no input is left.
    """

    def is_own(uri: str) -> bool:
        folder, _, name = filesystem(uri)[1].rpartition("/")
        return folder == store.root and scheme(uri) == scheme(store.uri) and unit_of(name) is not None

    others = tuple(one for one in asked.inputs if not any(is_own(part.uri) for part in one.files))
    if not others:
        raise OutputError(
            f"the input {asked.inputs[0].uri} lies in --out, where this run writes: give another --out"
        )
    return msgspec.structs.replace(asked, inputs=others)


def _planned(asked: Request, options: Options, journal: Journal) -> Plan:
    """Make the plan of a new run. The scorer's device is checked only here, not if a cluster's nodes do the scoring."""
    if asked.manifest.scorer is not None and options.address is None and not asked.select:
        check_device(asked.manifest.scorer)
    return plan(asked, Path(journal.work()))


def _do(
    run: Run,
    journal: Journal,
    options: Options,
    progress: Progress,
    finished: Mapping[str, Any] | None = None,
) -> None:
    """Do everything that is left of a run, until all units are done.

    Args:
        run: the run.
        journal: the journal of its folder, which says how far each unit is.
        options: how many workers, and where.
        progress: shows how far it is.
        finished: if inputs were added to a finished run, its manifest before that.

    Raises:
        UnitError: some units could not be finished; the others are staged or done.
    """
    left = journal.ledger.below(DONE_STATE)
    if not len(left):
        return
    steps = Steps(
        run, journal, progress, runner_for(run, progress, len(left), options.workers, options.address)
    )
    try:
        if run.select:
            steps.select(left)
        else:
            _judge_rows(steps, finished)
            _stage_and_publish(steps)
    finally:
        steps.runner.close()


def _judge_rows(steps: Steps, finished: Mapping[str, Any] | None) -> None:
    """Judge by the rules across the run that need no image; see `_do`."""
    try:
        steps.judge_across("keys")
        steps.judge_across("seen")
    except OrderForbidsError:
        if finished is not None:
            growing.undo(steps.journal, finished, steps.run.growth)
        raise
    if finished is not None:
        growing.begin(steps.journal)


def _stage_and_publish(steps: Steps) -> None:
    """Stage all units that are left, and judge and publish them if there are rules on what is staged; see `_do`."""
    run, journal = steps.run, steps.journal
    steps.units("stage", journal.ledger.below(STAGED_STATE if run.judges_staged else DONE_STATE))
    if run.judges_staged:
        for phase in OF_STAGED:
            steps.judge_across(phase)
        steps.judge_similar()
        steps.judge_near()
        journal.settle_before(steps.touched())
        steps.units("publish", journal.ledger.below(DONE_STATE))


def _few(every: Iterable[str]) -> str:
    names = list(every)
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _columns(rule: str, settings: Mapping[str, Any]) -> str:
    return ", ".join(filters.find_rule(rule, settings).columns)
