"""Judging a table by several rules in order: the first that fails gives the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.column import find_rule
from filters.rule import one_array

COMPACT_BELOW = 0.5  # below this share of rows that are alive, copying them costs less than judging all


@dataclass(frozen=True)
class Judgement:
    """What the rules said of N rows."""

    reason: pa.StringArray  # the first rule that failed; null where none did
    unjudged: Mapping[str, pa.BooleanArray]  # by rule: alive rows whose values for it are null


def judge(table: pa.Table, rules: Mapping[str, Mapping[str, Any]]) -> Judgement:
    """Judge each row by `rules` (name to settings) in their order; a rule sees a row only while it is alive.

    Raises: KeyError for a rule that does not exist, or a column that the table lacks.
    """
    codes = np.full(table.num_rows, -1, dtype=np.int8)
    rows = np.arange(table.num_rows)
    nulls: dict[str, npt.NDArray[np.bool_]] = {}
    living = _needed(table, rules)
    alive = np.ones(table.num_rows, dtype=bool)  # of the rows
    for code, (name, settings) in enumerate(rules.items()):
        if np.count_nonzero(alive) < COMPACT_BELOW * len(rows):
            rows, living = rows[alive], living.filter(pa.array(alive))
            alive = np.ones(len(rows), dtype=bool)
        keep = find_rule(name, settings).keep(living, **settings)
        fails = pc.fill_null(pc.invert(keep), False).to_numpy(zero_copy_only=False)
        codes[rows[fails & alive]] = code
        alive &= ~fails
        if keep.null_count:
            nulls[name] = np.zeros(table.num_rows, dtype=bool)
            nulls[name][rows] = pc.is_null(keep).to_numpy(zero_copy_only=False)
    reason = pa.array(list(rules), pa.string()).take(pa.array(codes, mask=codes < 0))
    unjudged = {name: mask & (codes < 0) for name, mask in nulls.items()}
    return Judgement(reason, {name: pa.array(mask) for name, mask in unjudged.items() if mask.any()})


def _needed(table: pa.Table, rules: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """The columns that the rules read, each in one piece."""
    names = dict.fromkeys(column for name, of in rules.items() for column in find_rule(name, of).columns)
    return pa.table({name: one_array(table[name]) for name in names})
