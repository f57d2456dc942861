"""The plan of a run: all inputs, divided into numbered units before the run starts.

A unit is a range of one input's rows (or documents, or seeds). Units are numbered in source order. A unit is retried,
resumed and written as a whole: one unit gives one shard (or none). How units are cut depends on the manifest alone,
never on the number of workers, so that the output does not depend on that number.
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

SLICE_ROWS = 2**20  # about how many rows a slice of the run has


class Unit(msgspec.Struct, frozen=True):
    """The rows `start` to `stop` (not included) of input number `input`, both from 0."""

    number: int
    input: int
    start: int
    stop: int


class Plan(msgspec.Struct, frozen=True, dict=True):
    """The inputs of a run, their rows, and how they are divided into units and slices.

    Units and slices are computed from their numbers; no list of them is ever made.
    """

    inputs: tuple[Input, ...]
    rows: tuple[int, ...]  # how many rows are taken of each input, see --limit
    unit_rows: int  # rows of a unit

    @property
    def units(self) -> int:
        """The number of units; they are numbered from 0."""
        return self._stops[-1] if self._stops else 0

    def unit(self, number: int) -> Unit:
        """Return the unit of this number.

        Raises:
            IndexError: there is no such unit.
        """
        index = self.input_of(number)
        first = self._stops[index - 1] if index else 0
        start = (number - first) * self.unit_rows
        return Unit(number, index, start, min(start + self.unit_rows, self.rows[index]))

    def input_of(self, number: int) -> int:
        """Return the number of the input that the unit of this number is a part of.

        Raises:
            IndexError: there is no such unit.
        """
        if not 0 <= number < self.units:
            raise IndexError(f"there is no unit {number} among {self.units}")
        return bisect_right(self._stops, number)

    @cached_property
    def total(self) -> int:
        """Rows of all inputs."""
        return sum(self.rows)

    def rows_to(self, number: int) -> int:
        """Return how many rows the units have together, up to and including unit `number`."""
        unit = self.unit(number)
        return self._rows_before[unit.input] + unit.stop

    @property
    def slices(self) -> int:
        """The number of slices: ranges of units with about a million rows, by which rules across the run work."""
        return -(-self.units // self.slice_units)

    def slice(self, number: int) -> range:
        """Return the numbers of the units of a slice."""
        start = number * self.slice_units
        return range(start, min(start + self.slice_units, self.units))

    @cached_property
    def _rows_before(self) -> list[int]:
        """For each input, the number of rows of all inputs before it."""
        return [0, *accumulate(self.rows)]

    @cached_property
    def _stops(self) -> list[int]:
        """For each input, the number of its last unit plus 1, ascending."""
        return list(accumulate(-(-rows // self.unit_rows) for rows in self.rows))

    @property
    def slice_units(self) -> int:
        """The number of units of a slice (the last slice may have fewer)."""
        return max(1, SLICE_ROWS // self.unit_rows)


def limit_rows(rows: Sequence[int], limit: int | None) -> tuple[int, ...]:
    """Return how many rows to take from each input, so that the first `limit` rows in source order are taken."""
    left = sum(rows) if limit is None else limit
    taken = []
    for count in rows:
        taken.append(min(count, left))
        left -= taken[-1]
    return tuple(taken)


class Retry(msgspec.Struct, frozen=True):
    """A retry takes only the rows that an earlier run with the same plan dropped for these reasons."""

    run: str  # the earlier run's folder
    reasons: tuple[str, ...]


class Run(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All that a worker must know about a run; two runs with the same identity write the same bytes."""

    manifest: Manifest
    out: str
    work: str  # a local folder for files that are made in one pass over an input
    plan: Plan
    sample: float = 1.0  # take this share of the rows
    retry: Retry | None = None
    before: int = 0  # units that were finished before inputs were added
    growth: int = 0  # how often inputs were added
    removed: str = ""  # hex SHA-256 of the folder's tombstones; empty without any
    begun: str = ""  # hex digest of what `_run/run.json` says: names this run among all
    select: bool = False  # a selection: judge only rules that need no image, and write rows of the source

    @cached_property
    def identity(self) -> str:
        """Hex SHA-256 of everything that decides what this run writes, and where."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    @property
    def scorer(self) -> ScorerSettings | None:
        """The manifest's scorer; None for a selection, which reads no images."""
        return None if self.select else self.manifest.scorer

    @property
    def models(self) -> int | None:
        """How many scorer models run on Ray; None: one for each GPU, or one for each node if there are no GPUs."""
        return None

    @property
    def per_host(self) -> int:
        """The manifest's limit on requests to one host at once."""
        return self.manifest.fetch.per_host

    def across(self, phase: str) -> Across | None:
        """Return the phase of this name of the rules across the run; None if there is nothing to judge in it."""
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
        """The phase that searches for altered copies; None if the manifest does not have its rule."""
        settings, plan = self.manifest.active_rules().get(SIMILAR), self.plan
        if settings is None or not plan.slices or self.select:
            return None
        rows = plan.total, plan.slices, plan.slice_units
        return SimilarImages(settings["max_distance"], *rows, plan.rows_to)

    @cached_property
    def judges_staged(self) -> bool:
        """Whether rules across the run must be judged after all units are staged."""
        if self.select:
            return any(self.across(phase) is not None for phase in BEFORE_IMAGES)
        return any((self.similar, *map(self.across, AFTER_IMAGES)))


def row_rules(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Return the switched-on rules that judge each row by itself, with their settings, in the manifest's order."""
    others = {*ACROSS, *caption_rules(manifest), *manifest.rules_on_models(), IN_EVALUATION, LIST_RULE}
    return {name: settings for name, settings in manifest.active_rules().items() if name not in others}
