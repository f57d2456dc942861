"""Paint a plan: the sheet with its writing is laid on the background, then the effects on the whole are applied."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from synthdog import effects, geometry
from synthdog.page_plan import PagePlan
from synthdog.text_lines import PlacedLine, Strip, strip

WHITE = 255


def strips(plan: PagePlan) -> list[Strip]:
    """The ink of the plan's lines, each distorted by a field of its own."""
    return [
        strip(line, plan.strengths.elastic, np.random.default_rng([*plan.seed, 2, index]))
        for index, line in enumerate(plan.lines)
    ]


def paint(plan: PagePlan, inks: Iterable[tuple[PlacedLine, Strip]]) -> np.ndarray:
    """The picture (height, width, BGR) with the lines of `inks` on it, before JPEG."""
    rng = np.random.default_rng([*plan.seed, 1])
    canvas = np.ascontiguousarray(
        effects.backdrop(plan.background, plan.size, plan.strengths.background_blur)
    )
    _lay(_sheet(plan, inks, rng), plan, canvas)
    return effects.finished(canvas, plan.strengths, plan.fade)


def _lay(sheet: np.ndarray, plan: PagePlan, canvas: np.ndarray) -> None:
    """Put the sheet in its perspective on the canvas, touching only the part that it covers."""
    corners = geometry.through(plan.matrix, geometry.rectangle(*plan.document))
    x0, y0 = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int), plan.size)
    matrix = geometry.pixel_matrix(geometry.translation(-x0, -y0) @ plan.matrix)
    part = np.ascontiguousarray(canvas[y0:y1, x0:x1])
    size = (int(x1 - x0), int(y1 - y0))
    cv2.warpPerspective(sheet, matrix, size, dst=part, borderMode=cv2.BORDER_TRANSPARENT)
    canvas[y0:y1, x0:x1] = part


def _sheet(plan: PagePlan, inks: Iterable[tuple[PlacedLine, Strip]], rng: np.random.Generator) -> np.ndarray:
    """The written document before its perspective (BGR); gray as long as nothing on it has a colour."""
    blank = plan.paper.laid(plan.document, WHITE)
    grain = effects.noise(blank.shape[:2], plan.strengths.noise, rng)
    if grain is not None and grain.ndim > blank.ndim:
        blank = effects.in_colour(blank)
    sheet = effects.noisy(blank, grain)
    coloured = []
    for line, ink in inks:
        if len(set(line.bgr)) > 1:
            coloured.append((line, ink))
        else:
            _write(sheet, ink, line.bgr, grain)
    sheet = effects.in_colour(sheet)
    for line, ink in coloured:
        _write(sheet, ink, line.bgr, grain)
    return sheet


def _write(sheet: np.ndarray, ink: Strip, bgr: tuple[int, int, int], grain: np.ndarray | None) -> None:
    """Lay a line's ink, as noisy as the paper, on the sheet."""
    height, width = sheet.shape[:2]
    x0, y0 = max(ink.left, 0), max(ink.top, 0)
    x1, y1 = min(ink.left + ink.coverage.shape[1], width), min(ink.top + ink.coverage.shape[0], height)
    part = (slice(y0, y1), slice(x0, x1))
    coverage = ink.coverage[y0 - ink.top : y1 - ink.top, x0 - ink.left : x1 - ink.left]
    colour = np.full((*coverage.shape, *sheet.shape[2:]), bgr if sheet.ndim == 3 else bgr[0], np.uint8)
    if grain is not None:
        local = grain[part]
        colour = effects.noisy(colour, local if local.ndim == colour.ndim else np.dstack([local] * 3))
    if sheet.ndim == 3:
        coverage = cv2.cvtColor(coverage, cv2.COLOR_GRAY2BGR)
    kept = cv2.multiply(sheet[part], 255 - coverage, scale=1 / 255)
    sheet[part] = cv2.add(kept, cv2.multiply(colour, coverage, scale=1 / 255))
