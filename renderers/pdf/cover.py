"""Which lines of a page something was painted over, by what is painted where and when.

Filled shapes and strokes are blocks among those of the structured text, in the order of painting. Images and
gradients are not: a device notes them, and the texts that were there before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from renderers.pdf.frames import Box, Quads, View
from renderers.pdf.mupdf import mupdf, pymupdf
from renderers.pdf.pixels import EVERYWHERE, Mask, Picture, sample, share_of

VECTOR_BLOCK = 3  # of MuPDF's dictionaries
THIN_PT = 2.0  # rules and underlines, which cover nothing
BAR_PT = 60.0  # strokes in a wider box are frames and curves
BAR_SHARE = 0.5  # of what a stroke and a line have in common: with so much in its colour it is a bar
INSIDE_PX = 2.0  # a quad's outermost pixels, which may touch what covers nothing of its text
BATCH = 500  # shapes looked at at a time
GRID = 50  # parts of a page's side
MAX_PICTURES = 5000  # of a page; the others are too small to count
MAX_PAIRS = 1_000_000  # of images and texts compared; beyond that every line under an image is in doubt

Boxes = npt.NDArray[np.float64]  # M × (x0, y0, x1, y1)
UNIT = mupdf.FzRect(mupdf.FzRect.Fixed_UNIT)


class Shapes(NamedTuple):
    """What is large enough to cover text: boxes in points, their blocks' numbers, and colours (M).

    A colour is 0xRRGGBB of a stroke, -1 of a filled shape.
    """

    boxes: Boxes
    numbers: npt.NDArray[np.int64]
    colours: npt.NDArray[np.int64]

    def of(self, some: slice | Mask) -> Shapes:
        """Some of them."""
        return Shapes(self.boxes[some], self.numbers[some], self.colours[some])


def shapes_of(blocks: Iterable[dict[str, Any]]) -> Shapes:
    """The shapes among the blocks of a structured text's dictionary."""
    found = [
        (*block["bbox"], block["number"], block["color"] if block["stroked"] else -1)
        for block in blocks
        if block["type"] == VECTOR_BLOCK and block["alpha"]
    ]
    if not found:
        return Shapes(np.zeros((0, 4)), *np.zeros((2, 0), np.int64))
    table = np.array(found, np.float64)
    sides = (table[:, 2:4] - table[:, :2]).min(axis=1)
    table = table[(sides > THIN_PT) & ((table[:, 5] < 0) | (sides <= BAR_PT))]
    return Shapes(table[:, :4], *table[:, 4:].T.astype(np.int64))


def under_shapes(quads: Quads, painted: npt.NDArray[np.int64], shapes: Shapes, picture: Picture) -> Mask:
    """True for each line in which a shape was painted after it (N).

    `quads` are the lines', `painted` the numbers of their blocks.
    """
    doubt = np.zeros(len(quads), np.bool_)
    shapes = shapes.of(shapes.numbers > painted.min())
    for start in range(0, len(shapes.boxes), BATCH):
        part = shapes.of(slice(start, start + BATCH))
        rest = np.flatnonzero(~doubt)
        over = crossing(quads[rest], part.boxes, picture.view)
        over &= part.numbers > painted[rest, None]
        doubt[rest] = (over & (part.colours < 0)).any(axis=1)
        line, stroke = np.nonzero(over & ~doubt[rest, None])
        bars = is_bar(quads[rest[line]], part.boxes[stroke], part.colours[stroke], picture)
        doubt[rest[line[bars]]] = True
    return doubt


def is_bar(quads: Quads, boxes: Boxes, colours: npt.NDArray[np.int64], picture: Picture) -> Mask:
    """True for each pair of a quad and a stroke where what both share has the stroke's colour (K).

    MuPDF's box of a stroke is wider than the stroke by half of it on all sides.
    """
    inset = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)[:, None] / 4 * np.array([1, 1, -1, -1])
    px = (boxes + inset) * picture.view.scale - np.tile(picture.view.origin, 2)
    (x0, y0) = np.maximum(quads.min(axis=1), px[:, :2]).T
    (x1, y1) = np.minimum(quads.max(axis=1), px[:, 2:]).T
    shared = np.stack([x0, y0, x1, y0, x1, y1, x0, y1], axis=1).reshape(-1, 4, 2)
    return share_of(colours, sample(picture.pixels, shared, 8, 4)) > BAR_SHARE


def under_images(quads: Quads, display: pymupdf.DisplayList, drawn: Layers, view: View) -> Mask:
    """True for each line's quad in which an image or a gradient was painted over text (N).

    `drawn` are the page's layers without the order of its texts.
    """
    images = drawn.images
    overlaps = crossing(quads, np.array(images).reshape(-1, 4), view)
    doubt = np.asarray(overlaps.any(axis=1))
    if not doubt.any():
        return doubt
    full = layers_of(display, order=True)
    near = np.flatnonzero(overlaps.any(axis=0))
    if len(near) * len(full.texts) > MAX_PAIRS:
        return doubt
    return np.asarray(crossing(quads, painted_over(full, near), view).any(axis=1))


