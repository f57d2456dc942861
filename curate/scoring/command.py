"""`curate score`: score a finished run's shards one by one; after a kill, the same command continues.

Each new shard is written beside the old one, then recorded in `_run/score`, then moved to its place; the
manifest is written last. A scorer without a name fills the shards' own columns and may drop rows. A scorer
with a name does not change the shards: its scores go to `_scores/NAME/shard-*.parquet`.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import msgspec

from curate.engine.kept_results import each_result
from curate.engine.progress import Progress
from curate.engine.record import Meter
from curate.engine.retry import finished_manifest
from curate.engine.runners import InProcess, OnRay, Runner
from curate.engine.worker import Job, JobFailure
from curate.errors import ManifestError, OutputError, UnitError
from curate.manifest.settings import ScorerSettings, ShardSettings
from curate.scorer.heads import check_heads
from curate.scorer.identity import Identity, from_plain
from curate.scoring.drop_near_duplicates import drop_near_duplicates
from curate.scoring.journal import Asked, ScoreJournal
from curate.scoring.judging import Models
from curate.scoring.shard import Done, ScoringTerms
from curate.scoring.shard_jobs import ScoringRun, ScoringWorker
from curate.storage.finished import SCORING, check_complete, listed_files
from curate.storage.goes_on import goes_on
from curate.storage.store import Store

log = logging.getLogger("curate")

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class ScoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one `curate score`."""

    scorer: ScorerSettings | None  # None: no CLIP model, only heads
    threshold: float | None = None  # cosine: rows with a lower score are dropped
    name: str = ""  # keep the scores beside the shards, under this name
    rescore: bool = False  # replace the scores of another scorer
    max_similarity: float | None = None  # cosine: of two images more alike, the first stays
    models: Models | None = None  # flags and heads to compute as well, and the rules on them


def score(
    folder: str,
    settings: ScoreSettings,
    workers: int | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score every shard of the finished run in `folder`; returns its new `_manifest.json`.

    `workers` is the number of processes that each hold a model; with 0 or 1 this process does all. By default there is
    one process for each GPU, and this process does all where there is no GPU. `address` is a Ray cluster's (None: a
    local one, where several processes are needed); `progress` shows how far the scoring is (None: nothing is shown).

    Raises:
        ManifestError: settings that make no sense, or an unknown model.
        InputError: the folder holds no complete run.
        OutputError: the folder was scored by another scorer, has an unfinished scoring, or another run uses it.
        MachineError, Halted, UnitError, Stopped: see `curate.errors`; shards that are finished stay finished.
    """
    _check(settings)
    watch, store = progress or Progress.silent(), Store(folder)
    manifest = finished_manifest(folder)
    if settings.models is not None:
        check_heads(settings.models.manifest().heads)
    if not settings.rescore and _is_done(manifest, settings):
        watch.say(f"{folder} is scored already: nothing to do")
        return manifest
    if not store.exists(SCORING):  # else some shards are changed already
        check_complete(
            store, listed_files(store, manifest), "shard", sizes=False
        )  # sizes are not compared: a damaged shard fails later, the others are scored
    with goes_on(folder):
        run = ScoringRun(
            out=store.uri, scorer=settings.scorer, terms=_terms(manifest, settings), models=workers or None
        )
        parts = len(manifest["shards"])
        with store.locked(), watch.live(), runner_of(run, workers, address, watch, parts) as runner:
            return ScoringSteps(store, runner, watch).all(manifest, settings)


@dataclass
class ScoringSteps:
    """The steps of one scoring; the runners of a run do the jobs."""

    store: Store
    runner: Runner
    watch: Progress

    def all(self, manifest: dict[str, Any], settings: ScoreSettings) -> dict[str, Any]:
        """Score all shards, then drop near duplicates; steps not asked for or already done are left out.

        Takes and returns the whole of `_manifest.json`.
        """
        if settings.rescore or not _is_scored(manifest, settings):
            manifest = self.score(manifest, settings)
        if settings.max_similarity is not None:
            manifest = drop_near_duplicates(self.store, manifest, settings.max_similarity, self.work)
        return manifest

    def score(self, manifest: dict[str, Any], settings: ScoreSettings) -> dict[str, Any]:
        """Score the shards that are not yet scored. Takes and returns the whole of `_manifest.json`."""
        begun, journal = time.monotonic(), ScoreJournal(self.store, settings.name)
        identity = None if settings.scorer is None else self._identity(manifest, settings)
        manifest, done = journal.open(manifest, _asked(settings, identity), settings.rescore)
        shards = manifest["shards"]
        left = [number for number, one in enumerate(shards) if one["path"] not in done]
        self.watch.say(f"scoring {len(left)} of {len(shards)} shards with {identity or 'heads alone'}")
        for one in self.work("score", left):
            done[one.path] = journal.keep(one)
        return journal.close(manifest, done, settings.scorer, identity, time.monotonic() - begun)

    def _identity(self, manifest: dict[str, Any], settings: ScoreSettings) -> Identity:
        """The scorer's identity; an error where the folder was scored by another scorer."""
        (identity,) = (
            result for _, results in self.runner.map([Job("identify", (0,))]) for result in results
        )
        if isinstance(identity, JobFailure):
            raise identity.error
        found: Identity = identity
        _refuse_another(self.store.uri, manifest, settings, found)
        return found

    def work(self, kind: str, numbers: list[int]) -> Iterator[Done]:
        """Do the jobs of one kind with these numbers; yields a record of each that succeeded.

        Raises:
            UnitError: some jobs failed; raised once the others are done.
        """
        failed: list[JobFailure] = []
        for result in each_result(self.runner, self.store, self.watch, kind, numbers):
            if isinstance(result, JobFailure):
                if failed:  # the first failure is not logged: the UnitError below names it
                    log.error("%s", result.error)
                failed.append(result)
            else:
                yield result
                _count(self.watch, result)
        if failed:
            said = f"{len(failed)} of {len(numbers)} shards could not be scored"
            raise UnitError(f"{said}, first {failed[0].error}")


