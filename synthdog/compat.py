"""What synthtiger 1.2.1 and imgaug 0.4 expect of numpy 1 and Pillow 9, restored while they need it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
from PIL import ImageFont

SCTYPES = {
    "int": [np.int8, np.int16, np.int32, np.int64],
    "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
    "float": [np.float16, np.float32, np.float64],
    "complex": [np.complex64, np.complex128],
    "others": [bool, object, bytes, str, np.void],
}


@contextmanager
def legacy() -> Iterator[None]:
    """Within the block `np.sctypes`, `np.bool` and `FreeTypeFont.getsize` exist."""
    wanted = (
        (np, "sctypes", SCTYPES),
        (np, "bool", np.bool_),
        (ImageFont.FreeTypeFont, "getsize", _getsize),
    )
    added = [(owner, name) for owner, name, _ in wanted if not hasattr(owner, name)]
    for owner, name, value in wanted:
        if (owner, name) in added:
            setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name in added:
            delattr(owner, name)


def synthtiger() -> ModuleType:
    """The synthtiger package, imported under today's numpy and Pillow."""
    with legacy():
        return importlib.import_module("synthtiger")


def _getsize(font: ImageFont.FreeTypeFont, text: str, direction: str | None = None) -> tuple[int, int]:
    """The size of `text` (px) as Pillow 9 gave it: width of ink or advance, height from the ascender down."""
    left, _top, right, bottom = font.getbbox(text, direction=direction)
    return int(right - left), int(bottom)
