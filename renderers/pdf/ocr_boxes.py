"""The boxes of lines that OCR reads, parted where one reaches into the line above or below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from renderers.pdf.line import Line
from renderers.pdf.pixels import CONTRAST, Picture

MOST = 2000  # lines of a page that are compared

Boxes = npt.NDArray[np.float64]  # N × (x0, y0, x1, y1), px


def apart(lines: Sequence[Line], picture: Picture) -> list[Line]:
    """The level lines, each with its words as glyphs, with boxes that overlap none above or below.

    Two such boxes are parted at the row with the least ink between what most words of both lines take up.
    """
    if not 1 < len(lines) <= MOST:
        return list(lines)
    view = picture.view
    boxes = np.array([line.box for line in lines]) * view.scale - np.tile(view.origin, 2)
    cores = np.array([core(line) for line in lines]) * view.scale - view.origin[1]
    new = boxes.copy()
    wide = np.minimum(boxes[:, None, 2], boxes[None, :, 2]) - np.maximum(boxes[:, None, 0], boxes[None, :, 0])
    over = (
        (wide > 0)
        & (boxes[:, None, 3] > boxes[None, :, 1])
        & (cores.sum(axis=1)[:, None] < cores.sum(axis=1))
    )
    for upper, lower in np.argwhere(over & (cores[:, None, 1] <= cores[None, :, 0])).tolist():
        x0, x1 = boxes[[upper, lower], 0].min(), boxes[[upper, lower], 2].max()
        at = lightest(picture, (x0, cores[upper, 1], x1, cores[lower, 0]))
        new[upper, 3], new[lower, 1] = min(new[upper, 3], at), max(new[lower, 1], at)
    out = list(lines)
    for i in np.flatnonzero((new != boxes).any(axis=1)).tolist():
        top, bottom = inked(picture, new[i])
        v0, v1 = ((y + view.origin[1]) / view.scale for y in (top, bottom))
        box = (lines[i].box[0], v0, lines[i].box[2], v1)
        out[i] = replace(lines[i], box=box, size=v1 - v0, base=v1)
    return out


def core(line: Line) -> tuple[float, float]:
    """From where to where most words of a line reach, by their widths; points."""
    words = np.array([glyph["bbox"] for glyph in line.glyphs if "bbox" in glyph])
    found = []
    for edge in (words[:, 1], words[:, 3]):
        order = np.argsort(edge)
        passed = np.cumsum((words[:, 2] - words[:, 0])[order])
        found.append(float(edge[order][np.searchsorted(passed, passed[-1] / 2)]))
    return found[0], found[1]


def rows_of_ink(picture: Picture, box: Sequence[float]) -> npt.NDArray[np.int64]:
    """How many points of each row in a box (px, at least one row) are no ground."""
    x0, y0, x1, y1 = (round(side) for side in box)
    part = picture.pixels[max(0, y0) : max(y0, y1, 0) + 1, max(0, x0) : max(0, x1), 0].astype(np.int16)
    ground = np.median(part) if part.size else 0
    return np.asarray((abs(part - ground) >= 2 * CONTRAST).sum(axis=1))


def lightest(picture: Picture, box: Sequence[float]) -> float:
    """The row of a box that has the least ink: of several the one in the middle; px."""
    ink = rows_of_ink(picture, box)
    least = np.flatnonzero(ink == ink.min()) if ink.size else np.zeros(1)
    return float(round(box[1]) + least[len(least) // 2])


def inked(picture: Picture, box: Sequence[float]) -> tuple[float, float]:
    """The top and bottom of a box without the blank rows at them; px."""
    rows = np.flatnonzero(rows_of_ink(picture, box)[:-1])
    if not rows.size:
        return float(box[1]), float(box[3])
    top = max(0, round(box[1]))
    return max(float(box[1]), float(top + rows[0])), min(float(box[3]), float(top + rows[-1] + 1))
