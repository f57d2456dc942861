"""Compute how many tokens an image costs, from its width and height, as each model's image processor does.

All functions work on columns: they take N widths and N heights in pixels, and return N costs. Rounding follows Python's
`round` (half to even) and `int` (towards zero), operation by operation, so that the numbers are the processor's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class FirstResize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How LLaMA-Factory resizes an image before the model's own rule is applied."""

    min_area: int  # pixels; a smaller image is scaled up to about this
    max_area: int
    min_side: int  # pixels; shorter sides become this
    max_ratio: int  # of an image that is longer than this …
    ratio: int  # … the longer side becomes this many times the shorter one


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the size and the tokens of images are computed for one model; a rule reads only the fields that name it."""

    rule: Literal["constant", "smart_resize", "tiles", "anyres"] = "constant"
    tokens: int = 0  # constant: of an image; tiles: of a tile
    width: int = 0  # constant: of the resized image
    height: int = 0
    patch: int = 14  # smart_resize: side of a patch in pixels
    merge: int = 2  # smart_resize: patches along a side that become one token
    min_pixels: int = 0  # smart_resize: of the resized image
    max_pixels: int = 0
    max_ratio: float = 200  # smart_resize: longer images are refused
    lift: bool = False  # smart_resize: a side that rounds to nothing becomes one token (qwen-vl-utils)
    first: FirstResize | None = None
    tile: int = 0  # tiles, anyres: side of a tile in pixels
    max_tiles: int = 12  # tiles: of an image, without its thumbnail
    shared_tiles: bool = False  # tiles: several images of a sample share `max_tiles` (InternVL's own trainer)
    grids: tuple[tuple[int, int], ...] = ()  # anyres: rows and columns of tiles that an image may have
    side_tokens: int = 0  # anyres: tokens along the side of a tile
    most_tiles: int = 0  # anyres: beyond so many tiles' tokens the features are scaled down; 0: never
    many: int = 0  # anyres: tokens of each image where a sample has several; 0: as of one


class Costs(NamedTuple):
    """The cost of N images. An image that the model refuses has -1 tokens, and its resized size is 0."""

    tokens: Ints
    width: Ints  # pixels of the resized image
    height: Ints
    rows: Ints  # of the grid of unmerged patches (smart_resize) or of tiles; 0 where there is no grid
    columns: Ints

    @property
    def taken(self) -> Bools:
        """Which images the model accepts (N)."""
        taken: Bools = self.tokens >= 0
        return taken


def image_costs(cost: Cost, width: Ints, height: Ints, images: Ints | None = None) -> Costs:
    """The cost of each of N images.

    `width` and `height` (N) are in pixels, at least 1. `images` (N) is the number of images in the sample of each
    (default 1).
    """
    width, height = (np.asarray(side, np.int64) for side in (width, height))
    images = np.ones(len(width), np.int64) if images is None else images
    return RULES[cost.rule](cost, width, height, images)


def _constant(cost: Cost, width: Ints, height: Ints, images: Ints) -> Costs:
    none = np.zeros(len(width), np.int64)
    return Costs(none + cost.tokens, none + cost.width, none + cost.height, none, none)


def _smart_resize(cost: Cost, width: Ints, height: Ints, images: Ints) -> Costs:
    """Resize both sides to multiples of patch·merge, so that the area is between min_pixels and max_pixels."""
    if cost.first is not None:
        width, height = _resized_first(cost.first, width, height)
    factor = cost.patch * cost.merge
    longer, shorter = np.maximum(width, height), np.maximum(np.minimum(width, height), 1)
    taken = longer / shorter <= cost.max_ratio
    least = factor if cost.lift else 0
    w, h = (np.maximum(np.rint(side / factor) * factor, least) for side in (width, height))
    area = np.maximum((width * height).astype(np.float64), 1)
    large, small = w * h > cost.max_pixels, w * h < cost.min_pixels
    down = np.sqrt(area / cost.max_pixels)
    up = np.sqrt(cost.min_pixels / area)
    w, h = (
        np.where(
            large,
            np.maximum(factor, np.floor(side / down / factor) * factor),
            np.where(small, np.ceil(side * up / factor) * factor, rounded),
        ).astype(np.int64)
        for side, rounded in ((width, w), (height, h))
    )
    w, h = np.where(taken, w, 0), np.where(taken, h, 0)
    tokens = np.where(taken, w * h // factor**2, -1)
    return Costs(tokens, w, h, h // cost.patch, w // cost.patch)


def _resized_first(first: FirstResize, width: Ints, height: Ints) -> tuple[Ints, Ints]:
    for bound, beyond in ((first.max_area, np.greater), (first.min_area, np.less)):
        area = width * height
        scale = np.sqrt(bound / np.maximum(area, 1))
        hit = beyond(area, bound)
        width, height = (np.where(hit, (side * scale).astype(np.int64), side) for side in (width, height))
    low = np.minimum(width, height) < first.min_side
    width, height = (np.where(low, np.maximum(side, first.min_side), side) for side in (width, height))
    wide, tall = width / height > first.max_ratio, height / width > first.max_ratio
    return np.where(wide, height * first.ratio, width), np.where(tall, width * first.ratio, height)


def _tiles(cost: Cost, width: Ints, height: Ints, images: Ints) -> Costs:
    """Cut the image into the grid of tiles nearest to its shape, plus a thumbnail if there is more than one tile."""
    most = (
        np.maximum(1, cost.max_tiles // images) if cost.shared_tiles else np.full(len(width), cost.max_tiles)
    )
    columns, rows = np.ones(len(width), np.int64), np.ones(len(width), np.int64)
    nearest = np.full(len(width), np.inf)
    for across, down in sorted(_grids(cost.max_tiles), key=lambda grid: grid[0] * grid[1]):
        away = np.abs(width / height - across / down)
        roomy = width * height > 0.5 * cost.tile * cost.tile * across * down
        better = (across * down <= most) & ((away < nearest) | ((away == nearest) & roomy))
        columns, rows = np.where(better, across, columns), np.where(better, down, rows)
        nearest = np.where(better, away, nearest)
    count = columns * rows
    tokens = (count + (count > 1)) * cost.tokens
    return Costs(tokens, columns * cost.tile, rows * cost.tile, rows, columns)


def _grids(most: int) -> list[tuple[int, int]]:
    sides = range(1, most + 1)
    return [(across, down) for across in sides for down in sides if across * down <= most]


def _anyres(cost: Cost, width: Ints, height: Ints, images: Ints) -> Costs:
    """Use the grid of tiles that keeps most of the image, without the features of its padding, plus one small view."""
    rows, columns = _best_grid(cost, width, height)
    h: Ints = rows * cost.side_tokens
    w: Ints = columns * cost.side_tokens
    wide = width / height > w / h
    new_h = _cut(np.round(height * (w / width), 7))
    new_w = _cut(np.round(width * (h / height), 7))
    h, w = np.where(wide, h - (h - new_h) // 2 * 2, h), np.where(wide, w, w - (w - new_w) // 2 * 2)
    view = cost.side_tokens**2
    tokens = h * w + h + view
    if cost.most_tiles:
        ratio = np.sqrt(h * w / (cost.most_tiles * view))
        low_h, low_w = _cut(h // ratio), _cut(w // ratio)
        tokens = np.where(ratio > 1.1, low_h * low_w + low_h + view, tokens)
    if cost.many:
        tokens = np.where(images > 1, cost.many, tokens)
    return Costs(tokens, columns * cost.tile, rows * cost.tile, rows, columns)


def _best_grid(cost: Cost, width: Ints, height: Ints) -> tuple[Ints, Ints]:
    """Rows and columns of the grid that keeps most pixels of each image and, of those, wastes fewest."""
    most = np.zeros(len(width), np.int64)
    least_waste = np.full(len(width), np.iinfo(np.int64).max)
    rows, columns = np.ones(len(width), np.int64), np.ones(len(width), np.int64)
    for down, across in cost.grids:
        scale = np.minimum(across * cost.tile / width, down * cost.tile / height)
        shown = np.minimum(_cut(width * scale) * _cut(height * scale), width * height)
        waste = down * across * cost.tile**2 - shown
        better = (shown > most) | ((shown == most) & (waste < least_waste))
        most, least_waste = np.where(better, shown, most), np.where(better, waste, least_waste)
        rows, columns = np.where(better, down, rows), np.where(better, across, columns)
    return rows, columns


def _cut(values: npt.NDArray[Any]) -> Ints:
    whole: Ints = values.astype(np.int64)
    return whole


RULES: dict[str, Callable[[Cost, Ints, Ints, Ints], Costs]] = {
    "constant": _constant,
    "smart_resize": _smart_resize,
    "tiles": _tiles,
    "anyres": _anyres,
}
