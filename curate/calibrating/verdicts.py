"""Judge each row of a sample by each rule alone: cleaners run first, and no rule skips a row that another drops."""

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
    """What each rule says of the N rows of a sample."""

    table: pa.Table  # the rows, with clean texts
    readable: Bools  # whether a row could be read (N)
    falls: Mapping[str, Bools]  # rule → the rows that it drops (N each); false for unreadable rows
    lacks: Mapping[str, Bools]  # rule → those of them that it drops because a value is missing (N each)

    def kept(self, without: frozenset[str] | set[str] = frozenset()) -> Bools:
        """Return which rows all rules keep, not counting the rules in `without` (N)."""
        kept = self.readable.copy()
        for name, falls in self.falls.items():
            if name not in without:
                kept &= ~falls
        return kept

    def in_order(self, name: str) -> Bools:
        """Return which rows the rule `name` drops and no rule before it (N)."""
        before = list(self.falls)[: list(self.falls).index(name)]
        fell = self.falls[name].copy()
        for other in before:
            fell &= ~self.falls[other]
        return fell

    def only(self, name: str) -> Bools:
        """Return which rows the rule `name` drops and no other rule (N)."""
        return self.falls[name] & self.kept({name})


def judge_each(samples: pa.Table, manifest: Manifest, rules: RuleSettings) -> Verdicts:
    """Judge each of the samples (N rows) by each of the rules.

    Args:
        samples: SAMPLE's columns, and those of the source that rules read.
        manifest: names the cleaners.
        rules: settings by the rule's name, in the order in which a run judges them.
    """
    readable = alive(samples).combine_chunks().to_numpy(zero_copy_only=False)
    table = clean(samples, manifest)
    falls, lacks = {}, {}
    for name in rules:
        fell, lacking = fallen(table, name, rules[name])
        falls[name], lacks[name] = fell & readable, lacking & readable
    return Verdicts(table, readable, falls, lacks)


def fallen(table: pa.Table, name: str, settings: Mapping[str, Any]) -> tuple[Bools, Bools]:
    """Return which of N rows a rule drops, and which of them because a value is missing (N each).

    A missing width or height does not count: a run gets it when the image is decoded.

    Args:
        table: the rows, with clean texts.
        name: the rule.
        settings: the rule's settings.
    """
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
