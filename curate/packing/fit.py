"""Decides which samples share a sequence (a bin), from the samples' lengths alone.

Both methods work on a histogram of lengths, so that equal lengths are placed together: a pattern of lengths is chosen
once and used as often as there are samples for it. Proportional fit takes the length nearest to space left ÷ slots
left, and the longest that fits for the last slot. If an image fills an eighth of a sequence, it reaches the optimum of
the cutting-stock relaxation, which best-fit-decreasing misses. For long texts best-fit-decreasing is better.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

SHORT = 2048  # tokens: for sequences up to this length both methods are always tried
GOOD = 0.002  # if at most this share of all sequences is empty, the other method is not tried for longer ones


def fit(lengths: Ints, capacity: int) -> Ints:
    """Return the bin of each sample (N, from 0) by the better of the two methods; no bin is longer than `capacity`.

    Lengths are from 1 to `capacity`. If that is above SHORT, proportional fit is only tried if best-fit-decreasing
    leaves more than two thousandths (GOOD) empty: with the many different lengths of long samples it takes twice as
    long.
    """
    if not len(lengths):
        return np.zeros(0, np.int64)
    other = best_fit_decreasing(lengths, capacity)
    if capacity > SHORT and lengths.sum() > (1 - GOOD) * capacity * other.max():
        return other
    one = proportional(lengths, capacity)
    return one if one.max() <= other.max() else other


def proportional(lengths: Ints, capacity: int) -> Ints:
    """Return the bin of each sample (N) by proportional fit."""
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
    """Return the lengths that fill a bin of about `slots` samples: length -> how often it is used (from 1)."""
    used: dict[int, int] = {}
    space = capacity
    while (length := _choose(known, counts, used, space, slots)) is not None:
        used[length] = used.get(length, 0) + 1
        space, slots = space - length, max(1, slots - 1)
    return used


def _choose(known: list[int], counts: list[int], used: dict[int, int], space: int, slots: int) -> int | None:
    """Return the length nearest to an equal share of the space, or the longest that fits if one slot is left.

    None if no length fits.
    """
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
    """Return the bin of each sample (N): the longest first, each into the fullest bin that has room for it."""
    known, counts = np.unique(lengths, return_counts=True)
    open_bins: dict[int, list[range]] = {}  # by space left
    spaces: list[int] = []  # those that have bins, ascending
    number = 0
    steps: list[tuple[int, int, int]] = []  # first bin, samples that a bin takes, samples
    for length, waiting in zip(known[::-1].tolist(), counts[::-1].tolist(), strict=True):
        while waiting:
            place = bisect_left(spaces, length)
            space = spaces[place] if place < len(spaces) else capacity
            each = space // length  # samples of this length that a bin takes
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
    """Take at most `wanted` bins with the free space `spaces[place]` out of the open bins, and return them."""
    space = spaces[place]
    some = open_bins[space].pop()
    if len(some) > wanted:
        open_bins[space].append(some[wanted:])
    elif not open_bins[space]:
        del open_bins[space]
        spaces.pop(place)
    return some[:wanted]


def _spread(steps: list[tuple[int, int, int]], order: Ints) -> Ints:
    """Return the bin of each sample (N), from the steps that placed the samples in the given order."""
    first, each, placed = np.array(steps, np.int64).reshape(-1, 3).T
    step = np.repeat(np.arange(len(placed)), placed)
    within_step = np.arange(len(order)) - (np.cumsum(placed) - placed)[step]
    bins = np.empty(len(order), np.int64)
    bins[order] = first[step] + within_step // each[step]
    return bins


def within(bins: Ints, lengths: Ints, capacity: int, amounts: Ints, most: int) -> Ints:
    """Change the bins so that none has more than `most` of a second amount; a sample with more is alone in its bin.

    The last samples of a bin with too much leave it, and the samples that left are fitted into new bins.

    Args:
        bins: the bin of each sample (N).
        lengths: the length of each sample (N).
        capacity: the most length of a bin.
        amounts: the second amount of each sample (N), such as its images.
        most: the most of the second amount in a bin.
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