@contextmanager
def runner_of(
    run: ScoringRun, workers: int | None, address: str | None, watch: Meter, parts: int
) -> Iterator[Runner]:
    """Open the runner for `parts` jobs: Ray tasks where Ray is asked for or a GPU is found, else this process.

    With a GPU, tasks on all cores are used because a single process cannot decode images fast enough for it.

    Raises:
        ManifestError, MachineError: see `curate.scorer.open_scorer`.
    """
    alone = not _has_gpu(run.scorer) if workers is None else workers < 2
    runner: Runner
    if address is None and alone:
        runner = InProcess(run, watch, ScoringWorker)
    else:
        runner = OnRay(run, watch, None, address, ScoringWorker, parts)
    try:
        yield runner
    finally:
        runner.close()


def _has_gpu(settings: ScorerSettings | None) -> bool:
    """Whether the settings allow any GPU of this machine (not one by number), and there is one."""
    if settings is None or settings.device not in ("auto", "cuda") or find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def _check(settings: ScoreSettings) -> None:
    if settings.scorer is None:
        others = (settings.threshold, settings.max_similarity, settings.name or None)
        if settings.models is None or any(one is not None for one in others):
            raise ManifestError(
                "--model none is for heads alone: give it --flags, and neither --threshold, --max-similarity nor --name"
            )
        return
    if settings.name and not NAME.fullmatch(settings.name):
        raise ManifestError(f"--name {settings.name!r} must be like 'vit-l-14' (a-z, 0-9, . _ -)")
    if settings.name and settings.threshold is not None:
        raise ManifestError("--threshold drops rows from the shards: give it without --name")
    if settings.threshold is not None and not -1 <= settings.threshold <= 1:
        raise ManifestError(f"--threshold is a cosine, from -1 to 1, not {settings.threshold}")
    if settings.max_similarity is not None:
        if settings.name or not settings.scorer.features:
            raise ManifestError(
                "--max-similarity needs the shards' own features: no --name, no --no-features"
            )
        if not 0 < settings.max_similarity <= 1:
            raise ManifestError(f"--max-similarity is a cosine, above 0, not {settings.max_similarity}")
    if settings.name and settings.models is not None:
        raise ManifestError("--flags writes into the shards: give it without --name")
    batch = settings.scorer.batch_size
    if batch != "auto" and batch < 1:
        raise ManifestError(f"--batch-size must be at least 1, not {batch}")


def _asked(settings: ScoreSettings, identity: Identity | None) -> Asked:
    return Asked(
        scorer={} if identity is None else identity.plain(),
        features=settings.scorer is None or settings.scorer.features,
        threshold=settings.threshold,
        name=settings.name,
        models=settings.models,
    )


def _terms(manifest: dict[str, Any], settings: ScoreSettings) -> ScoringTerms:
    return ScoringTerms(
        name=settings.name,
        features=settings.scorer is None or settings.scorer.features,
        threshold=settings.threshold,
        models=settings.models,
        drops_sample=manifest["manifest"]["drops"]["sample"],
        shard=msgspec.convert(manifest["manifest"]["shard"], ShardSettings),
    )


def _is_done(manifest: dict[str, Any], settings: ScoreSettings) -> bool:
    """Whether a finished scoring had the same options, so that nothing is left to do."""
    alike = settings.max_similarity in (None, _said(manifest, settings.name).get("max_similarity"))
    return alike and _is_scored(manifest, settings)


def _is_scored(manifest: dict[str, Any], settings: ScoreSettings) -> bool:
    said = _said(manifest, settings.name)
    asked: dict[str, Any] = {}
    if settings.scorer is not None:
        asked = {"settings": msgspec.to_builtins(settings.scorer), "threshold": settings.threshold}
    if settings.models is not None:
        asked["models"] = msgspec.to_builtins(settings.models)
    return all(said.get(key) == value for key, value in asked.items())


def _refuse_another(uri: str, manifest: dict[str, Any], settings: ScoreSettings, identity: Identity) -> None:
    """Refuse to mix the scores of two scorers.

    Raises:
        OutputError: the folder was scored by another scorer, and `rescore` was not asked for.
    """
    plain = _said(manifest, settings.name).get("scorer") if settings.name else manifest["scorer"]
    if plain is None or settings.rescore:
        return
    before = from_plain(plain)
    if not before.same(identity):
        raise OutputError(
            f"{uri} is scored by {before}, and {identity} has {before.difference(identity)}: --rescore "
            "replaces its scores, --name NAME keeps these beside them"
        )


def _said(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    """The manifest's entry on the last scoring under that name; empty where there was none."""
    found: dict[str, Any] | None = manifest.get("scorers", {}).get(name) if name else manifest.get("scored")
    return found or {}


def _count(watch: Progress, done: Done) -> None:
    kept = 0 if done.written is None else done.written.rows
    images = done.rows_in - sum(done.failed.values())
    watch.add(
        rows=done.rows_in, images=images, kept=kept, bytes=0 if done.written is None else done.written.bytes
    )
