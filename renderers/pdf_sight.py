"""What a person can see of a page's lines: judged on the pixels of the rendered page.

Two tests. Text without contrast to what lies right around it is not to be seen: white on white, clipped away,
under a filled shape. Text that something was painted over is searched for in the difference between the page
and the same page drawn without its text, character by character.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pymupdf
from pymupdf import mupdf

from renderers.pdf_frames import Box, Quads, View, turned
from renderers.pdf_lines import Line, page_lines

CONTRAST = 16  # of 255, in any channel: less is not told from JPEG's noise, nor by an eye
AROUND_PX = 2.0  # how far beyond a box its background is looked for
ALONG, ACROSS = 32, 3  # points first tried in each line
CLOSELY = 8  # points each way tried in a character
THIN_EM = 0.05  # narrower boxes show nothing
BATCH = 2000  # characters tried at a time
MAX_POINTS = 1000  # looked at each way in a quad where the first points show nothing
MAX_SHAPES = 2000  # noted on a page
MAX_PAIRS = 1_000_000  # of shapes and texts compared; beyond that every line under a shape is looked at
THIN_PT = 2.0  # rules and underlines, which cover nothing

Pixels = npt.NDArray[np.uint8]  # height × width × 3
Points = npt.NDArray[np.uint8]  # N quads × P points × 3
Mask = npt.NDArray[np.bool_]  # N
Boxes = npt.NDArray[np.float64]  # M × 4
UNIT = mupdf.FzRect(mupdf.FzRect.Fixed_UNIT)
EVERYWHERE = mupdf.FzRect(mupdf.FzRect.Fixed_INFINITE)


class Layers(mupdf.FzDevice2):  # type: ignore[misc]
    """A MuPDF device that notes, in points, the shapes painted after the page's first text.

    With `order` also the texts, and how many of them came before each shape: a call for every text.
    """

    def __init__(self, *, order: bool) -> None:
        super().__init__()
        self.order = order
        self.shapes: list[Box] = []
        self.texts: list[Box] = []
        self.texts_before: list[int] = []
        self.use_virtual_fill_text()

    def fill_text(self, _: Any, text: Any, ctm: Any, *paint: Any) -> None:
        """A text: from the first on shapes count."""
        if not self.texts:
            self.use_virtual_fill_path()
            self.use_virtual_fill_shade()
            self.use_virtual_fill_image()
        if not self.order:
            self.m_internal.fill_text = None  # MuPDF skips what a device has no function for
        self.texts.append(bounds_of(mupdf.ll_fz_bound_text(text, None, ctm)))

    def fill_path(self, _: Any, path: Any, even_odd: int, ctm: Any, *paint: Any) -> None:
        """A filled shape."""
        self.note(mupdf.ll_fz_bound_path(path, None, ctm))

    def fill_shade(self, _: Any, shade: Any, ctm: Any, *paint: Any) -> None:
        """A gradient."""
        self.note(mupdf.ll_fz_bound_shade(shade, ctm))

    def fill_image(self, _: Any, image: Any, ctm: Any, *paint: Any) -> None:
        """An image: the unit square, transformed."""
        self.note(mupdf.ll_fz_transform_rect(UNIT.internal(), ctm))

    def note(self, rect: Any) -> None:
        """Keep what, as far as it is not clipped away, is large enough to cover text."""
        if min(rect.x1 - rect.x0, rect.y1 - rect.y0) <= THIN_PT:
            return
        box = bounds_of(mupdf.ll_fz_intersect_rect(rect, mupdf.ll_fz_device_current_scissor(self.m_internal)))
        if min(box[2] - box[0], box[3] - box[1]) > THIN_PT:
            self.shapes.append(box)
            self.texts_before.append(len(self.texts))
            if len(self.shapes) >= MAX_SHAPES:
                self.m_internal.fill_path = self.m_internal.fill_shade = self.m_internal.fill_image = None


def bounds_of(rect: Any) -> Box:
    """A MuPDF rectangle as a box."""
    return rect.x0, rect.y0, rect.x1, rect.y1


class Picture:
    """A page as RGB pixels on white, with its text or without; `pixels` lives as long as the picture."""

    def __init__(self, display: pymupdf.DisplayList, scale: float, *, text: bool = True) -> None:
        matrix = mupdf.fz_scale(scale, scale)
        bounds = mupdf.fz_round_rect(
            mupdf.fz_transform_rect(mupdf.fz_bound_display_list(display.this), matrix)
        )
        self._pixmap = mupdf.fz_new_pixmap_with_bbox(mupdf.fz_device_rgb(), bounds, mupdf.FzSeparations(), 0)
        mupdf.fz_clear_pixmap_with_value(self._pixmap, 255)
        device = mupdf.fz_new_draw_device(matrix, self._pixmap)
        if not text:  # MuPDF skips what a device has no function for
            device.m_internal.fill_text = device.m_internal.stroke_text = None
        mupdf.fz_run_display_list(display.this, device, mupdf.FzMatrix(), EVERYWHERE, mupdf.FzCookie())
        mupdf.fz_close_device(device)
        size = self._pixmap.w(), self._pixmap.h()
        buffer = mupdf.fz_pixmap_samples_memoryview(self._pixmap)
        self.pixels: Pixels = np.frombuffer(buffer, np.uint8).reshape(size[1], size[0], 3)
        self.view = View(scale, (bounds.x0, bounds.y0), size)


def seen(lines: Sequence[Line], display: pymupdf.DisplayList, picture: Picture) -> list[Line]:
    """The lines, or what of them can be seen, in the order given."""
    if not lines:
        return []
    quads = picture.view.quads([line.box for line in lines], [line.turn for line in lines], AROUND_PX)
    plain = stands_out(picture.pixels, quads)
    doubt = plain & (
        maybe_covered(quads, display, picture.view) | np.array([line.doubtful for line in lines])
    )
    kept: list[list[Line]] = [[line] if shows else [] for line, shows in zip(lines, plain, strict=True)]
    if doubt.any() and not all(line.glyphs for line in lines):
        return seen(page_lines(display), display, picture)  # read by words: now the characters are needed
    if doubt.any():
        bare = Picture(display, picture.view.scale, text=False)
        at = np.flatnonzero(doubt).tolist()
        for i, runs in zip(at, looked_at([lines[i] for i in at], picture, bare), strict=True):
            kept[i] = runs
    return [line for runs in kept for line in runs]


def stands_out(pixels: Pixels, quads: Quads) -> Mask:
    """True for each quad with some contrast in it; a few points decide most, all points the others (N)."""
    plain = contrast(sample(pixels, quads, ALONG, ACROSS)) >= CONTRAST
    rest = np.flatnonzero(~plain)
    if len(rest):
        plain[rest] = contrast(sample(pixels, quads[rest], 2 * ALONG, ALONG)) >= CONTRAST
    for i in np.flatnonzero(~plain):
        along, across = (int(np.hypot(*(quads[i, k] - quads[i, 0]))) + 1 for k in (1, 3))
        points = sample(pixels, quads[i : i + 1], min(along, MAX_POINTS), min(across, MAX_POINTS))
        plain[i] = contrast(points)[0] >= CONTRAST
    return plain


def contrast(points: Points) -> Points:
    """The largest difference in any channel among each quad's points (N × P × 3 → N)."""
    spread: Points = points.max(axis=1) - points.min(axis=1)
    widest: Points = spread.max(axis=1)
    return widest


