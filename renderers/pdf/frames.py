"""Boxes of turned text, and the way from them to pixels.

A *turn* is the unit vector (cos, sin) along which a line is read, on the page as shown, in points, y down.
Its frame has u along the line and v across it: `u = x·cos + y·sin`, `v = y·cos − x·sin`. So a line is an
upright box in its own frame, however the page or the text is rotated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]  # u0, v0, u1, v1
Turn = tuple[float, float]
Quads = npt.NDArray[np.float64]  # N × 4 corners × (x, y), px

LEVEL: Turn = (1.0, 0.0)
DOWN: Turn = (0.0, 1.0)


@dataclass(frozen=True)
class View:
    """How points of the page become pixels of its image: `px = point · scale − origin`."""

    scale: float
    origin: tuple[int, int]
    size: tuple[int, int]  # px

    def quads(self, boxes: Sequence[Box], turns: Sequence[Turn], grow_px: float = 0.0) -> Quads:
        """The boxes, each grown on all sides, as quads: clockwise from where reading starts."""
        if not boxes:
            return np.zeros((0, 4, 2))
        grow = grow_px / self.scale
        box = np.array(boxes, np.float64) + np.array([-grow, -grow, grow, grow])
        cos, sin = np.array(turns, np.float64).T[:, :, None]
        u, v = box[:, [0, 2, 2, 0]], box[:, [1, 1, 3, 3]]
        return np.stack([u * cos - v * sin, u * sin + v * cos], axis=2) * self.scale - self.origin


def turned(box: Box, axis: Turn) -> Box:
    """An upright box of the page in the frame of one of the four upright turns."""
    if axis == LEVEL:
        return box
    (c, s), (x0, y0, x1, y1) = axis, box
    u, v = (x0 * c + y0 * s, x1 * c + y1 * s), (y0 * c - x0 * s, y1 * c - x1 * s)
    return min(u), min(v), max(u), max(v)


def union(a: Box, b: Box) -> Box:
    """The box around both."""
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def within(box: Box, page: Box) -> bool:
    """True where the box lies wholly on the page."""
    return box[0] >= page[0] and box[1] >= page[1] and box[2] <= page[2] and box[3] <= page[3]
