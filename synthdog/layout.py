"""Choose the positions of lines of text: a stack of grids, as in SynthDoG (Donut, arXiv:2111.15664, appendix).

Boxes are px of the document, origin top left, y down. A grid's columns are read one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from synthdog.settings import LayoutSection

MAX_GRIDS = 64  # a stack of the least text scale holds 30


@dataclass(frozen=True)
class Box:
    """The cell of one line (px); its height is the text size, `align` the text's alignment in it."""

    x: float
    y: float
    width: float
    height: float
    align: str


@dataclass(frozen=True)
class Area:
    """The rectangle (px) that a stack of grids fills."""

    x: float
    y: float
    width: float
    height: float


def stack(area: Area, settings: LayoutSection, rng: np.random.Generator) -> list[list[Box]]:
    """Grids of boxes from the top of `area` down, spread over its height; each grid is in reading order."""
    side = min(area.width, area.height)
    spacing = rng.uniform(*settings.stack_spacing) * side
    usable = area.height * (1.0 if rng.random() < settings.stack_full else rng.uniform(*settings.stack_fill))
    fill = 1.0 if rng.random() < settings.full else rng.uniform(*settings.fill)
    grids: list[list[Box]] = []
    used = 0.0
    for _ in range(MAX_GRIDS):
        text_size = side * rng.uniform(*settings.text_scale)
        room = Area(area.x, area.y + used, area.width, usable - used)
        grid = _grid(room, text_size, fill, settings, rng)
        if not grid:
            break
        used = max(box.y + box.height for box in grid) - area.y + spacing
        grids.append(grid)
    return _spread(grids, area.height - max(used - spacing, 0.0), rng)


def _grid(
    room: Area, text_size: float, fill: float, settings: LayoutSection, rng: np.random.Generator
) -> list[Box] | None:
    """A grid with a random number of rows and columns that fit into the room; None where not even one line fits."""
    fitting = [
        (row, column)
        for row in range(1, settings.max_row + 1)
        for column in range(1, settings.max_col + 1)
        if text_size * (column * 2 - 1) <= room.width and text_size * row <= room.height
    ]
    if not fitting:
        return None
    rows, columns = fitting[rng.integers(len(fitting))]
    edges = room.x + np.cumsum(_widths(columns, text_size / room.width, fill, rng)) * room.width
    boxes = []
    for column in range(columns):
        align = settings.align[rng.integers(len(settings.align))]
        left, right = float(edges[column * 2]), float(edges[column * 2 + 1])
        boxes += [Box(left, room.y + row * text_size, right - left, text_size, align) for row in range(rows)]
    return boxes


def _widths(columns: int, unit: float, fill: float, rng: np.random.Generator) -> np.ndarray:
    """Shares of a row: gap, column, gap, …, gap (2·columns + 1 numbers); `unit` is a text size's share."""
    fill = float(np.clip(fill, 0.0, max(1 - unit * (columns - 1), 0.0)))
    margins = int(rng.integers(4)) if columns > 1 else int(rng.integers(1, 4))
    least = np.full(columns * 2 + 1, unit)
    least[[0, -1]] = 0.0
    spare = 1 - rng.random(columns * 2 + 1)
    spare[0] *= margins // 2
    spare[-1] *= margins % 2
    spare[1::2] *= max(fill - least[1::2].sum(), 0.0) / spare[1::2].sum()
    spare[::2] *= max(1 - fill - least[::2].sum(), 0.0) / spare[::2].sum()
    return np.asarray(least + spare)


def _spread(grids: list[list[Box]], space: float, rng: np.random.Generator) -> list[list[Box]]:
    """The grids moved down so that the empty `space` (px) lies between them at random."""
    gaps = rng.random(len(grids) + 1)
    offsets = np.cumsum(gaps * max(space, 0.0) / gaps.sum())
    return [
        [replace(box, y=box.y + float(offset)) for box in grid]
        for grid, offset in zip(grids, offsets[:-1], strict=True)
    ]
