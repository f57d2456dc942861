"""Long and crowded pages cut into bands, from the top, each an image of its own: no line and no picture is cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from renderers.pdf.frames import Box, View
from renderers.pdf.line import Line

LONG = 2.0  # times as high as wide is a long page, at least
BAND = 2**0.5  # times as high as wide is a band, at most: a sheet of paper
LAST_SHARE = 0.4  # of a band: the widest white space there is where it ends
MOST = 100  # bands of a page
THIN = 0.26  # of its width is the least height of a band, where that is to be had: 400 px of 1,600
THIN_COST = 10  # more bands that are as bad as a thin one


def bands_of(page: Box, lines: Sequence[Line], pictures: Sequence[Box]) -> list[Box]:
    """The bands of a page that is long, in points; none where it is not, or nowhere white enough.

    `lines` and `pictures` are what stays whole; a picture higher than half a band may be cut.
    """
    x0, top, x1, bottom = page
    height = BAND * (x1 - x0)
    if bottom - top < LONG * (x1 - x0) or bottom - top > MOST * height / 2:
        return []
    whole = [box for box in pictures if box[3] - box[1] < height / 2]
    gaps = white_gaps([*extents(lines), *((box[1], box[3]) for box in whole)])
    out: list[Box] = []
    while bottom - top > height:
        gap = last_gap(gaps, top + (1 - LAST_SHARE) * height, top + height) or last_gap(
            gaps, top, top + height
        )
        if gap is None:
            return []
        out.append((x0, top, x1, gap))
        top = gap
    return [*out, (x0, top, x1, bottom)]


def bands_by_length(
    page: Box, lines: Sequence[Line], lengths: Sequence[int], pictures: Sequence[Box], most: int
) -> list[Box]:
    """The bands, in points, of a page whose lines come to more than `most` in all, each to at most so much.

    None where they do not, or where no white band is to cut at. `lengths` are the lines', `lines` and `pictures` what
    stays whole; a picture higher than half the page may be cut.
    """
    x0, top, x1, bottom = page
    if not most or sum(lengths) <= most or sum(lengths) > MOST * most:
        return []
    reach = extents(lines)
    whole = [box for box in pictures if box[3] - box[1] < (bottom - top) / 2]
    gaps = white_gaps([*reach, *((box[1], box[3]) for box in whole)])[1:-1]
    cuts = np.array([top, *((low + high) / 2 for low, high in gaps), bottom])
    middles, sizes = np.array([(low + high) / 2 for low, high in reach]), np.array(lengths)
    passed = np.array([0, *(sizes[middles < cut].sum() for cut in cuts[1:-1]), sizes.sum()])
    best, before = np.full(len(cuts), np.inf), np.zeros(len(cuts), np.int64)
    best[0] = 0.0
    for end in range(1, len(cuts)):  # the best way to cut what is above each place
        held = passed[end] - passed[:end]
        thin = cuts[end] - cuts[:end] < THIN * (x1 - x0)
        cost = best[:end] + 1 + THIN_COST * thin + (held / most) ** 2
        cost[(held > most) | (held == 0)] = np.inf
        before[end] = np.argmin(cost)
        best[end] = cost[before[end]]
    if not np.isfinite(best[-1]):
        return []
    places = [len(cuts) - 1]
    while places[-1]:
        places.append(int(before[places[-1]]))
    ends = [float(cuts[place]) for place in reversed(places)]
    return [(x0, low, x1, high) for low, high in pairwise(ends)]


def extents(lines: Sequence[Line]) -> list[tuple[float, float]]:
    """From where to where each line reaches down the page."""
    if not lines:
        return []
    corners = View(1.0, (0, 0), (0, 0)).quads([line.box for line in lines], [line.turn for line in lines])
    low, high = corners[..., 1].min(axis=1), corners[..., 1].max(axis=1)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def white_gaps(taken: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The white bands between intervals, from the top; the last one has no end."""
    gaps: list[tuple[float, float]] = []
    end = -np.inf
    for low, high in sorted(taken):
        if low > end:
            gaps.append((end, low))
        end = max(end, high)
    return [*gaps, (end, np.inf)]


def last_gap(gaps: Sequence[tuple[float, float]], low: float, high: float) -> float | None:
    """Where to cut between `low` and `high`: the middle of the widest white band there; None where none is."""
    parts = [(max(start, low), min(end, high)) for start, end in gaps if end > low and start < high]
    if not parts:
        return None
    start, end = max(parts, key=lambda part: part[1] - part[0])
    middle = (start + end) / 2
    return middle if middle > low else None


def lines_in(band: Box, lines: Sequence[Line]) -> list[Line]:
    """The lines whose middles lie in a band."""
    return [
        line
        for line, (low, high) in zip(lines, extents(lines), strict=True)
        if band[1] <= (low + high) / 2 < band[3]
    ]
