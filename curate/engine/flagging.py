"""Compute flags and heads, the values that models give images, write them to `extra`, and judge them by rules.

It is used by the units of a run, and by `curate score` for the shards of a finished run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import filters
from curate.engine.score import TAKEN, Scoring
from curate.errors import UnitError
from curate.manifest.settings import FLAGS, HEADS, Manifest
from curate.marking import Rules, alive, details, judge, scatter
from curate.schema import set_column

if TYPE_CHECKING:
    from curate.scorer.flags import Embedded
    from curate.scorer.heads import Heads

Values = Mapping[str, pa.DoubleArray]  # name of a flag or head → its value for each row
Bodies = Callable[
    [Any], Sequence[bytes | None]
]  # row numbers → their encoded images; empty or None where there is none


class Flagging:
    """The `[flags]` and `[heads]` of one manifest; models are loaded when the first row needs them."""

    def __init__(self, manifest: Manifest, children: int) -> None:
        self._manifest, self._count = manifest, children
        self._embedded: Embedded | None = None
        self._heads: Heads | None = None

    def close(self) -> None:
        """End the heads' child processes."""
        if self._heads is not None:
            self._heads.close()

    @property
    def rules(self) -> Rules:
        """The rules that judge the values of flags and heads."""
        return self._manifest.rules_on_models()

    def lowest_is_worst(self, column: str) -> bool:
        """Return whether the rules on a flag or head (`heads.NAME`) have a `min` and none has a `max`."""
        limits = [of for of in self.rules.values() if of.get("column") == column]
        given = [{name for name in ("min", "max") if of.get(name) is not None} for of in limits]
        return any("min" in names for names in given) and not any("max" in names for names in given)

    def flag_and_judge(self, table: pa.Table, scoring: Scoring | None, bodies: Bodies) -> pa.Table:
        """Add the values of flags and heads to `extra`, and drop rows by the rules on them.

        Args:
            table: scored rows (N rows of SAMPLE).
            scoring: the scorer, which flags need.
            bodies: returns the encoded images of rows, which heads need.

        Raises: see `values`.
        """
        there, features = alive(table).combine_chunks(), table["clip_features"].combine_chunks()
        said = dict(self.values(there, features, scoring, bodies))
        table = set_column(table, "extra", with_groups(table["extra"].combine_chunks(), said))
        judged, columns = table, published(said)
        for name, of in columns.items():
            judged = judged.append_column(name, of)
        return judge(judged, self.rules, "score").drop_columns(list(columns))

    def values(
        self, alive: pa.BooleanArray, features: pa.ListArray, scoring: Scoring | None, bodies: Bodies
    ) -> Iterator[tuple[str, Values]]:
        """Yield group (FLAGS or HEADS) and its values for N rows; heads are computed only for rows that are alive.

        Args:
            alive: which rows have not been dropped (N).
            features: the CLIP features of the rows' images, null without one (N).
            scoring: the scorer, which flags need.
            bodies: returns the encoded images of rows, which heads need.

        Raises: see `Scoring.scorer` and `Heads.values`.
        """
        if self._manifest.flags:
            assert scoring is not None  # a manifest with flags and no scorer is refused
            from curate.scorer.flags import embed_flags, flag_values

            if self._embedded is None:
                self._embedded = embed_flags(self._manifest.flags, scoring.scorer)
            yield FLAGS, flag_values(features, self._embedded)
        if self._manifest.heads:
            yield HEADS, self._of_heads(alive, bodies)

    def _of_heads(self, alive: pa.BooleanArray, bodies: Bodies) -> Values:
        """Return the values of all heads for the images of alive rows (N rows each); null without an image."""
        from curate.scorer.heads import Heads

        if self._heads is None:
            self._heads = Heads(self._manifest.heads, self._count)
        places = pc.indices_nonzero(alive)
        rows = np.asarray(places)
        found: dict[str, list[float | None]] = {name: [] for name in self._manifest.heads}
        for first in range(0, len(rows), TAKEN):
            some = [body or None for body in bodies(rows[first : first + TAKEN])]
            for name, values in self._heads.values(some).items():
                found[name] += values
        return {
            name: scatter(pa.array(values, pa.float64()), places, len(alive))
            for name, values in found.items()
        }


def published(said: Mapping[str, Values]) -> dict[str, pa.DoubleArray]:
    """Return the values as columns with the names by which rules read them."""
    return {
        f"{filters.PREFIX}{group}{name}": of for group, values in said.items() for name, of in values.items()
    }


def verdicts(said: Mapping[str, Values], rules: Rules) -> tuple[pa.Array, pa.Array]:
    """Return the rule that drops each row, and the value that decided (N rows each); null for rows that stay.

    Args:
        said: group (FLAGS or HEADS) → its values (N rows each).
        rules: settings of the rules on these values, by name.
    """
    rows = pa.table(published(said))
    reason = filters.judge(rows, rules).reason
    return reason, details(rows, reason, rules)


def with_groups(extra: pa.Array, said: Mapping[str, Values]) -> pa.Array:
    """Add the values to JSON objects (N rows), each group as a field of its name; null counts as an empty object.

    Raises:
        UnitError: a row has a field of that name from its source.
    """
    for group, values in said.items():
        extra = with_values(extra, group.rstrip("."), values)
    return extra


def with_values(extra: pa.Array, group: str, values: Values) -> pa.Array:
    """Add the values to JSON objects (N rows) as the field `group`, behind the others; null counts as an empty object.

    If a row has the field already, the values in it that are not replaced stay.

    Raises:
        UnitError: a row has a field of that name from its source.
    """
    extra = pc.fill_null(extra, "{}")
    if pc.any(pc.match_substring(extra, f'"{group}":'), min_count=0).as_py():
        return _merged(extra, group, values)
    behind = pc.if_else(pc.equal(extra, "{}"), "", ",")
    parts = [pc.utf8_slice_codeunits(extra, 0, -1), behind]  # without the brace at its end
    for number, (name, value) in enumerate(values.items()):
        parts.append(pa.scalar(("," if number else f'"{group}":{{') + f'"{name}":'))
        parts.append(pc.fill_null(value.cast(pa.string()), "null"))
    wide = [part.cast(extra.type) for part in (*parts, pa.scalar("}}"), pa.scalar(""))]
    return pc.binary_join_element_wise(*wide)


def _merged(extra: pa.Array, group: str, values: Values) -> pa.Array:
    """Do what `with_values` does row by row, for objects that may have the field already."""
    rows = []
    for at, text in enumerate(extra.to_pylist()):
        fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        try:
            had = msgspec.json.decode(fields.get(group, b"{}"), type=dict[str, float | None])
        except msgspec.ValidationError:
            raise UnitError(
                f"`extra` has a field {group!r} of its source: flags and heads cannot be kept there"
            ) from None
        said = had | {name: of[at].as_py() for name, of in values.items()}
        fields[group] = msgspec.Raw(msgspec.json.encode(said))
        rows.append(str(msgspec.json.encode(fields), "utf-8"))
    return pa.array(rows, extra.type)
