"""Find the threshold that keeps a given share of the rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.calibrating.thresholds import MOST_DIGITS, RuleThreshold
from curate.calibrating.verdicts import Bools, Verdicts
from curate.errors import InputError

CLOSE = 0.005  # largest difference between the kept share and the one asked for
ROUND = 0.0002  # share of the rows by which rounding a threshold may change what it keeps

Floats = npt.NDArray[np.float64]
Keep = Callable[[Bools], float]  # rows that all rules on single rows keep → the share left after all rules


@dataclass(frozen=True)
class Solved:
    """A threshold that was found."""

    threshold: RuleThreshold
    value: float
    asked: float  # the share that was asked for
    keep: float  # the share that the value keeps


@dataclass(frozen=True)
class Levers:
    """What one threshold decides, for N rows."""

    threshold: RuleThreshold
    values: Floats  # each row's value, which is compared with the threshold (N); NaN without one
    others: Bools  # rows that all other rules and settings keep (N)
    always: Bools  # rows that this rule keeps at any threshold, as they have no value (N)

    def kept(self, value: float) -> Bools:
        """Return the rows that are kept if the threshold is `value` (N)."""
        return self.others & (self.always | self.threshold.kept(self.values, value))


def levers(verdicts: Verdicts, threshold: RuleThreshold, without: set[str], beyond: Bools) -> Levers:
    """Return what a threshold decides.

    Args:
        verdicts: what each rule says of the N rows.
        threshold: the threshold.
        without: rules that are not applied.
        beyond: rows that the other settings of the threshold's rule drop (N).
    """
    values = threshold.of(verdicts.table)
    others = verdicts.kept({*without, threshold.rule}) & ~beyond
    unvalued = np.isnan(values)
    falls = verdicts.falls.get(threshold.rule, np.zeros(len(values), np.bool_))
    return Levers(threshold, values, others, unvalued & ~falls)


def solve(of: Levers, asked: float, keep: Keep) -> Solved:
    """Find the threshold whose kept share is nearest to the share `asked` for.

    Args:
        of: what the threshold decides.
        asked: the share to keep, 0 to 1.
        keep: computes the share that is left of the rows that the rules on single rows keep.

    Raises:
        InputError: the nearest share differs by more than half a percentage point (in a small sample, by more than one
            row): the other rules leave less, or many rows have the same value.
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
    ):  # in a small sample, one row is more than half a percentage point
        raise InputError(_unreachable(of, steps, at, asked, keep))
    return Solved(of.threshold, value, asked, found)


def _nearest(share: Callable[[int], float], steps: int, asked: float) -> int:
    """Return the step whose share is nearest to `asked`, by bisection; shares rise from step to step."""
    low, high = 0, steps - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if share(middle) >= asked else (middle + 1, high)
    if low and asked - share(low - 1) < abs(share(low) - asked):
        return low - 1
    return low


def _short(of: Levers, steps: Floats, at: int, asked: float, keep: Keep) -> float:
    """Return a threshold with few decimals that keeps about the same share as `steps[at]`."""
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
    """Return a message that says, with figures, why a share cannot be reached."""
    name, most = of.threshold.name, keep(of.others & (of.always | ~np.isnan(of.values)))
    if asked > most:
        return f"{name} cannot keep {asked:.2%}: the other rules, and rows without a value, leave {most:.2%}"
    near = [n for n in (at - 1, at, at + 1) if 0 <= n < len(steps)]
    told = ", ".join(f"{steps[n]:g} keeps {keep(of.kept(steps[n])):.2%}" for n in near)
    return f"{name} cannot keep {asked:.2%}, as many rows have the same value: {told}"
