"""Name the first difference between two requests: a folder goes on with the same request, and refuses another one."""

from __future__ import annotations

from typing import Any


def first_difference(before: Any, now: Any, path: str = "") -> str | None:
    """Return in words where two trees of plain data first differ; None if they are equal.

    Args:
        before: the data of the folder ("there" in the words).
        now: the data that was asked for ("here").
        path: where in a larger tree these two are.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        for name in before | now:
            below = f"{path}.{name}".removeprefix(".")
            if found := first_difference(before.get(name), now.get(name), below):
                return found
        return None
    if isinstance(before, list | tuple) and isinstance(now, list | tuple):
        for number, (old, new) in enumerate(zip(before, now, strict=False)):
            if found := first_difference(old, new, f"{path}[{number}]"):
                return found
        return f"{path} has {len(before)} there and {len(now)} here" if len(before) != len(now) else None
    if before == now:
        return None
    return f"{path} is {_short(before)} there and {_short(now)} here"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
