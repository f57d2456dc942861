"""A page's pixels, and what a few of them tell about quads on it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from renderers.pdf.frames import Quads, View
from renderers.pdf.mupdf import mupdf, pymupdf

CONTRAST = 16  # of 255, in any channel: less is not told from JPEG's noise, nor by an eye

Pixels = npt.NDArray[np.uint8]  # height × width × 4: red, green, blue, 255; or × 1: grey
Area = tuple[int, int, int, int]  # x0, y0, x1, y1: pixels before a view's origin is taken off
Points = npt.NDArray[np.uint8]  # P points × N quads × 4 or 1
Mask = npt.NDArray[np.bool_]  # N
EVERYWHERE = mupdf.FzRect(mupdf.FzRect.Fixed_INFINITE)


class Picture:
    """A page, or an area of it, as pixels on white, with its text or without.

    `pixels` lives as long as the picture. With `colour` four bytes a pixel, as Pillow holds RGB: it encodes
    them without a copy. Else one: on a page without colour that is the same picture, encoded in two thirds of
    the time.
    """

    def __init__(
        self,
        display: pymupdf.DisplayList,
        scale: float,
        *,
        colour: bool = True,
        text: bool = True,
        area: Area | None = None,
    ) -> None:
        matrix = mupdf.fz_scale(scale, scale)
        if area is None:
            page = mupdf.fz_bound_display_list(display.this)
            bounds = mupdf.fz_round_rect(mupdf.fz_transform_rect(page, matrix))
        else:
            bounds = mupdf.fz_make_irect(*area)
        self.colour = colour
        space = mupdf.fz_device_rgb() if colour else mupdf.fz_device_gray()
        self._pixmap = mupdf.fz_new_pixmap_with_bbox(space, bounds, mupdf.FzSeparations(), int(colour))
        mupdf.fz_clear_pixmap_with_value(self._pixmap, 255)
        device = mupdf.fz_new_draw_device(matrix, self._pixmap)
        if not text:  # MuPDF skips what a device has no function for
            device.m_internal.fill_text = device.m_internal.stroke_text = None
        mupdf.fz_run_display_list(display.this, device, mupdf.FzMatrix(), EVERYWHERE, mupdf.FzCookie())
        mupdf.fz_close_device(device)
        size = self._pixmap.w(), self._pixmap.h()
        buffer = mupdf.fz_pixmap_samples_memoryview(self._pixmap)
        self.pixels: Pixels = np.frombuffer(buffer, np.uint8).reshape(size[1], size[0], -1)
        self.view = View(scale, (bounds.x0, bounds.y0), size)


def coloured(page: pymupdf.Page, display: pymupdf.DisplayList) -> bool:
    """True unless all paints and images of the page are known to be grey, without decoding any.

    The glyphs of a Type 3 font bring their own paint, of which MuPDF's test knows nothing.
    """
    found = mupdf.ll_fz_new_test_device_outparams()
    device = mupdf.FzDevice(mupdf.ll_fz_new_test_device_outparams_fn(0.0, 0, None, found))
    try:
        mupdf.fz_run_display_list(display.this, device, mupdf.FzMatrix(), EVERYWHERE, mupdf.FzCookie())
        mupdf.fz_close_device(device)
    except mupdf.FzErrorAbort:  # at the first colour
        return True
    return bool(found.is_color) or any(font[2] == "Type3" for font in page.get_fonts(full=True))


@lru_cache(maxsize=16)
def grid(along: int, across: int) -> npt.NDArray[np.float64]:
    """How much each of a quad's corners counts at each of a grid of points spread over it (P × 4)."""
    s = np.tile((np.arange(along) + 0.5) / along, across)
    t = np.repeat((np.arange(across) + 0.5) / across, along)
    return np.stack([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t], axis=1)


def sample(pixels: Pixels, quads: Quads, along: int, across: int) -> Points:
    """The pixels at a grid of points spread over each quad (along·across × N × bytes a pixel)."""
    height, width, size = pixels.shape
    weights = grid(along, across)
    x, y = ((weights @ quads[..., k].T).astype(np.intp) for k in (0, 1))
    at = y.clip(0, height - 1, out=y) * width + x.clip(0, width - 1, out=x)
    whole = pixels.reshape(-1).view(f"u{size}")
    found: Points = whole.take(at).view(np.uint8).reshape(*at.shape, size)
    return found


def contrast(points: Points) -> npt.NDArray[np.uint8]:
    """The largest difference in any channel among each quad's points (P × N × 4 → N)."""
    return np.asarray((points.max(axis=0) - points.min(axis=0)).max(axis=1))


def share_of(colours: npt.NDArray[np.int64], points: Points) -> npt.NDArray[np.float64]:
    """The share of each quad's points that have the colour given for it, 0xRRGGBB (N)."""
    colour = colours.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:]
    shown = points[..., :3]
    same = (np.maximum(shown, colour) - np.minimum(shown, colour) < CONTRAST).all(axis=2)
    return np.asarray(same.mean(axis=0))
