"""What a person can see of a page's lines: judged on the pixels of the rendered page.

Two tests. Text without contrast to what lies right around it is not to be seen: white on white, clipped away,
under a filled shape. Text that something was painted over is searched for in the difference between the page
and the same page drawn without its text, character by character.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pymupdf
from pymupdf import mupdf

from renderers.pdf_frames import Box, Quads, View
from renderers.pdf_lines import Line

CONTRAST = 16  # of 255, in any channel: less is not told from JPEG's noise, nor by an eye
AROUND_PX = 2.0  # how far beyond a box its background is looked for
ALONG, ACROSS = 64, 3  # points first tried in each line
CLOSELY = 12  # points each way tried in a character
MAX_POINTS = 1000  # looked at each way in a quad where the first points show nothing
MAX_COVERS = 2000  # shapes painted over a page's text after which all of it is looked at closely
THIN_PT = 2.0  # rules and underlines, which cover nothing

Pixels = npt.NDArray[np.uint8]  # height × width × 3
Points = npt.NDArray[np.uint8]  # N quads × P points × 3
Mask = npt.NDArray[np.bool_]  # N
EVERYWHERE = mupdf.FzRect(mupdf.FzRect.Fixed_INFINITE)


class Covers(mupdf.FzDevice2):  # type: ignore[misc]
    """A MuPDF device that notes the boxes, in points, of shapes painted after the page's first text."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes: list[Box] = []
        self.use_virtual_fill_text()

    def fill_text(self, *_: Any) -> None:
        """The first text: from here on shapes count, texts no more."""
        self.m_internal.fill_text = None
        self.use_virtual_fill_path()
        self.use_virtual_fill_shade()
        self.use_virtual_fill_image()

    def fill_path(self, _: Any, path: Any, even_odd: int, ctm: Any, *paint: Any) -> None:
        """A filled shape."""
        self.note(mupdf.ll_fz_bound_path(path, None, ctm))

    def fill_shade(self, _: Any, shade: Any, ctm: Any, *paint: Any) -> None:
        """A gradient."""
        self.note(mupdf.ll_fz_bound_shade(shade, ctm))

    def fill_image(self, _: Any, image: Any, ctm: Any, *paint: Any) -> None:
        """An image: the unit square, transformed."""
        self.note(mupdf.ll_fz_transform_rect(mupdf.FzRect(mupdf.FzRect.Fixed_UNIT).internal(), ctm))

    def note(self, rect: Any) -> None:
        """Keep what is large enough to cover text."""
        if min(rect.x1 - rect.x0, rect.y1 - rect.y0) > THIN_PT and len(self.boxes) < MAX_COVERS:
            self.boxes.append((rect.x0, rect.y0, rect.x1, rect.y1))


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
    view = picture.view
    quads = view.quads([line.box for line in lines], [line.turn for line in lines], grow_px=AROUND_PX)
    plain = stands_out(picture.pixels, quads)
    doubt = covered(quads, covers(display), view) | [line.doubtful for line in lines]
    bare = Picture(display, view.scale, text=False) if (plain & doubt).any() else picture
    out: list[Line] = []
    for line, shows, doubtful in zip(lines, plain, doubt, strict=True):
        if shows:
            out += looked_at(line, picture, bare) if doubtful else [line]
    return out


def stands_out(pixels: Pixels, quads: Quads) -> Mask:
    """True for each quad with some contrast in it; a few points decide most, all points the others (N)."""
    plain = contrast(sample(pixels, quads, ALONG, ACROSS)) >= CONTRAST
    for i in np.flatnonzero(~plain):
        along, across = (int(np.hypot(*(quads[i, k] - quads[i, 0]))) + 1 for k in (1, 3))
        points = sample(pixels, quads[i : i + 1], min(along, MAX_POINTS), min(across, MAX_POINTS))
        plain[i] = contrast(points)[0] >= CONTRAST
    return plain


def contrast(points: Points) -> Points:
    """The largest difference in any channel among each quad's points (N × P × 3 → N)."""
    spread: Points = points.max(axis=1) - points.min(axis=1)
    return spread.max(axis=1)


def sample(pixels: Pixels, quads: Quads, along: int, across: int) -> Points:
    """The pixels at a grid of points spread over each quad (N × along·across × 3)."""
    s = np.tile((np.arange(along) + 0.5) / along, across)
    t = np.repeat((np.arange(across) + 0.5) / across, along)
    weights = np.stack([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t], axis=1)
    height, width, _ = pixels.shape
    at = (weights @ quads).astype(np.int32)
    points: Points = pixels[at[..., 1].clip(0, height - 1), at[..., 0].clip(0, width - 1)]
    return points


def covers(display: pymupdf.DisplayList) -> list[Box]:
    """The boxes of what is painted over text that came before it, in points."""
    device = Covers()
    mupdf.fz_run_display_list(display.this, device, mupdf.FzMatrix(), EVERYWHERE, mupdf.FzCookie())
    mupdf.fz_close_device(device)
    return device.boxes


def covered(quads: Quads, covers: Sequence[Box], view: View) -> Mask:
    """True for each quad that some cover may hide a part of (N)."""
    if not covers:
        return np.zeros(len(quads), np.bool_)
    low, high = quads.min(axis=1)[:, None] + AROUND_PX, quads.max(axis=1)[:, None] - AROUND_PX
    shapes = np.asarray(covers) * view.scale
    starts, ends = shapes[:, :2] - view.origin, shapes[:, 2:] - view.origin
    hidden: Mask = ((np.minimum(high, ends) - np.maximum(low, starts)) > 1.0).all(axis=2).any(axis=1)
    return hidden


def looked_at(line: Line, picture: Picture, bare: Picture) -> list[Line]:
    """The runs of the line's characters that are missing from the picture without text."""
    inked = [glyph for glyph in line.glyphs if not glyph["c"].isspace()]
    boxes = [line.of([glyph]).box for glyph in inked]
    quads = picture.view.quads(boxes, [line.turn] * len(boxes))
    with_text, without = (sample(p.pixels, quads, CLOSELY, CLOSELY).astype(np.int16) for p in (picture, bare))
    hidden = {
        id(g) for g, d in zip(inked, abs(with_text - without).max(axis=(1, 2)), strict=True) if d < CONTRAST
    }
    if not hidden:
        return [line]
    runs: list[list[Any]] = [[]]
    for glyph in line.glyphs:
        if id(glyph) in hidden:
            runs.append([])
        else:
            runs[-1].append(glyph)
    return [line.of(run) for run in runs if any(not glyph["c"].isspace() for glyph in run)]
