"""Which samples share a sequence: lengths in, bins out. Images are not looked at, only (index, length).

Both methods work on a histogram of lengths, so that equal lengths are placed together: a pattern of lengths
is chosen once and used as often as there are samples for it. Proportional fit takes the length nearest to
space left ÷ slots left, and the longest that fits for the last slot; where an image fills an eighth of a
sequence, this reaches the optimum of the cutting-stock relaxation, which best-fit-decreasing misses. Long
texts want the latter.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

SHORT = 2048  # tokens of a sequence up to which both methods are tried
GOOD = 0.002  # of all sequences empty: well within 0.3 points of the floor


def fit(lengths: Ints, capacity: int) -> Ints:
    """The bin of each sample (N, from 0), no bin longer than `capacity`: the better of the two methods.

    Lengths are from 1 to `capacity`. Of long sequences proportional fit is only tried where best-fit-decreasing leaves
    more than two thousandths of them empty: with the many lengths that there are then it takes twice as long.
    """
    if not len(lengths):
        return np.zeros(0, np.int64)
    other = best_fit_decreasing(lengths, capacity)
    if capacity > SHORT and lengths.sum() > (1 - GOOD) * capacity * other.max():
        return other
    one = proportional(lengths, capacity)
    return one if one.max() <= other.max() else other


def proportional(lengths: Ints, capacity: int) -> Ints:
    """The bin of each sample by proportional fit."""
    counts: list[int] = np.bincount(lengths, minlength=capacity + 1).tolist()
    known = [length for length, count in enumerate(counts) if count]
    order, taken = np.argsort(lengths, kind="stable"), np.cumsum([0, *counts])[:-1]
    bins = np.empty(len(lengths), np.int64)
    left, total, number = len(lengths), int(lengths.sum()), 0
    while left:
        pattern = _pattern(known, counts, capacity, max(1, capacity * left // total))
        times = min(counts[length] // uses for length, uses in pattern.items())
        fresh = np.arange(number, number + times)
        for length, uses in pattern.items():
            samples = order[taken[length] : taken[length] + times * uses]
            bins[samples] = np.tile(fresh, uses)
            taken[length] += times * uses
            counts[length] -= times * uses
            left, total = left - times * uses, total - times * uses * length
            if not counts[length]:
                known.remove(length)
        number += times
    return bins


def _pattern(known: list[int], counts: list[int], capacity: int, slots: int) -> dict[int, int]:
    """Lengths that fill a bin of about `slots` samples, and how often each is used (at least one)."""
    used: dict[int, int] = {}
    space = capacity
    while (length := _choose(known, counts, used, space, slots)) is not None:
        used[length] = used.get(length, 0) + 1
        space, slots = space - length, max(1, slots - 1)
    return used


def _choose(known: list[int], counts: list[int], used: dict[int, int], space: int, slots: int) -> int | None:
    """The length nearest to an equal share of the space (the longest that fits in the last slot), or None."""
    fits = bisect_right(known, space)
    above = bisect_left(known, space / slots, 0, fits)
    below = above - 1
    while below >= 0 or above < fits:
        up = below < 0 or (above < fits and known[above] * slots - space < space - known[below] * slots)
        length = known[above if up else below]
        if counts[length] > used.get(length, 0):
            return length
        above, below = (above + 1, below) if up else (above, below - 1)
    return None


def best_fit_decreasing(lengths: Ints, capacity: int) -> Ints:
    """The bin of each sample, longest first, each into the fullest bin that still holds it."""
    known, counts = np.unique(lengths, return_counts=True)
    open_bins: dict[int, list[range]] = {}  # by space left
    spaces: list[int] = []  # those that have bins, ascending
    number = 0
    steps: list[tuple[int, int, int]] = []  # first bin, samples that a bin takes, samples
    for length, waiting in zip(known[::-1].tolist(), counts[::-1].tolist(), strict=True):
        while waiting:
            place = bisect_left(spaces, length)
            space = spaces[place] if place < len(spaces) else capacity
            each = space // length  # samples that a bin takes before it is another's turn
            wanted = -(-waiting // each)
            if place < len(spaces):
                some = _taken(open_bins, spaces, place, wanted)
            else:
                some = range(number, number + wanted)
                number += wanted
            placed = min(waiting, len(some) * each)
            steps.append((some.start, each, placed))
            waiting -= placed
            full, partly = divmod(placed, each)
            for those, left in ((some[:full], space - each * length), (some[full:], space - partly * length)):
                if those and left:
                    if left not in open_bins:
                        open_bins[left] = []
                        insort(spaces, left)
                    open_bins[left].append(those)
    return _spread(steps, np.argsort(-lengths, kind="stable"))


def _taken(open_bins: dict[int, list[range]], spaces: list[int], place: int, wanted: int) -> range:
    """At most so many bins of the space at `place`, taken out."""
    space = spaces[place]
    some = open_bins[space].pop()
    if len(some) > wanted:
        open_bins[space].append(some[wanted:])
    elif not open_bins[space]:
        del open_bins[space]
        spaces.pop(place)
    return some[:wanted]


def _spread(steps: list[tuple[int, int, int]], order: Ints) -> Ints:
    """The bin of each sample, from the steps that placed them in that order."""
    first, each, placed = np.array(steps, np.int64).reshape(-1, 3).T
    step = np.repeat(np.arange(len(placed)), placed)
    within_step = np.arange(len(order)) - (np.cumsum(placed) - placed)[step]
    bins = np.empty(len(order), np.int64)
    bins[order] = first[step] + within_step // each[step]
    return bins


def within(bins: Ints, lengths: Ints, capacity: int, amounts: Ints, most: int) -> Ints:
    """The bins with at most `most` of a second amount (N) each; a sample with more than that stands alone.

    Samples leave a bin from its last on, and those that left are fitted anew among themselves.
    """
    bins, number = bins.copy(), int(bins.max(initial=-1)) + 1
    moving = np.arange(len(bins))
    while True:
        order = moving[np.argsort(bins[moving], kind="stable")]
        ends = np.cumsum(amounts[order])
        first = (
            np.concatenate([[True], bins[order][1:] != bins[order][:-1]]) if len(order) else np.zeros(0, bool)
        )
        at = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
        moving = order[(ends - (ends - amounts[order])[at] > most) & ~first]
        if not len(moving):
            return np.unique(bins, return_inverse=True)[1].astype(np.int64)
        bins[moving] = number + fit(lengths[moving], capacity)
        number = int(bins.max()) + 1