def sample(pixels: Pixels, quads: Quads, along: int, across: int) -> Points:
    """The pixels at a grid of points spread over each quad (N × along·across × 3)."""
    s = np.tile((np.arange(along) + 0.5) / along, across)
    t = np.repeat((np.arange(across) + 0.5) / across, along)
    weights = np.stack([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t], axis=1)
    height, width, _ = pixels.shape
    at = (weights @ quads).astype(np.int32)
    points: Points = pixels[at[..., 1].clip(0, height - 1), at[..., 0].clip(0, width - 1)]
    return points


def maybe_covered(quads: Quads, display: pymupdf.DisplayList, view: View) -> Mask:
    """True for each line's quad in which a shape was painted over a text that was there before (N)."""
    shapes = layers(display, order=False).shapes
    overlaps = crossing(quads, shapes, view)
    doubt = np.asarray(overlaps.any(axis=1))
    if not doubt.any():
        return doubt
    full = layers(display, order=True)
    near = np.flatnonzero(overlaps.any(axis=0))
    if len(near) * len(full.texts) > MAX_PAIRS:
        return doubt
    return np.asarray(crossing(quads, painted_over(full, near), view).any(axis=1))


def painted_over(layers: Layers, shapes: npt.NDArray[np.intp]) -> Boxes:
    """The parts of texts that lie under one of the `shapes` painted after them (M × 4, points)."""
    over, under = np.array(layers.shapes)[shapes][:, None], np.array(layers.texts)[None]
    low, high = np.maximum(over[..., :2], under[..., :2]), np.minimum(over[..., 2:], under[..., 2:])
    before = np.arange(len(layers.texts)) < np.array(layers.texts_before)[shapes][:, None]
    both = before & (high > low).all(axis=2)
    return np.concatenate([low[both], high[both]], axis=1)


