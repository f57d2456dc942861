"""Blurs given boxes of an image, such as faces, as DataComp's own tools do it.

Each box is widened by a tenth of its longer side on every side. The whole image is blurred with a standard deviation of
a tenth of the largest box's longer side. A mask of the boxes, blurred in the same way, decides for each pixel how much
of the blurred and of the sharp image it gets.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from curate.images import jpeg
from curate.images.protocol import Prepared

WIDENED = 0.1  # of a box's longer side, on each of its sides
SIGMA = 0.1  # of the longest box's longer side
LEVEL = 4  # of PNG, as in `prepare`

Box = Sequence[float]  # x0, y0, x1, y1 as shares of the sides, origin top left


def blurred(prepared: Prepared, boxes: Sequence[Box], quality: int) -> Prepared:
    """Return the image with these boxes blurred, encoded again; unchanged if it has no bytes or there are no boxes.

    Args:
        prepared: the image; a PNG stays a PNG, any other format becomes a JPEG.
        boxes: x0, y0, x1, y1 as shares of the sides, in the image before it was turned upright.
        quality: of the JPEG, 1 to 100.
    """
    if prepared.image is None or not boxes:
        return prepared
    with Image.open(io.BytesIO(prepared.image), formats=["JPEG", "PNG", "WEBP"]) as image:
        pixels = image.convert("L" if image.mode == "L" else "RGB")
    made = _blurred(pixels, [_upright(box, prepared.turn) for box in boxes])
    if prepared.format == "png":
        out = io.BytesIO()
        made.save(out, "PNG", compress_level=LEVEL)
        return replace(prepared, image=out.getvalue(), reencoded=True)
    return replace(prepared, image=jpeg.encode(np.asarray(made), quality), format="jpeg", reencoded=True)


def _blurred(pixels: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    places = [_pixels(box, *pixels.size) for box in boxes]
    longest = max(max(right - left, bottom - top) for left, top, right, bottom in places)
    mask = Image.new("L", pixels.size, 0)
    for left, top, right, bottom in places:
        more = WIDENED * max(right - left, bottom - top)
        corners = (int(left - more), int(top - more), math.ceil(right + more), math.ceil(bottom + more))
        mask.paste(255, corners)
    soft = ImageFilter.GaussianBlur(max(1.0, SIGMA * longest))
    return Image.composite(pixels.filter(soft), pixels, mask.filter(soft))


def _pixels(box: Box, width: int, height: int) -> tuple[float, float, float, float]:
    return box[0] * width, box[1] * height, box[2] * width, box[3] * height


def _upright(box: Box, turn: int) -> Box:
    """Turn a box of the image as it was stored into a box of the upright image (`turn`: EXIF orientation 1 to 8)."""
    x0, y0, x1, y1 = box
    if turn in (2, 3):
        x0, x1 = 1 - x1, 1 - x0
    if turn in (3, 4):
        y0, y1 = 1 - y1, 1 - y0
    if turn in (5, 6, 7, 8):
        x0, y0, x1, y1 = y0, x0, y1, x1
    if turn in (6, 7):
        x0, x1 = 1 - x1, 1 - x0
    if turn in (7, 8):
        y0, y1 = 1 - y1, 1 - y0
    return x0, y0, x1, y1
