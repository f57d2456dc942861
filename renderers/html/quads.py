"""The quads of a web page's lines, and which lines are written over each other.

A line is measured in px, y down, in the frame of its `turn`, in which it is level.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from renderers.html.tab import HtmlLine

Point = tuple[float, float]
MOST_PAIRS = 20_000  # pairs with a turned line that are compared exactly
BEGINS = {"level": 0, "upright": 0, "down": 1, "up": 3}  # flow → the corner of its rect where a line begins


def corners(line: HtmlLine) -> list[Point]:
    """Return the corners of a line's rect on the whole page, clockwise from the top left of its frame."""
    right, bottom = line.x + line.width, line.y + line.height
    found = [(line.x, line.y), (right, line.y), (right, bottom), (line.x, bottom)]
    if line.turn is None:
        return found
    a, b, c, d = line.turn
    return [(a * x + c * y, b * x + d * y) for x, y in found]


def quad(line: HtmlLine) -> list[Point]:
    """Return the corners of a line, clockwise from the top left corner of its text as it is read."""
    flow = line.flow
    if flow == "mixed":
        flow = "down" if runs_sideways(line.text) else "upright"
    first = BEGINS[flow]
    found = corners(line)
    return found[first:] + found[:first]


def runs_sideways(text: str) -> bool:
    """Tell whether most letters of a `mixed` column lie on their side, to be read from the top down."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return 2 * wide < len(text)


def upright(line: HtmlLine) -> HtmlLine:
    """Replace a line's box by the upright rect around it on the page."""
    if line.turn is None:
        return line
    xs, ys = zip(*corners(line), strict=True)
    left, top = min(xs), min(ys)
    return replace(line, x=left, y=top, width=max(xs) - left, height=max(ys) - top, turn=None)


def overlapping(lines: Sequence[HtmlLine]) -> set[int]:
    """Return the numbers of the lines that share more than a fifth of the smaller one's area with another line.

    Neither of two such lines can be read. Once MOST_PAIRS pairs with a turned line have been compared exactly, upright
    rects are compared: an exact answer would take too long.
    """
    boxes = [upright(line) for line in lines]
    order = sorted(range(len(lines)), key=lambda i: boxes[i].y)
    left, top, right, bottom, areas, turned = columns([lines[i] for i in order], [boxes[i] for i in order])
    ends = np.maximum(np.searchsorted(top, bottom), np.arange(len(order)) + 1)
    found = np.zeros(len(order), bool)
    pairs = 0
    for k, end in enumerate(ends):
        near = slice(k + 1, end)
        if found[k] and found[near].all():
            continue
        width = np.minimum(right[near], right[k]) - np.maximum(left[near], left[k])
        height = np.minimum(bottom[near], bottom[k]) - top[near]
        shared = np.maximum(width, 0.0) * np.maximum(height, 0.0)
        over = shared > 0.2 * np.minimum(areas[near], areas[k])
        for j in np.flatnonzero((shared > 0) & (turned[near] | turned[k])):
            pairs += 1
            if pairs <= MOST_PAIRS:
                one, other = lines[order[k]], lines[order[k + 1 + j]]
                both = area(common(corners(one), corners(other)))
                over[j] = both > 0.2 * min(areas[k], areas[k + 1 + j])
        found[near] |= over
        found[k] |= over.any()
    return {order[k] for k in np.flatnonzero(found)}


def columns(lines: Sequence[HtmlLine], boxes: Sequence[HtmlLine]) -> tuple[np.ndarray, ...]:
    """Return six arrays of N: left, top, right, bottom of the upright rects; the lines' areas; which are turned."""
    x, y, width, height = np.array([[b.x, b.y, b.width, b.height] for b in boxes]).reshape(-1, 4).T
    areas = np.array([area(corners(line)) for line in lines])
    return x, y, x + width, y + height, areas, np.array([line.turn is not None for line in lines], bool)


def area(polygon: Sequence[Point]) -> float:
    """Return the area of a polygon in square px."""
    return 0.5 * abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise([*polygon, *polygon[:1]])))


def common(polygon: list[Point], convex: list[Point]) -> list[Point]:
    """Return the part of a polygon within a convex one, both clockwise (by Sutherland and Hodgman)."""
    for (ax, ay), (bx, by) in pairwise([*convex, convex[0]]):
        points = [*polygon, *polygon[:1]]
        sides = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for x, y in points]
        polygon = []
        for ((x1, y1), (x2, y2)), (side, following) in zip(pairwise(points), pairwise(sides), strict=True):
            if side >= 0:
                polygon.append((x1, y1))
            if side * following < 0:
                share = side / (side - following)
                polygon.append((x1 + share * (x2 - x1), y1 + share * (y2 - y1)))
    return polygon
