"""Reads the EXIF orientation of an image, and turns its pixels upright."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from curate.images import jpeg

ORIENTATION = 0x0112
TURN = re.compile(
    rb"\x12\x01.{6}[\2-\x08]\0|\x01\x12.{6}\0[\2-\x08]", re.DOTALL
)  # the orientation's tag with a value of 2 to 8, whatever its type and count
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
    """Return the EXIF orientation, 1 to 8; 1 if it cannot be read."""
    try:
        value = Image.Image.getexif(image).get(ORIENTATION)  # a PNG's own `getexif` decodes it first
    except Exception:  # as in `damage`; the pixels may be fine
        return 1
    return value if value in UPRIGHT else 1


def undisputed(exif: bytes) -> bool:
    """Whether all readers agree that this EXIF data asks for no turn; they read broken EXIF data differently."""
    return TURN.search(exif) is None


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of the image once it is turned upright, from its header."""
    width, height = image.size
    return (height, width) if orientation(image) >= SIDEWAYS else (width, height)


def turned(pixels: jpeg.Pixels, turn: int) -> jpeg.Pixels:
    """Turn pixels upright, given their EXIF orientation `turn` (1 to 8)."""
    return np.asarray(Image.fromarray(pixels).transpose(UPRIGHT[turn])) if turn in UPRIGHT else pixels
