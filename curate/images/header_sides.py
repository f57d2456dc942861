"""Reads width and height of encoded images from their headers."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image as Pillow

Ints = npt.NDArray[np.int64]


def header_sides(bodies: pa.Array) -> tuple[Ints, Ints]:
    """Return width and height in pixels of N images (binary), N each; 0 for a null or an image without a header."""
    sides = np.zeros((len(bodies), 2), np.int64)
    for place, body in enumerate(bodies):
        if body.is_valid:
            try:
                with Pillow.open(io.BytesIO(body.as_py())) as opened:
                    sides[place] = opened.size
            except (OSError, ValueError, Pillow.DecompressionBombError):
                continue
    return sides[:, 0], sides[:, 1]
