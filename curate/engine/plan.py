"""Units of work: what a run does, cut into numbered pieces before anything starts.

A unit is a range of one input's rows (or documents, or seeds). Units are numbered in source order; a unit is
what is retried, resumed and written: one unit, one shard (or none). Units are cut by the manifest alone,
never by the number of workers, so that the output does not depend on it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import msgspec

from curate.adapters.grit import caption_rules
from curate.engine.across import ACROSS, AFTER_IMAGES, BEFORE_IMAGES, PHASES, Across, partitions_for, rules_of
from curate.engine.similar import RULE as SIMILAR
from curate.engine.similar import SimilarImages
from curate.images.evaluation import IMAGE_RULE as IN_EVALUATION
from curate.manifest.pinning import LIST_RULE
from curate.manifest.settings import Manifest, ScorerSettings
from curate.sources import Input

SLICE_ROWS = 2**20


class Unit(msgspec.Struct, frozen=True):
    """The rows `start` to `stop` of input number `input`."""

    number: int
    input: int
    start: int
    stop: int


class Plan(msgspec.Struct, frozen=True, dict=True):
    """Everything a run will do: its inputs, their rows, and how they are cut.

    Units and slices are arithmetic: no list of them is ever made.
    """

    inputs: tuple[Input, ...]
    rows: tuple[int, ...]  # of each input, cut off at --limit
    unit_rows: int

    @property
    def units(self) -> int:
        """How many units there are; they are numbered from 0."""
        return self._stops[-1] if self._stops else 0

    def unit(self, number: int) -> Unit:
        """The unit of that number."""
        index = self.input_of(number)
        first = self._stops[index - 1] if index else 0
        start = (number - first) * self.unit_rows
        return Unit(number, index, start, min(start + self.unit_rows, self.rows[index]))

    def input_of(self, number: int) -> int:
        """Which input the unit of that number is a part of."""
        if not 0 <= number < self.units:
            raise IndexError(f"there is no unit {number} among {self.units}")
        return bisect_right(self._stops, number)

    @cached_property
    def total(self) -> int:
        """Rows of all inputs."""
        return sum(self.rows)

    def rows_to(self, number: int) -> int:
        """How many rows the units up to and with that one hold."""
        unit = self.unit(number)
        return self._rows_before[unit.input] + unit.stop

    @property
    def slices(self) -> int:
        """How many slices there are: units by about a million rows, the grain of rules across the run."""
        return -(-self.units // self.slice_units)

    def slice(self, number: int) -> range:
        """The units of a slice."""
        start = number * self.slice_units
        return range(start, min(start + self.slice_units, self.units))

    @cached_property
    def _rows_before(self) -> list[int]:
        """Of each input how many rows the inputs before it hold."""
        return [0, *accumulate(self.rows)]

    @cached_property
    def _stops(self) -> list[int]:
        """Of each input the number behind its last unit's, ascending."""
        return list(accumulate(-(-rows // self.unit_rows) for rows in self.rows))

    @property
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


class Run(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All that a worker must know; two runs with the same identity write the same bytes."""

    manifest: Manifest
    out: str
    work: str  # a local folder for what is learnt of the inputs in one pass over them
    plan: Plan
    sample: float = 1.0
    retry: Retry | None = None
    before: int = 0  # units that were finished before inputs were added
    growth: int = 0  # how often inputs were added
    removed: str = ""  # hex SHA-256 of the folder's tombstones; empty without any
    select: bool = False  # keep rows of the source, by what needs no image, and nothing else

    @cached_property
    def identity(self) -> str:
        """Hex SHA-256 of everything that decides what this run writes, and where."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    @property
    def scorer(self) -> ScorerSettings | None:
        """The manifest's; a selection looks at no image."""
        return None if self.select else self.manifest.scorer

    @property
    def models(self) -> int | None:
        """None: on Ray, one a GPU, or one a node without GPUs."""
        return None

    @property
    def per_host(self) -> int:
        """The manifest's limit of requests to one host."""
        return self.manifest.fetch.per_host

    def across(self, phase: str) -> Across | None:
        """The rules across rows of one phase, or None when there is nothing to judge."""
        return self._phases[phase]

    @cached_property
    def _phases(self) -> dict[str, Across | None]:
        active, slices = self.manifest.active_rules(), self.plan.slices
        partitions = partitions_for(self.plan.total)
        phases: dict[str, Across | None] = {}
        for phase in PHASES:
            rules = {} if self.select and phase not in BEFORE_IMAGES else rules_of(phase, active)
            judged = Across(phase, rules, partitions, slices, self.before)
            phases[phase] = judged if rules and slices else None
        return phases

    @cached_property
    def similar(self) -> SimilarImages | None:
        """The search for altered copies, or None where no rule asks for it."""
        settings, plan = self.manifest.active_rules().get(SIMILAR), self.plan
        if settings is None or not plan.slices or self.select:
            return None
        rows = plan.total, plan.slices, plan.slice_units
        return SimilarImages(settings["max_distance"], *rows, plan.rows_to)

    @cached_property
    def judges_staged(self) -> bool:
        """Whether rules across the run are to be judged once all units are staged."""
        if self.select:
            return any(self.across(phase) is not None for phase in BEFORE_IMAGES)
        return any((self.similar, *map(self.across, AFTER_IMAGES)))


def row_rules(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The switched-on rules that judge a row by itself, in order."""
    others = {*ACROSS, *caption_rules(manifest), *manifest.rules_on_models(), IN_EVALUATION, LIST_RULE}
    return {name: settings for name, settings in manifest.active_rules().items() if name not in others}
