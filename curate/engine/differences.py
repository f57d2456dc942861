"""Where two requests differ, in words: the same command goes on in a folder, another is refused."""

from __future__ import annotations

from typing import Any


def first_difference(before: Any, now: Any, path: str = "") -> str | None:
    """Where two trees of plain data first differ, in words; None where they do not."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in before | now:
            below = f"{path}.{name}".removeprefix(".")
            if found := first_difference(before.get(name), now.get(name), below):
                return found
        return None
    if isinstance(before, list | tuple) and isinstance(now, list | tuple) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return next((f for i, (b, n) in pairs if (f := first_difference(b, n, f"{path}[{i}]"))), None)
    if before == now:
        return None
    return f"{path} is {_short(before)} there and {_short(now)} here"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
