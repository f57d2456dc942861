"""Restore names of numpy 1 and Pillow 9 that synthtiger 1.2.1 and imgaug 0.4 need, while they are being used.

imgaug imports scipy's statistics; it takes 70 MB and most of the time that importing synthtiger takes. Drawing
strengths does not need it. Applying effects does, but this package applies effects itself. So imgaug is imported only
at its first use.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

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


class Later(ModuleType):
    """A placeholder for a module, which is imported when an attribute of it is first read."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system asks of every module
            raise AttributeError(name)
        with legacy():
            return getattr(importlib.import_module(self.__name__), name)


def synthtiger() -> ModuleType:
    """The synthtiger package, imported under today's numpy and Pillow."""
    with legacy(), _later("imgaug", "augmenters"):
        return importlib.import_module("synthtiger")


@contextmanager
def _later(package: str, part: str) -> Iterator[None]:
    """Within the block, importing the package or its module `part` gives a `Later` instead."""
    names = (package, f"{package}.{part}")
    standing = {name: Later(name) for name in names if name not in sys.modules}
    if len(standing) < len(names):  # one of them is imported already
        yield
        return
    standing[package].__dict__[part] = standing[names[1]]
    sys.modules |= standing
    try:
        yield
    finally:
        for name in standing:
            del sys.modules[name]


def _getsize(font: ImageFont.FreeTypeFont, text: str, direction: str | None = None) -> tuple[int, int]:
    """The size of `text` (px) as Pillow 9 gave it: width of ink or advance, height from the ascender down."""
    left, _top, right, bottom = font.getbbox(text, direction=direction)
    return int(right - left), int(bottom)
