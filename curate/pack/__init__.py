"""Samples of several tasks mixed, shuffled and packed into training sequences."""

from __future__ import annotations

from curate.pack.run import pack
from curate.pack.settings import PackSettings

__all__ = ["PackSettings", "pack"]
