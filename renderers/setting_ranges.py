"""Check that the numbers in a renderer's settings are within their ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_ranges(settings: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Check each setting named in `ranges`: its number must be from the least to the largest value, both allowed.

    If a setting is a tuple, each of its numbers is checked, and it must not be empty.

    Raises:
        ValueError: a number is out of its range, or a tuple is empty.
    """
    for name, (least, largest) in ranges.items():
        value = getattr(settings, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not numbers or not all(least <= one <= largest for one in numbers):
            raise ValueError(f"{name} = {value!r} is not from {least:,} to {largest:,}")
