"""Lines whose boxes are far taller than their letters: fonts of drawings (Type 3) may claim any box for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from renderers.pdf.line import Line

TALL_EM = 3.0  # a box so much taller than the size of its letters is looked at
LEAST_PT = 2.0  # the size of smaller letters says nothing: their font scales them up
ABOVE_EM, BELOW_EM = 1.1, 0.5  # of the base line: together the 1.6 em that letters take up at most
MOST = 2000  # lines of a page that are compared


def fitted(lines: Sequence[Line]) -> list[Line]:
    """The lines; the box of each that lies over another's base line keeps but what letters take up."""
    tall = [i for i, line in enumerate(lines) if is_tall(line)]
    if not tall or len(lines) > MOST:
        return list(lines)
    boxes, bases = np.array([line.box for line in lines]), np.array([line.base for line in lines])
    out = list(lines)
    for i in tall:
        line = lines[i]
        u0, v0, u1, v1 = line.box
        inside = (bases > v0) & (bases < v1) & (abs(bases - line.base) > line.size)
        if (inside & (boxes[:, 0] < u1) & (boxes[:, 2] > u0)).any():
            top, bottom = line.base - ABOVE_EM * line.size, line.base + BELOW_EM * line.size
            out[i] = replace(line, box=(u0, max(v0, top), u1, min(v1, bottom)))
    return out


def is_tall(line: Line) -> bool:
    """True for a box that is far taller than its letters' size, and lies around their base line."""
    _, v0, _, v1 = line.box
    return line.size >= LEAST_PT and v1 - v0 > TALL_EM * line.size and v0 < line.base < v1
