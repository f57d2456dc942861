"""The score stage of a run: CLIP features and scores, by the manifest's scorer, of what is still alive."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.manifest import ScorerSettings
from curate.schema import SAMPLE, set_column
from curate.spool import Spool
from curate.stages import alive, scatter

if TYPE_CHECKING:
    from curate.scorer.scorer import Pairs, Scorer

WINDOW = 512  # rows whose images are in memory at once


class Scoring:
    """A scorer that is opened when the first row needs it, and held."""

    def __init__(self, settings: ScorerSettings, cores: int) -> None:
        self._settings, self._cores = settings, cores

    def close(self) -> None:
        """End the scorer, if it was opened."""
        if "scorer" in self.__dict__:
            self.scorer.close()

    @cached_property
    def scorer(self) -> Scorer:
        """The scorer.

        Raises:
            ManifestError, MachineError: see `curate.scorer.open_scorer`.
        """
        from curate.scorer import open_scorer

        return open_scorer(self._settings, self._cores)

    def identity(self) -> dict[str, Any]:
        """Who the scorer is, as shards name it."""
        return self.scorer.identity.plain()

    def score(self, table: pa.Table, spool: Spool) -> pa.Table:
        """The table with the alive rows' scores and features (N rows)."""
        places = pc.indices_nonzero(alive(table))
        if not len(places):
            return table
        scored = list(self.scorer.score_all(self._windows(table, places.to_numpy(), spool)))
        found = {"clip_score": [one.scores for one in scored]}
        if self._settings.features:
            found["clip_features"] = [one.features for one in scored]
        for name, parts in found.items():
            column = pa.chunked_array([part.cast(SAMPLE.field(name).type) for part in parts]).combine_chunks()
            table = set_column(table, name, scatter(column, places, table.num_rows))
        return table

    def _windows(self, table: pa.Table, places: np.ndarray, spool: Spool) -> Iterator[Pairs]:
        from curate.scorer.scorer import Pairs

        for start in range(0, len(places), WINDOW):
            rows = places[start : start + WINDOW]
            yield Pairs(spool.take(rows).to_pylist(), table["text"].take(pa.array(rows)).to_pylist())
