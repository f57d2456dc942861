"""Shrinks decoded images bicubically, without aliasing: the window is as wide as the scale needs.

Pillow's own function takes longer than decoding and encoding together. `cykooz.resizer` does the same with the
processor's vector instructions. It computes with fixed-point numbers, so the pixels do not depend on which instructions
it uses. Arrays are copied to it, which is fastest; of Pillow's images it reads the memory directly, so it is used only
with the releases of Pillow whose layout it knows. Without it, Pillow does the work, and hardly a pixel differs by more
than 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

try:
    from cykooz_resizer import FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
except ImportError:  # no wheel for this machine
    Resizer = None

KNOWN = range(11, 14)  # Pillow's major versions

Pixels = npt.NDArray[np.uint8]


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a grey or RGB image resized to `size` (width, height)."""
    if _RESIZER is None:
        return image.resize(size, Image.Resampling.BICUBIC)
    smaller = Image.new(image.mode, size, None)
    _RESIZER.resize_pil(image, smaller, _BICUBIC)
    return smaller


def resized_pixels(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Return grey (height x width) or RGB pixels (height x width x 3) resized to `size` (width, height)."""
    if _RESIZER is None:
        return np.asarray(resized(Image.fromarray(pixels), size))
    height, width, *channels = pixels.shape
    kind = PixelType.U8x3 if channels else PixelType.U8
    smaller = ImageData(*size, kind)
    _RESIZER.resize(ImageData(width, height, kind, pixels.tobytes()), smaller, _BICUBIC)
    return np.frombuffer(smaller.get_buffer(), np.uint8).reshape(size[1], size[0], *channels)


_RESIZER = Resizer() if Resizer is not None and int(PIL.__version__.split(".")[0]) in KNOWN else None
_BICUBIC = ResizeOptions(ResizeAlg.convolution(FilterType.catmull_rom), use_alpha=False) if _RESIZER else None
