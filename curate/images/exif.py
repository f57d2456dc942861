"""Which way up an image is: the EXIF orientation, as all readers understand it, and how it is undone."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from curate.images import jpeg

ORIENTATION = 0x0112
TURN = re.compile(
    rb"\x12\x01.{6}[\2-\x08]\0|\x01\x12.{6}\0[\2-\x08]", re.DOTALL
)  # whatever its type and count
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = 5  # orientations from here on swap width and height


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where it cannot be read."""
    try:
        value = Image.Image.getexif(image).get(ORIENTATION)  # a PNG's own `getexif` decodes it first
    except Exception:  # as in `damage`; the pixels may be fine
        return 1
    return value if value in UPRIGHT else 1


def undisputed(exif: bytes) -> bool:
    """Whether readers agree that this EXIF turns nothing; broken EXIF they read each in its own way."""
    return TURN.search(exif) is None


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height once turned upright, from what the header tells."""
    width, height = image.size
    return (height, width) if orientation(image) >= SIDEWAYS else (width, height)


def turned(pixels: jpeg.Pixels, turn: int) -> jpeg.Pixels:
    """The pixels upright, as the EXIF orientation asks."""
    return np.asarray(Image.fromarray(pixels).transpose(UPRIGHT[turn])) if turn in UPRIGHT else pixels
