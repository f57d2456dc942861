"""`curate score`: a finished run's shards, scored one by one; killed at any point, the same command goes on.

Each shard is written beside the old one, then recorded in `_run/score`, then moved to its place; the
manifest is written last of all. A scorer without a name fills the shards' own columns and may drop rows; one
with a name leaves the shards alone and writes `_scores/NAME/shard-*.parquet`.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from curate.engine.retry import finished_manifest
from curate.errors import CurateError, Halted, ManifestError, OutputError, Stopped, UnitError
from curate.manifest.settings import ScorerSettings, ShardSettings
from curate.scorer.identity import Identity, from_plain
from curate.scoring.drop_near_duplicates import drop_near_duplicates
from curate.scoring.in_process import ScoringRunner
from curate.scoring.journal import Asked, ScoreJournal
from curate.scoring.meter import ScoringMeter, Silent
from curate.scoring.runners import crew
from curate.scoring.shard import Done, ScoringTerms
from curate.storage.filesystems import one_line
from curate.storage.finished import SCORING, check_complete, listed_files
from curate.storage.store import Store

log = logging.getLogger("curate")

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class ScoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What `curate score` is asked for."""

    scorer: ScorerSettings
    threshold: float | None = None  # rows with a lower score are dropped
    name: str = ""  # keep this scorer's findings beside the shards, under its name
    rescore: bool = False  # replace what another scorer found
    max_similarity: float | None = None  # of two images more alike than this (cosine), the first stays


def score(
    folder: str,
    settings: ScoreSettings,
    workers: int | None = None,
    address: str | None = None,
    progress: ScoringMeter | None = None,
) -> dict[str, Any]:
    """Score every shard of a finished run; its new `_manifest.json`.

    `workers` is the number of processes that each hold a model: 0 or 1 is this process alone. Without it
    there is one a GPU, and where there is no GPU this process does it.

    Raises:
        ManifestError: settings that make no sense, or an unknown model.
        InputError: the folder holds no complete run.
        OutputError: another scorer was here before, or another run is.
        MachineError, Halted, UnitError, Stopped: see `curate.errors`; finished shards stay finished.
    """
    _check(settings)
    watch, store = progress or Silent(), Store(folder)
    manifest = finished_manifest(folder)
    if not settings.rescore and _is_done(manifest, settings):
        watch.say(f"{folder} is scored already: nothing to do")
        return manifest
    if not store.exists(SCORING):  # else some shards are changed already
        check_complete(
            store, listed_files(store, manifest), "shard", sizes=False
        )  # a damaged one costs itself
    try:
        with _locked(store), crew(store.uri, settings.scorer, workers, address) as hands:
            return _score(store, manifest, settings, hands, watch)
    except KeyboardInterrupt:
        raise Stopped(f"interrupted; the same command goes on where {folder} stands") from None
    except OSError as error:
        raise Halted(
            f"cannot go on in {folder}: {one_line(error)}; mend that, then the same command"
        ) from None


def _score(
    store: Store, manifest: dict[str, Any], settings: ScoreSettings, hands: ScoringRunner, watch: ScoringMeter
) -> dict[str, Any]:
    if settings.rescore or not _is_scored(manifest, settings):
        manifest = _score_shards(store, manifest, settings, hands, watch)
    if settings.max_similarity is not None:
        manifest = drop_near_duplicates(store, manifest, settings.max_similarity, watch)
    return manifest


def _score_shards(
    store: Store, manifest: dict[str, Any], settings: ScoreSettings, hands: ScoringRunner, watch: ScoringMeter
) -> dict[str, Any]:
    begun, books = time.monotonic(), ScoreJournal(store, settings.name)
    _refuse_another(store.uri, manifest, settings, hands.identity)
    manifest, done = books.open(manifest, _asked(settings, hands.identity), settings.rescore)
    left = {one["path"]: one["rows"] for one in manifest["shards"] if one["path"] not in done}
    watch.say(f"scoring {len(left)} of {len(manifest['shards'])} shards with {hands.identity}")
    failed: list[str] = []
    for path, result in hands.map(left, _terms(manifest, settings)):
        if isinstance(result, CurateError):
            failed.append(f"{path}: {result}")
            log.error("%s", failed[-1])
            continue
        done[path] = books.keep(result)
        _count(watch, result)
    if failed:
        raise UnitError(f"{len(failed)} of {len(left)} shards could not be scored, first {failed[0]}")
    return books.close(manifest, done, settings.scorer, hands.identity, time.monotonic() - begun)


def _check(settings: ScoreSettings) -> None:
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
    batch = settings.scorer.batch_size
    if batch != "auto" and batch < 1:
        raise ManifestError(f"--batch-size must be at least 1, not {batch}")


def _asked(settings: ScoreSettings, identity: Identity) -> Asked:
    return Asked(
        scorer=identity.plain(),
        features=settings.scorer.features,
        threshold=settings.threshold,
        name=settings.name,
    )


def _terms(manifest: dict[str, Any], settings: ScoreSettings) -> ScoringTerms:
    return ScoringTerms(
        name=settings.name,
        features=settings.scorer.features,
        threshold=settings.threshold,
        drops_sample=manifest["manifest"]["drops"]["sample"],
        shard=msgspec.convert(manifest["manifest"]["shard"], ShardSettings),
    )


def _is_done(manifest: dict[str, Any], settings: ScoreSettings) -> bool:
    """Whether all that is asked for was asked for in the same words before, and is complete."""
    alike = settings.max_similarity in (None, _said(manifest, settings.name).get("max_similarity"))
    return alike and _is_scored(manifest, settings)


def _is_scored(manifest: dict[str, Any], settings: ScoreSettings) -> bool:
    said = _said(manifest, settings.name)
    asked = {"settings": msgspec.to_builtins(settings.scorer), "threshold": settings.threshold}
    return all(said.get(key) == value for key, value in asked.items())


def _refuse_another(uri: str, manifest: dict[str, Any], settings: ScoreSettings, identity: Identity) -> None:
    """Scores of two scorers are never mixed.

    Raises:
        OutputError: another one was here, and is not to be replaced.
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
    """What the manifest tells of the last scoring under that name; nothing where there was none."""
    found: dict[str, Any] | None = manifest.get("scorers", {}).get(name) if name else manifest.get("scored")
    return found or {}


def _count(watch: ScoringMeter, done: Done) -> None:
    kept = 0 if done.written is None else done.written.rows
    images = done.rows_in - sum(done.failed.values())
    watch.add(
        rows=done.rows_in, images=images, kept=kept, bytes=0 if done.written is None else done.written.bytes
    )


@contextmanager
def _locked(store: Store) -> Iterator[None]:
    store.lock()
    try:
        yield
    finally:
        store.unlock()
