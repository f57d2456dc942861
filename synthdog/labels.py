"""Compute the quads of lines, words and characters in the finished picture, in its px."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from synthdog import effects, geometry
from synthdog.page_plan import PagePlan
from synthdog.settings import LabelSection
from synthdog.text_lines import PlacedLine, Strip

NORMAL = NormalDist()
EDGE = 0.5  # px by which interpolation spreads ink
LOST = 0.0035  # largest share of the ink that a blur may carry past one side of the quad
# By how many standard deviations of a blur a quad may be widened, and for each the depth of ink (in deviations) that
# is carried further: a small share of the ink of large letters, a large share of that of small ones
SPREADS = np.linspace(1.7, 4, 47)
FURTHER = np.array([NORMAL.pdf(k) - k * (1 - NORMAL.cdf(k)) for k in SPREADS])


def lines(plan: PagePlan, inks: Sequence[Strip]) -> np.ndarray:
    """The lines' quads (N, 4, 2): the box of the ink after the perspective, widened by what the blurs spread."""
    return _seen(plan, np.array([ink.box for ink in inks]))


def text(plan: PagePlan) -> str:
    """The lines' texts, each on a line of its own."""
    return "\n".join(line.text for line in plan.lines)


def regions(plan: PagePlan, quads: np.ndarray) -> list[dict[str, Any]]:
    """The lines as items of the column `regions`."""
    rows, at = [], 0
    for line, quad in zip(plan.lines, quads, strict=True):
        end = at + len(line.text)
        rows.append({"text": line.text, "start": at, "end": end, "quad": quad.ravel().tolist(), "score": 1.0})
        at = end + 1
    return rows


def parts(plan: PagePlan, inks: Sequence[Strip], settings: LabelSection) -> dict[str, list[dict[str, Any]]]:
    """Words and characters, as far as the settings ask for them, for `extra`: start and end in the text, and a quad."""
    wanted = (("words", settings.words, _words), ("chars", settings.chars, _chars))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name, asked, _ in wanted if asked}
    at = 0
    for line, ink in zip(plan.lines, inks, strict=True):
        for name, asked, spans in wanted:
            if asked:
                found[name] += _entries(plan, spans(line), ink, line, at)
        at += len(line.text) + 1
    return found


def _entries(
    plan: PagePlan, spans: Sequence[tuple[int, int]], ink: Strip, line: PlacedLine, at: int
) -> list[dict[str, Any]]:
    of_char = dict(zip(line.inked(), ink.carried(line.boxes()), strict=True))
    boxes = [np.array([of_char[index] for index in range(*span)]) for span in spans]
    around = np.array([np.r_[box[:, :2].min(axis=0), box[:, 2:].max(axis=0)] for box in boxes])
    return [
        {"start": at + start, "end": at + end, "quad": [round(float(v), 2) for v in quad.ravel()]}
        for (start, end), quad in zip(spans, _seen(plan, around), strict=True)
    ]


def _words(line: PlacedLine) -> list[tuple[int, int]]:
    return line.words()


def _chars(line: PlacedLine) -> list[tuple[int, int]]:
    return [(index, index + 1) for index in line.inked()]


def _seen(plan: PagePlan, boxes: np.ndarray) -> np.ndarray:
    """Boxes of the document (N, 4) as quads of the picture (N, 4, 2)."""
    shift, spread = effects.carried(plan.strengths, plan.fade)
    quads = geometry.through(plan.matrix, geometry.quads(boxes)) + shift
    return geometry.clip(widened(quads, spread), *plan.size)


def widened(quads: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Quads of ink (N, 4, 2), widened for the ink that a blur of covariance `spread` (2, 2; px²) carries outside."""
    normals = geometry.outward(quads)
    deviation = np.sqrt(np.einsum("nki,ij,nkj->nk", normals, spread, normals))
    further = LOST * geometry.depths(quads) / np.maximum(deviation, 1e-6)
    return geometry.grow(quads, EDGE + deviation * np.interp(further, FURTHER[::-1], SPREADS[::-1]))
