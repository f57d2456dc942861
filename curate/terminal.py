"""Texts that nobody vouches for, as a terminal may be given them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any


def printable(text: str, most: int = 400) -> str:
    """The text on one line, cut after `most` characters, with what does not print by its code."""
    shown = "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode()
        for c in text[:most]
    )
    return f"{shown} … {len(text) - most:,} characters more" if len(text) > most else shown


def settings_said(settings: Mapping[str, Any]) -> str:
    """A rule's settings as they are shown: `min_side=200`, without those that are empty."""
    return " ".join(f"{name}={value}" for name, value in settings.items() if value not in ("", None, []))


def plural(count: int, noun: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
