"""The score stage of a run: compute CLIP features and scores by the manifest's scorer, while images still arrive.

A unit is scored in windows, ranges of its rows, each as soon as all its images have arrived or failed. Each window is
scored by itself, so that its scores do not depend on the order in which images arrive. A thread gives the scorer images
from the spool on disk, so that only one or two batches of images are in memory. A dialogue is scored by all of its
images (see `curate.scorer.items`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate.engine.spool import Spool
from curate.errors import Halted
from curate.manifest.settings import ScorerSettings
from curate.marking import SCORE, scatter
from curate.schema import SAMPLE, set_column

if TYPE_CHECKING:
    from curate.scorer.scorer import Pairs, Scorer
    from curate.scorer.table import Scored

WINDOW = 2048  # rows of a window
TAKEN = 64  # images that are read from the spool at once


class Scoring:
    """A scorer that is opened when the first row needs it, and then kept.

    With `actors` (see `curate.scorer.actors`), these hold the model, and this process only decodes images for them.
    """

    def __init__(self, settings: ScorerSettings, cores: int, actors: Sequence[Any] = ()) -> None:
        self.settings, self._cores, self._actors = settings, cores, actors

    def close(self) -> None:
        """Close the scorer, if it was opened."""
        if "scorer" in self.__dict__:
            self.scorer.close()

    @cached_property
    def scorer(self) -> Scorer:
        """The scorer, which is opened at the first use.

        Raises:
            ManifestError, MachineError: see `curate.scorer.open_scorer`.
        """
        from curate.scorer import open_scorer
        from curate.scorer.actors import RemoteEncoder
        from curate.scorer.scorer import Scorer

        if self._actors:
            return Scorer(RemoteEncoder(self._actors), self._cores)
        return open_scorer(self.settings, self._cores)

    def identity(self) -> dict[str, Any]:
        """Return what shards say about the scorer: model, weights, precision, …."""
        return self.scorer.identity.plain()


class Windows:
    """Gives the rows of one unit to the scorer, window by window; without a scorer (None) it does nothing."""

    def __init__(self, scoring: Scoring | None, spool: Spool) -> None:
        self._scoring, self._spool = scoring, spool
        self._texts: list[str | None] = []  # of the rows that were read so far
        self._shown: dict[int, np.ndarray] = {}  # dialogue's row → its images' numbers in the spool
        self._awaited: Counter[int] = Counter()  # window → images that are still expected
        self._begun: dict[int, np.ndarray] = {}  # window given to the scorer → its rows with an image
        self._queue: SimpleQueue[int | None] = SimpleQueue()
        self._thread = ThreadPoolExecutor(1, "scoring")
        self._found: Future[list[Scored]] | None = None
        self._stopped = False

    def __enter__(self) -> Windows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._queue.put(None)
        self._thread.shutdown()

    def expect(self, row: int) -> None:
        """Note that an image of this row is still to arrive."""
        self._awaited[row // WINDOW] += 1

    def settle(self, row: int) -> None:
        """Note that an image of this row has arrived or failed."""
        window = row // WINDOW
        self._awaited[window] -= 1
        if (window + 1) * WINDOW <= len(self._texts):
            self._begin_if_settled(window)

    def read(self, texts: pa.ChunkedArray, shown: Sequence[np.ndarray] | None = None) -> None:
        """Note that more rows were read, and that `expect` was called for each of their images that is still to arrive.

        Args:
            texts: the rows' texts.
            shown: the numbers of each row's images in the spool. None: each row has one image, with the row's number.
        """
        before = len(self._texts) // WINDOW
        self._shown |= dict(enumerate(shown or (), len(self._texts)))
        self._texts += texts.to_pylist()
        for window in range(before, len(self._texts) // WINDOW):
            self._begin_if_settled(window)

    def fill(self, table: pa.Table) -> pa.Table:
        """Fill scores and features into the unit's whole table, after all images have arrived or failed (N rows).

        Raises: see `Scoring.scorer` and `Scorer.score_all`.
        """
        if self._scoring is None:
            return table
        for window in range(-(-len(self._texts) // WINDOW)):
            self._begin_if_settled(window)
        table = set_column(table, SCORE, pa.nulls(table.num_rows, SAMPLE.field(SCORE).type))
        if self._found is None:
            return table
        self._queue.put(None)
        found_ones = zip(self._begun, self._found.result(), strict=True)
        scored = {window: self._of_rows(window, one) for window, one in found_ones}
        places = pa.array(np.concatenate([self._begun[window] for window in sorted(scored)]))
        found = {SCORE: [scored[window].scores for window in sorted(scored)]}
        if self._scoring.settings.features:
            found["clip_features"] = [scored[window].features for window in sorted(scored)]
        for name, parts in found.items():
            column = pa.chunked_array([part.cast(SAMPLE.field(name).type) for part in parts])
            table = set_column(table, name, scatter(column, places, table.num_rows))
        return table

    def _begin_if_settled(self, window: int) -> None:
        """Give a window to the scorer if all its images have arrived or failed; not twice, and not without images."""
        if self._scoring is None or self._awaited[window] or window in self._begun:
            return
        rows = np.arange(window * WINDOW, min((window + 1) * WINDOW, len(self._texts)))
        if self._shown:
            rows = rows[[self._is_whole(row) for row in rows.tolist()]]
        else:
            rows = rows[np.array(self._spool.lengths(rows)) > 0]
        if not len(rows):
            return
        self._begun[window] = rows
        if self._found is None:
            self._found = self._thread.submit(self._score, self._scoring)
        elif self._found.done():
            self._found.result()  # the scorer has failed: raise its error
        self._queue.put(window)

    def _is_whole(self, dialogue: int) -> bool:
        """Return whether a dialogue shows images, and all of them have arrived."""
        places = self._shown[dialogue]
        return bool(len(places)) and all(self._spool.lengths(places))

    def _of_rows(self, window: int, scored: Scored) -> Scored:
        """Return the scores of a window's rows, computed from those of their images."""
        from curate.scorer.items import folded

        if not self._shown:
            return scored
        return folded(scored, np.array([len(self._shown[row]) for row in self._begun[window].tolist()]))

    def _score(self, scoring: Scoring) -> list[Scored]:
        return list(scoring.scorer.score_all(self._pairs()))

    def _pairs(self) -> Iterator[Pairs]:
        from curate.scorer.scorer import Pairs

        while (window := self._queue.get()) is not None:
            rows = self._begun[window]
            if not self._shown:
                yield Pairs(self._images(rows), [self._texts[row] for row in rows])
                continue
            places = [self._shown[row] for row in rows.tolist()]
            counts = [len(each) for each in places]
            texts = [self._texts[row] for row in np.repeat(rows, counts)]
            yield Pairs(self._images(np.concatenate(places)), texts)

    def _images(self, places: np.ndarray) -> Iterator[bytes]:
        for first in range(0, len(places), TAKEN):
            if self._stopped:
                raise Halted("the unit was given up")
            yield from self._spool.take(places[first : first + TAKEN]).to_pylist()
