"""What each rule says of each row of a sample, by itself: cleaners run first, and no row is passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import filters
from curate.manifest.settings import Manifest
from curate.marking import SIZE, alive, clean

Bools = npt.NDArray[np.bool_]
RuleSettings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Verdicts:
    """N rows of a sample: whether each could be read at all, and which of the rules would drop it."""

    table: pa.Table  # the rows, clean
    readable: Bools  # (N)
    falls: Mapping[str, Bools]  # by rule (N each); false for what cannot be read
    lacks: Mapping[str, Bools]  # those of them that fall as they have no value

    def kept(self, without: frozenset[str] | set[str] = frozenset()) -> Bools:
        """Which rows all the rules keep, but for those `without` which it is asked (N)."""
        kept = self.readable.copy()
        for name, falls in self.falls.items():
            if name not in without:
                kept &= ~falls
        return kept

    def in_order(self, name: str) -> Bools:
        """Which rows fall to a rule, and to none before it (N)."""
        before = list(self.falls)[: list(self.falls).index(name)]
        fell = self.falls[name].copy()
        for other in before:
            fell &= ~self.falls[other]
        return fell

    def only(self, name: str) -> Bools:
        """Which rows fall to a rule, and to no other (N)."""
        return self.falls[name] & self.kept({name})


def judge_each(samples: pa.Table, manifest: Manifest, rules: RuleSettings) -> Verdicts:
    """The verdict of each of `rules` on each of the samples (N rows), in the order in which a run judges them."""
    readable = alive(samples).combine_chunks().to_numpy(zero_copy_only=False)
    table = clean(samples, manifest)
    falls, lacks = {}, {}
    for name in rules:
        fell, lacking = fallen(table, name, rules[name])
        falls[name], lacks[name] = fell & readable, lacking & readable
    return Verdicts(table, readable, falls, lacks)


def fallen(table: pa.Table, name: str, settings: Mapping[str, Any]) -> tuple[Bools, Bools]:
    """Which of N rows a rule drops, and which of these as they have no value; sizes may yet come."""
    rule = filters.find_rule(name, settings)
    answer = rule.keep(table, **settings)
    unjudged = pc.is_null(answer).to_numpy(zero_copy_only=False)
    lacking = np.zeros(table.num_rows, np.bool_)
    for column in rule.columns:
        if column not in SIZE:
            lacking |= pc.is_null(table[column]).to_numpy()
    lacking &= unjudged
    refused: Bools = pc.invert(answer).fill_null(False).to_numpy(zero_copy_only=False)
    return refused | lacking, lacking
