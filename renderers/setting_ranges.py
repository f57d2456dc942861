"""Numbers that a renderer's settings may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_ranges(settings: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """See that each number is from its least to its largest value; of a list, each of its numbers, and that it has any.

    Raises:
        ValueError: one is not.
    """
    for name, (least, largest) in ranges.items():
        value = getattr(settings, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not numbers or not all(least <= one <= largest for one in numbers):
            raise ValueError(f"{name} = {value!r} is not from {least:,} to {largest:,}")
