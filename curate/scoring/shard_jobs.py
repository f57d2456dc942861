"""A worker of a scoring: it scores shards, or writes them again without near duplicates.

A shard is named by its number in the folder's list. One shard is written while the next one is scored. With Ray, actors
hold the models, and the workers decode the images for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any
from uuid import uuid4

import msgspec

from curate.engine.flagging import Flagging
from curate.engine.score import Scoring
from curate.engine.worker import Job, JobFailure, JobWorker, Result
from curate.errors import UnitError
from curate.manifest.settings import ScorerSettings
from curate.scorer.identity import Identity, from_plain
from curate.scorer.items import folded
from curate.scorer.scorer import Pairs, Scorer
from curate.scorer.table import Scored
from curate.scoring.judging import flag_shard
from curate.scoring.shard import Done, Flag, ScoringTerms, ShardReading, stored, verdict, write
from curate.storage.filesystems import one_line
from curate.storage.finished import read_manifest
from curate.storage.listing import listed_shards
from curate.storage.shards import Shard
from curate.storage.store import Store


class ScoringRun(msgspec.Struct, frozen=True, kw_only=True):
    """What the workers of one scoring share."""

    out: str  # the folder that is scored
    scorer: ScorerSettings | None  # None: the shards keep their scores
    terms: ScoringTerms
    models: int | None = None  # None: one a GPU, or one a node without GPUs
    identity: str = msgspec.field(default_factory=lambda: uuid4().hex)

    @property
    def per_host(self) -> int:
        """The limit on requests for each host: 0, because a scoring fetches nothing."""
        return 0


class ScoringWorker(JobWorker):
    """A process that scores shards; see `curate.engine.worker.Worker`."""

    def __init__(self, run: ScoringRun, _: Any, children: int, actors: Sequence[Any], __: Any) -> None:
        super().__init__(run.out)
        self._run = run
        self._scoring = None if run.scorer is None else Scoring(run.scorer, children, actors)
        models = run.terms.models
        self._flagging = None if models is None else Flagging(models.manifest(), children)
        self.store = Store(run.out)

    def close(self) -> None:
        """End the child processes and release the device."""
        if self._scoring is not None:
            self._scoring.close()
        if self._flagging is not None:
            self._flagging.close()

    @property
    def scorer(self) -> Scorer:
        """The scorer, opened when it is first needed.

        Raises: see `Scoring.scorer`.
        """
        assert self._scoring is not None  # callers ask only in a scoring with a scorer
        return self._scoring.scorer

    @property
    def _identity(self) -> Identity | None:
        """The scorer's identity; None in a scoring without a scorer."""
        return None if self._scoring is None else self.scorer.identity

    def start(self, job: Job) -> Callable[[], Result]:
        """Score the job's shard; the returned function writes it. Other jobs: see `JobWorker.start`."""
        if job.kind != "score" or len(job.numbers) > 1:
            return super().start(job)
        (number,) = job.numbers
        begun = self._guarded(job, number, lambda: self._scored(number))
        if isinstance(begun, JobFailure):
            return lambda: [begun]
        return lambda: [self._guarded(job, number, lambda: self._written(*begun))]

    def identify(self, _: int) -> Identity:
        """The scorer's identity; the job's number is ignored."""
        return self.scorer.identity

    def score(self, number: int) -> Done:
        """Score the shard with this number, and write it beside the old one."""
        return self._written(*self._scored(number))

    def drop(self, number: int) -> Done:
        """Write the shard of the verdict's record batch `number` again, without its near duplicates.

        Raises:
            UnitError: the shard no longer holds features of the recorded scorer.
        """
        path, fallen = verdict(self.store, number)
        scored = stored(self.store, path, self._recorded, features=True)
        if scored is None:
            raise UnitError(f"{path} holds no features of {self._recorded}: score it again, with --features")
        terms = msgspec.structs.replace(self._run.terms, near_duplicates={path: fallen})
        return write(self.store, path, scored, self._recorded, terms)

    def _scored(self, number: int) -> tuple[ShardReading, Scored]:
        """The shard's scores: those that it already has from this scorer, or new ones."""
        shard = self._shards[number]
        reading = ShardReading(self.store, shard.path, shard.rows)
        known = None if self._run.terms.name or self._asks_each(reading) else self._known(shard.path)
        if known is not None:
            return reading, known
        if self._scoring is None:
            raise UnitError(f"{shard.path}: cannot be read; `curate verify` names what is damaged")
        (scored,) = self.scorer.score_all([Pairs(reading.images(), reading.texts, reading.names)])
        return reading, folded(scored, reading.counts)

    def _asks_each(self, reading: ShardReading) -> bool:
        """Whether flags need the features of each image of a dialogue; a shard keeps only their mean."""
        models = self._run.terms.models
        return models is not None and bool(models.flags) and bool((reading.counts > 1).any())

    def _known(self, path: str) -> Scored | None:
        try:
            features = self._scoring is not None and self._run.terms.features
            return stored(self.store, path, self._identity, features)
        except (OSError, ValueError):  # reading the shard for scoring will report the error
            return None

    def _written(self, reading: ShardReading, scored: Scored) -> Done:
        """Write a shard with its scores.

        Raises:
            UnitError: the shard could not be read, or not be written.
            OSError: the disk is full, or the folder is gone.
        """
        if reading.error is not None:
            said = f"cannot be read: {reading.error}; `curate verify` names what is damaged"
            raise UnitError(f"{reading.path}: {said}")
        try:
            return write(self.store, reading.path, scored, self._identity, self._run.terms, self._flag)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) is not None:
                raise
            raise UnitError(f"{reading.path}: cannot be written: {one_line(error)}") from None

    @cached_property
    def _flag(self) -> Flag | None:
        """The function that applies flags and heads to a shard's rows; None where none were asked for."""
        if self._flagging is None:
            return None
        return partial(flag_shard, flagging=self._flagging, scoring=self._scoring)

    @cached_property
    def _shards(self) -> list[Shard]:
        """Every shard of the folder, in order."""
        return listed_shards(self.store, read_manifest(self.store) or {})

    @cached_property
    def _recorded(self) -> Identity:
        """The scorer that the folder names once it is scored."""
        return from_plain((read_manifest(self.store) or {})["scorer"])
