"""Where the lines of a web page lie: their quads, and what of one another they cover.

A line is measured in the frame of its `turn`, in which it is level. px, y down.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from renderers.html.tab import Line

Point = tuple[float, float]
BEGINS = {"level": 0, "upright": 0, "down": 1, "up": 3}  # flow → the corner of its rect where a line begins


def corners(line: Line) -> list[Point]:
    """The line's rect on the whole page, clockwise from the top left of its frame."""
    right, bottom = line.x + line.width, line.y + line.height
    found = [(line.x, line.y), (right, line.y), (right, bottom), (line.x, bottom)]
    if line.turn is None:
        return found
    a, b, c, d = line.turn
    return [(a * x + c * y, b * x + d * y) for x, y in found]


def quad(line: Line) -> list[Point]:
    """The corners clockwise from the top left of its text as it is read."""
    flow = line.flow
    if flow == "mixed":
        flow = "down" if runs_sideways(line.text) else "upright"
    first = BEGINS[flow]
    found = corners(line)
    return found[first:] + found[:first]


def runs_sideways(text: str) -> bool:
    """In a column of either: do the letters lie on their side, reading from the top down?"""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return 2 * wide < len(text)


def upright(line: Line) -> Line:
    """The upright rect around a line."""
    if line.turn is None:
        return line
    xs, ys = zip(*corners(line), strict=True)
    left, top = min(xs), min(ys)
    return replace(line, x=left, y=top, width=max(xs) - left, height=max(ys) - top, turn=None)


def overlapping(lines: Sequence[Line]) -> set[int]:
    """The lines that another is written over (by more than a fifth of the smaller): neither can be read."""
    boxes = [upright(line) for line in lines]
    order = sorted(range(len(lines)), key=lambda i: boxes[i].y)
    found: set[int] = set()
    near: list[int] = []
    for i in order:
        near = [j for j in near if boxes[j].y + boxes[j].height > boxes[i].y]
        for j in near:
            if not shared_area(boxes[i], boxes[j]):
                continue
            if shared_area(lines[i], lines[j]) > 0.2 * min(area(corners(lines[i])), area(corners(lines[j]))):
                found |= {i, j}
        near.append(i)
    return found


def shared_area(one: Line, other: Line) -> float:
    """Square px that both cover."""
    if one.turn is not None or other.turn is not None:
        return area(common(corners(one), corners(other)))
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return max(0.0, width) * max(0.0, height)


def area(polygon: Sequence[Point]) -> float:
    """Square px within a polygon."""
    return 0.5 * abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise([*polygon, *polygon[:1]])))


def common(polygon: list[Point], convex: list[Point]) -> list[Point]:
    """What of a polygon lies within a convex one, both clockwise (Sutherland and Hodgman)."""
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
