"""Shrinking decoded images by a bicubic window, as wide as the shrinking asks for: there is no aliasing.

Pillow's own takes longer than decoding and encoding together. `cykooz.resizer` does the same with the
processor's vector instructions, in fixed-point numbers: whichever it uses, the pixels are the same. It reads
Pillow's memory, so it is used only with the releases of Pillow whose layout it knows. Where it is missing,
Pillow does the work, and hardly a pixel differs by more than 1.
"""

from __future__ import annotations

import PIL
from PIL import Image

try:
    from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer
except ImportError:  # no wheel for this machine
    Resizer = None

KNOWN = range(11, 14)  # Pillow's major versions


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The grey or RGB image (or RGBA, its alpha without meaning) at another size (width, height)."""
    if _RESIZER is None:
        image = image if image.mode != "RGBA" else image.convert("RGB")
        return image.resize(size, Image.Resampling.BICUBIC)
    smaller = Image.new(image.mode, size, None)
    _RESIZER.resize_pil(image, smaller, _BICUBIC)
    return smaller


_RESIZER = Resizer() if Resizer is not None and int(PIL.__version__.split(".")[0]) in KNOWN else None
_BICUBIC = ResizeOptions(ResizeAlg.convolution(FilterType.catmull_rom), use_alpha=False) if _RESIZER else None
