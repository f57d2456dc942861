"""Settings for any rule, of the types that its signature names: for tests that hold for every rule."""

from __future__ import annotations

from typing import Any

import msgspec

from filters import RULES

VALUES = (1, "", ["<x>"])
TRUE = {
    "keep": ["en"],
    "min_score": 0.5,
    "max_distance": 1,
}  # settings that only certain values make sense for


def some_settings(rule: str) -> dict[str, Any]:
    """A value for each of the rule's settings."""
    settings = RULES[rule].settings
    return {name: TRUE.get(name, _some(setting.type)) for name, setting in settings.items()}


def _some(kind: object) -> object:
    return next(value for value in VALUES if _fits(value, kind))


def _fits(value: object, kind: object) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True
