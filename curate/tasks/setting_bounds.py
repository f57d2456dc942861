"""Check the numbers in a dialect: each must be within its bounds, and those that a cost's rule reads must be given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.tasks.image_cost import Cost

SIDE, AREA, COUNT = (
    1_000_000,
    10**12,
    1_000_000,
)  # the most pixels of a side and of an image, and the most tokens
BOUNDS: dict[str, Mapping[str, tuple[float, float]]] = {  # by table, each setting's least and largest value
    "cost": {
        "tokens": (0, COUNT),
        "width": (0, SIDE),
        "height": (0, SIDE),
        "patch": (1, 10_000),
        "merge": (1, 1000),
        "min_pixels": (0, AREA),
        "max_pixels": (0, AREA),
        "max_ratio": (1, SIDE),
        "tile": (0, SIDE),
        "max_tiles": (1, 1000),
        "grids": (1, 1000),
        "side_tokens": (0, 1000),
        "most_tiles": (0, 1000),
        "many": (0, COUNT),
    },
    "cost.first": {
        "min_area": (1, AREA),
        "max_area": (1, AREA),
        "min_side": (1, SIDE),
        "max_ratio": (1, SIDE),
        "ratio": (1, SIDE),
    },
    "image": {"most": (0, COUNT)},
    "places": {"parts": (1, SIDE), "most": (0, SIDE), "decimals": (0, 15), "digits": (0, 15)},
    "": {"std": (1e-6, 1e6)},
}
READ: dict[str, tuple[str, ...]] = {  # the settings of a cost that a rule cannot do without
    "constant": (),
    "smart_resize": ("max_pixels",),
    "tiles": ("tokens", "tile"),
    "anyres": ("tile", "side_tokens", "grids"),
}


def check_bounds(dialect: Any) -> None:
    """Check the numbers of a `Dialect`.

    Raises:
        ValueError: a number is out of its bounds, or is not there although its rule needs it.
    """
    for table, bounds in BOUNDS.items():
        settings = dialect
        for part in filter(None, table.split(".")):
            settings = getattr(settings, part)
        if settings is None:  # no first resizing
            continue
        for name, (least, largest) in bounds.items():
            value = getattr(settings, name)
            if not all(least <= one <= largest for one in _numbers(value)):
                raise ValueError(
                    f"{table}{table and '.'}{name} = {value!r} is not from {least:,} to {largest:,}"
                )
    _check_read(dialect.cost)


def _check_read(cost: Cost) -> None:
    for name in READ[cost.rule]:
        if not getattr(cost, name):
            raise ValueError(f"cost.{name} = {getattr(cost, name)!r}: the rule {cost.rule} needs it above 0")
    if cost.rule == "smart_resize" and cost.min_pixels > cost.max_pixels:
        raise ValueError(f"cost.min_pixels = {cost.min_pixels} is above cost.max_pixels = {cost.max_pixels}")
    if cost.first and cost.first.min_area > cost.first.max_area:
        raise ValueError(
            f"cost.first.min_area = {cost.first.min_area} is above max_area = {cost.first.max_area}"
        )


def _numbers(value: Any) -> list[float]:
    """All numbers in a value: itself, or those in its tuples."""
    return [number for one in value for number in _numbers(one)] if isinstance(value, tuple) else [value]
