"""Flags and heads of a run: what models say of its images, kept in `extra` and judged by the rules that read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import filters
from curate.engine.score import TAKEN, Scoring
from curate.engine.spool import Spool
from curate.manifest.settings import FLAGS, HEADS, Manifest
from curate.marking import alive, judge, scatter
from curate.schema import set_column

if TYPE_CHECKING:
    from curate.scorer.flags import Embedded
    from curate.scorer.heads import Heads

Values = Mapping[str, pa.DoubleArray]


class Flagging:
    """The `[flags]` and `[heads]` of one run; what they need is opened when the first row needs it."""

    def __init__(self, manifest: Manifest, children: int) -> None:
        self._manifest, self._count = manifest, children
        self._embedded: Embedded | None = None
        self._heads: Heads | None = None

    def close(self) -> None:
        """End the heads' child processes."""
        if self._heads is not None:
            self._heads.close()

    def flag_and_judge(self, table: pa.Table, scoring: Scoring | None, spool: Spool) -> pa.Table:
        """A scored table (N rows of SAMPLE) with what models say in `extra`, and without what falls by it.

        Raises: see `Scoring.scorer` and `Heads.values`.
        """
        columns: dict[str, pa.DoubleArray] = {}
        for group, values in self._said(table, scoring, spool):
            extra = with_values(table["extra"].combine_chunks(), group.rstrip("."), values)
            table = set_column(table, "extra", extra)
            columns |= {f"{filters.PREFIX}{group}{name}": of for name, of in values.items()}
        judged = table
        for name, of in columns.items():
            judged = judged.append_column(name, of)
        return judge(judged, self._manifest.rules_on_models(), "score").drop_columns(list(columns))

    def _said(self, table: pa.Table, scoring: Scoring | None, spool: Spool) -> Iterator[tuple[str, Values]]:
        if self._manifest.flags:
            assert scoring is not None  # else the manifest would have been refused
            from curate.scorer.flags import embed_flags, flag_values

            if self._embedded is None:
                self._embedded = embed_flags(self._manifest.flags, scoring.scorer)
            yield FLAGS, flag_values(table["clip_features"].combine_chunks(), self._embedded)
        if self._manifest.heads:
            yield HEADS, self._of_heads(table, spool)

    def _of_heads(self, table: pa.Table, spool: Spool) -> Values:
        """What the heads say of the alive rows' images (N rows each), null without an image."""
        from curate.scorer.heads import Heads

        if self._heads is None:
            self._heads = Heads(self._manifest.heads, self._count)
        places = pc.indices_nonzero(alive(table))
        rows = np.asarray(places)
        found: dict[str, list[float | None]] = {name: [] for name in self._manifest.heads}
        for first in range(0, len(rows), TAKEN):
            bodies = spool.take(rows[first : first + TAKEN]).to_pylist()
            for name, values in self._heads.values([body or None for body in bodies]).items():
                found[name] += values
        return {
            name: scatter(pa.array(values, pa.float64()), places, table.num_rows)
            for name, values in found.items()
        }


def with_values(extra: pa.Array, group: str, values: Values) -> pa.Array:
    """JSON objects (N rows, null for an empty one) with these values behind their other fields, as field `group`."""
    extra = pc.fill_null(extra, "{}")
    behind = pc.if_else(pc.equal(extra, "{}"), "", ",")
    parts = [pc.utf8_slice_codeunits(extra, 0, -1), behind]  # without the brace at its end
    for number, (name, value) in enumerate(values.items()):
        parts.append(pa.scalar(("," if number else f'"{group}":{{') + f'"{name}":'))
        parts.append(pc.fill_null(value.cast(pa.string()), "null"))
    wide = [part.cast(extra.type) for part in (*parts, pa.scalar("}}"), pa.scalar(""))]
    return pc.binary_join_element_wise(*wide)
