"""Shards scored in this process. One that cannot be read is reported while the others go on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from curate.errors import CurateError, UnitError
from curate.scorer.identity import Identity
from curate.scorer.scorer import Pairs, Scorer
from curate.scorer.table import Scored
from curate.scoring.items import folded
from curate.scoring.shard import Done, ScoringTerms, ShardReading, stored, write
from curate.storage.filesystems import one_line
from curate.storage.store import Store

Result = Done | CurateError


class ScoringRunner(Protocol):
    """Whoever scores shards."""

    identity: Identity

    def map(self, shards: Mapping[str, int], terms: ScoringTerms) -> Iterator[tuple[str, Result]]:
        """Score shards (path to rows), in any order; what became of each.

        Raises:
            Halted, MachineError: nothing can go on.
        """


class ScoringInProcess:
    """This process."""

    def __init__(self, folder: str, scorer: Scorer) -> None:
        self.store, self._scorer, self.identity = Store(folder), scorer, scorer.identity

    def map(self, shards: Mapping[str, int], terms: ScoringTerms) -> Iterator[tuple[str, Result]]:
        """See `ScoringRunner.map`; one shard is written while the next one is scored."""
        with ThreadPoolExecutor(1, "writer") as writer:
            writing: tuple[str, Future[Result]] | None = None
            for path, work in self._scored(shards, terms, writer):
                if writing is not None:
                    yield writing[0], writing[1].result()
                writing = path, work
            if writing is not None:
                yield writing[0], writing[1].result()

    def close(self) -> None:
        """End the child processes and let go of the device."""
        self._scorer.close()

    def _scored(
        self, shards: Mapping[str, int], terms: ScoringTerms, writer: ThreadPoolExecutor
    ) -> Iterator[tuple[str, Future[Result]]]:
        """Each shard as it is being written: first those whose scores are known, then the others."""
        new: list[str] = []
        for path in shards:
            known = None if terms.name else self._known(path, terms)
            if known is None:
                new.append(path)
            else:
                yield (
                    path,
                    writer.submit(self._write, ShardReading(self.store, path, shards[path]), known, terms),
                )
        readings: deque[ShardReading] = deque()

        def tables() -> Iterator[Pairs]:
            for path in new:
                readings.append(ShardReading(self.store, path, shards[path]))
                yield Pairs(readings[-1].images(), readings[-1].texts, readings[-1].names)

        for scored in self._scorer.score_all(tables()):
            reading = readings.popleft()
            yield reading.path, writer.submit(self._write, reading, folded(scored, reading.counts), terms)

    def _known(self, path: str, terms: ScoringTerms) -> Scored | None:
        try:
            return stored(self.store, path, self.identity, terms.features)
        except (OSError, ValueError):  # reading it again says what is wrong
            return None

    def _write(self, reading: ShardReading, scored: Scored, terms: ScoringTerms) -> Result:
        """Write a shard, if it was read.

        Raises:
            OSError: the disk is full, or the folder is gone: no other shard would fare better.
        """
        if reading.error is not None:
            return UnitError(f"cannot be read: {reading.error}; `curate verify` names what is damaged")
        try:
            return write(self.store, reading.path, scored, self.identity, terms)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) is not None:
                raise
            return UnitError(f"cannot be written: {one_line(error)}")
