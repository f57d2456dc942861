"""Units of work: what a run does, cut into numbered pieces before anything starts.

A unit is a range of one input's rows (or documents, or seeds). Units are numbered in source order; a unit is
what is retried, resumed and written: one unit, one shard (or none). Units are cut by the manifest alone,
never by the number of workers, so that the output does not depend on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from curate.adapters.grit import caption_rules
from curate.engine.across import ACROSS, Across, partitions_for, rules_of
from curate.manifest.settings import Manifest
from curate.sources import Input

SLICE_ROWS = 2**20


class Unit(msgspec.Struct, frozen=True):
    """The rows `start` to `stop` of input number `input`."""

    number: int
    input: int
    start: int
    stop: int


class Plan(msgspec.Struct, frozen=True):
    """Everything a run will do: its inputs, their rows, and how they are cut."""

    inputs: tuple[Input, ...]
    rows: tuple[int, ...]  # of each input, cut off at --limit
    unit_rows: int

    def units(self) -> list[Unit]:
        """All units, in source order."""
        units: list[Unit] = []
        for index, rows in enumerate(self.rows):
            for start in range(0, rows, self.unit_rows):
                units.append(Unit(len(units), index, start, min(start + self.unit_rows, rows)))
        return units

    def total(self) -> int:
        """Rows of all inputs."""
        return sum(self.rows)

    def slices(self) -> list[list[Unit]]:
        """Units grouped by about a million rows: the grain of rules that look across the whole run."""
        units, size = self.units(), self.slice_units()
        return [units[start : start + size] for start in range(0, len(units), size)]

    def slice_units(self) -> int:
        """How many units a slice holds (the last may hold fewer)."""
        return max(1, SLICE_ROWS // self.unit_rows)


def limit_rows(rows: Sequence[int], limit: int | None) -> tuple[int, ...]:
    """Rows to take of each input so that the first `limit` rows in source order are taken."""
    left = sum(rows) if limit is None else limit
    taken = []
    for count in rows:
        taken.append(min(count, left))
        left -= taken[-1]
    return tuple(taken)


class Retry(msgspec.Struct, frozen=True):
    """Only the rows that an earlier run of the same plan dropped for these reasons."""

    run: str  # its folder
    reasons: tuple[str, ...]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """All that a worker must know; two runs with the same identity write the same bytes."""

    manifest: Manifest
    out: str
    work: str  # a local folder for what is learnt of the inputs in one pass over them
    plan: Plan
    sample: float = 1.0
    retry: Retry | None = None

    def identity(self) -> str:
        """Hex SHA-256 of everything that decides what this run writes, and where."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def across(self, phase: str) -> Across | None:
        """The rules across rows of one phase, or None when there is nothing to judge."""
        rules = rules_of(phase, self.manifest.active_rules())
        slices = len(self.plan.slices())
        if not rules or not slices:
            return None
        return Across(phase, rules, partitions_for(self.plan.total()), slices)

    def judges_staged(self) -> bool:
        """Whether rules across the run are to be judged once all units are staged."""
        return self.across("bytes") is not None or self.across("near") is not None


def row_rules(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The switched-on rules that judge a row by itself, in order."""
    others = {*ACROSS, *caption_rules(manifest)}
    return {name: settings for name, settings in manifest.active_rules().items() if name not in others}
