"""Mixes, shuffles and packs samples of several tasks into training sequences."""

from __future__ import annotations

from curate.packing.run import pack
from curate.packing.settings import PackSettings

__all__ = ["PackSettings", "pack"]