class Layers(mupdf.FzDevice2):  # type: ignore[misc]
    """A MuPDF device that notes, in points, the images and gradients painted after the page's first text.

    With `order` also the texts, and how many of them came before each image: a call for every text.
    """

    def __init__(self, *, order: bool) -> None:
        super().__init__()
        self.order = order
        self.images: list[Box] = []
        self.pictures: list[Box] = []  # all images, those before the first text too
        self.texts: list[Box] = []
        self.texts_before: list[int] = []
        self.use_virtual_fill_text()
        self.use_virtual_fill_image()

    def fill_text(self, _: Any, text: Any, ctm: Any, *paint: Any) -> None:
        """A text: from the first on images count."""
        if not self.texts:
            self.use_virtual_fill_shade()
            self.use_virtual_fill_image_mask()
        if not self.order:
            self.m_internal.fill_text = None  # MuPDF skips what a device has no function for
        self.texts.append(bounds_of(mupdf.ll_fz_bound_text(text, None, ctm)))

    def fill_shade(self, _: Any, shade: Any, ctm: Any, *paint: Any) -> None:
        """A gradient."""
        self.note(mupdf.ll_fz_bound_shade(shade, ctm))

    def fill_image(self, _: Any, image: Any, ctm: Any, *paint: Any) -> None:
        """An image: the unit square, transformed."""
        self.note_picture(mupdf.ll_fz_transform_rect(UNIT.internal(), ctm))

    def fill_image_mask(self, _: Any, image: Any, ctm: Any, *paint: Any) -> None:
        """A stencil."""
        self.note(mupdf.ll_fz_transform_rect(UNIT.internal(), ctm))

    def note_picture(self, rect: Any) -> None:
        """Keep an image: it counts as a picture wherever it comes, as a cover after the first text."""
        self.pictures.append(self.visible(rect))
        if self.texts:
            self.note(rect)

    def visible(self, rect: Any) -> Box:
        """What of a rectangle is not clipped away."""
        scissor = mupdf.ll_fz_device_current_scissor(self.m_internal)
        return bounds_of(mupdf.ll_fz_intersect_rect(rect, scissor))

    def note(self, rect: Any) -> None:
        """Keep what, as far as it is not clipped away, is large enough to cover text."""
        box = self.visible(rect)
        if min(box[2] - box[0], box[3] - box[1]) > THIN_PT:
            self.images.append(box)
            self.texts_before.append(len(self.texts))


def layers_of(display: pymupdf.DisplayList, *, order: bool) -> Layers:
    """What is painted on the page, as far as it may cover text."""
    device = Layers(order=order)
    mupdf.fz_run_display_list(display.this, device, mupdf.FzMatrix(), EVERYWHERE, mupdf.FzCookie())
    mupdf.fz_close_device(device)
    return device


def image_share(pictures: Sequence[Box], page: Box) -> float:
    """The share of the page that images take up, to a fiftieth of its sides; from 0 to 1."""
    cells = np.zeros((GRID, GRID), np.bool_)
    width, height = max(page[2] - page[0], 1e-6), max(page[3] - page[1], 1e-6)
    for x0, y0, x1, y1 in pictures[:MAX_PICTURES]:
        left, right = round((x0 - page[0]) / width * GRID), round((x1 - page[0]) / width * GRID)
        top, bottom = round((y0 - page[1]) / height * GRID), round((y1 - page[1]) / height * GRID)
        cells[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
    return float(cells.mean())


def bounds_of(rect: Any) -> Box:
    """A MuPDF rectangle as a box."""
    return rect.x0, rect.y0, rect.x1, rect.y1


def painted_over(layers: Layers, images: npt.NDArray[np.intp]) -> Boxes:
    """The parts of texts that lie under one of the `images` painted after them (points)."""
    over, under = np.array(layers.images)[images][:, None], np.array(layers.texts)[None]
    low, high = np.maximum(over[..., :2], under[..., :2]), np.minimum(over[..., 2:], under[..., 2:])
    before = np.arange(len(layers.texts)) < np.array(layers.texts_before)[images][:, None]
    both = before & (high > low).all(axis=2)
    return np.concatenate([low[both], high[both]], axis=1)


def crossing(quads: Quads, boxes: Boxes, view: View) -> Mask:
    """Which of the quads share more than a pixel, INSIDE_PX from their edges, with which boxes (N × M)."""
    middle = (quads.min(axis=1) + quads.max(axis=1)) / 2
    low = np.minimum(quads.min(axis=1) + INSIDE_PX, middle - 1.0)  # a speck has an inside too
    high = np.maximum(quads.max(axis=1) - INSIDE_PX, middle + 1.0)
    starts, ends = (boxes[:, side] * view.scale - view.origin for side in (slice(0, 2), slice(2, 4)))
    beside, above = (
        np.minimum.outer(high[:, k], ends[:, k]) - np.maximum.outer(low[:, k], starts[:, k]) > 1.0
        for k in (0, 1)
    )
    return np.asarray(beside & above)
