"""Finding the threshold that keeps a share of the rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.calibrating.thresholds import MOST_DIGITS, RuleThreshold
from curate.calibrating.verdicts import Bools, Verdicts
from curate.errors import InputError

CLOSE = 0.005  # a share that is off by more than this was not reached
ROUND = 0.0002  # of the rows, that a threshold of fewer digits may keep more or fewer

Floats = npt.NDArray[np.float64]
Keep = Callable[[Bools], float]  # rows that all rules on single rows keep → the share that is left in the end


@dataclass(frozen=True)
class Solved:
    """A threshold, the share that was asked for, and the one that it keeps."""

    threshold: RuleThreshold
    value: float
    asked: float
    keep: float


@dataclass(frozen=True)
class Levers:
    """The rows that one threshold decides about: `others` are kept by all else (N), `always` by it too, whatever it is.

    `values` are what it is held against (N).
    """

    threshold: RuleThreshold
    values: Floats
    others: Bools
    always: Bools

    def kept(self, value: float) -> Bools:
        """The rows that are kept at that threshold (N)."""
        return self.others & (self.always | self.threshold.kept(self.values, value))


def levers(verdicts: Verdicts, threshold: RuleThreshold, without: set[str], beyond: Bools) -> Levers:
    """What a threshold decides; rules in `without` are not judged, `beyond` fall to its rule's other settings (N)."""
    values = threshold.of(verdicts.table)
    others = verdicts.kept({*without, threshold.rule}) & ~beyond
    unvalued = np.isnan(values)
    falls = verdicts.falls.get(threshold.rule, np.zeros(len(values), np.bool_))
    return Levers(threshold, values, others, unvalued & ~falls)


def solve(of: Levers, asked: float, keep: Keep) -> Solved:
    """The threshold at which the share that is kept is nearest to the one asked for.

    Raises:
        InputError: none is within half a point, or a row: the other rules leave less, or many rows have one value.
    """
    steps = np.unique(of.values[of.others & ~np.isnan(of.values)])
    steps = steps if of.threshold.keeps == "up to" else steps[::-1]  # from the strictest to the mildest
    if not len(steps):
        raise InputError(f"{of.threshold.name}: no row that the other rules keep has a value for it")
    at = _nearest(lambda step: keep(of.kept(steps[step])), len(steps), asked)
    value = _short(of, steps, at, asked, keep)
    found = keep(of.kept(value))
    if abs(found - asked) > max(
        CLOSE, 1 / len(of.values)
    ):  # a row of a small sample is more than half a point
        raise InputError(_unreachable(of, steps, at, asked, keep))
    return Solved(of.threshold, value, asked, found)


def _nearest(share: Callable[[int], float], steps: int, asked: float) -> int:
    """The step whose share is nearest, of shares that rise from step to step."""
    low, high = 0, steps - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if share(middle) >= asked else (middle + 1, high)
    if low and asked - share(low - 1) < abs(share(low) - asked):
        return low - 1
    return low


def _short(of: Levers, steps: Floats, at: int, asked: float, keep: Keep) -> float:
    """A threshold of few digits that keeps about what `steps[at]` keeps."""
    value = float(steps[at])
    if of.threshold.whole:
        return float(round(value))
    best = abs(keep(of.kept(value)) - asked)
    worse = float(steps[at + 1]) if at + 1 < len(steps) else math.inf
    worse = -worse if of.threshold.keeps == "from" and math.isinf(worse) else worse
    for digits in range(1, MOST_DIGITS):
        for found in (round(value, digits), of.threshold.between(worse, value, digits)):
            if found is not None and abs(keep(of.kept(found)) - asked) <= best + ROUND:
                return found
    return value


def _unreachable(of: Levers, steps: Floats, at: int, asked: float, keep: Keep) -> str:
    """Why a share cannot be reached, with the figures."""
    name, most = of.threshold.name, keep(of.others & (of.always | ~np.isnan(of.values)))
    if asked > most:
        return f"{name} cannot keep {asked:.2%}: the other rules, and rows without a value, leave {most:.2%}"
    near = [n for n in (at - 1, at, at + 1) if 0 <= n < len(steps)]
    told = ", ".join(f"{steps[n]:g} keeps {keep(of.kept(steps[n])):.2%}" for n in near)
    return f"{name} cannot keep {asked:.2%}, as many rows have the same value: {told}"