def layers(display: pymupdf.DisplayList, *, order: bool) -> Layers:
    """What is painted on the page, as far as it may cover text."""
    device = Layers(order=order)
    mupdf.fz_run_display_list(display.this, device, mupdf.FzMatrix(), EVERYWHERE, mupdf.FzCookie())
    mupdf.fz_close_device(device)
    return device


def crossing(quads: Quads, boxes: Sequence[Box] | Boxes, view: View) -> Mask:
    """Which of the quads, grown by AROUND_PX, share more than a pixel with which of the boxes (N × M)."""
    shapes = np.asarray(boxes, np.float64).reshape(-1, 4) * view.scale
    low, high = quads.min(axis=1)[:, None] + AROUND_PX, quads.max(axis=1)[:, None] - AROUND_PX
    starts, ends = shapes[:, :2] - view.origin, shapes[:, 2:] - view.origin
    return np.asarray((np.minimum(high, ends) - np.maximum(low, starts) > 1.0).all(axis=2))


def looked_at(lines: Sequence[Line], picture: Picture, bare: Picture) -> Iterator[list[Line]]:
    """For each line the runs of its characters that are missing from the picture without text."""
    boxes = [turned(glyph["bbox"], line.axis) for line in lines for glyph in inked(line)]
    turns = [line.turn for line in lines for _ in inked(line)]
    quads = picture.view.quads(boxes, turns)
    batches = [differs(picture, bare, quads[i : i + BATCH]) for i in range(0, len(quads), BATCH)]
    shown = iter(np.concatenate(batches).tolist())
    for line in lines:
        hidden = hidden_glyphs(line, [next(shown) for _ in inked(line)])
        yield [line.of(run) for run in runs_without(hidden, line)] if hidden else [line]


def inked(line: Line) -> list[Any]:
    """The line's glyphs but for white space."""
    return [glyph for glyph in line.glyphs if not glyph["c"].isspace()]


def differs(picture: Picture, bare: Picture, quads: Quads) -> Mask:
    """True for each quad in which the two pictures are not the same (N)."""
    ours, theirs = (sample(p.pixels, quads, CLOSELY, CLOSELY).astype(np.int16) for p in (picture, bare))
    return np.asarray(abs(ours - theirs).max(axis=(1, 2)) >= CONTRAST)


def hidden_glyphs(line: Line, shown: list[bool]) -> set[int]:
    """The `id` of each glyph that is hidden together with another one beside it.

    One alone is a glyph too thin for the points tried. Later letters of a ligature have boxes without width:
    they go with the first.
    """
    glyphs = inked(line)
    for i, glyph in enumerate(glyphs):
        u0, _, u1, _ = turned(glyph["bbox"], line.axis)
        if i and u1 - u0 < THIN_EM * line.size:
            shown[i] = shown[i - 1]
    beside = [True, *shown, True] if len(shown) > 1 else [False, *shown, False]
    return {id(g) for i, g in enumerate(glyphs) if not shown[i] and not (beside[i] and beside[i + 2])}


def runs_without(hidden: Container[int], line: Line) -> list[list[Any]]:
    """The line's glyphs but for the hidden ones (by `id`), in the runs between those."""
    runs: list[list[Any]] = [[]]
    for glyph in line.glyphs:
        if id(glyph) in hidden:
            runs.append([])
        else:
            runs[-1].append(glyph)
    return [run for run in runs if any(not glyph["c"].isspace() for glyph in run)]
