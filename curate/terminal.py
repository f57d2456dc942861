"""Texts that nobody vouches for, as a terminal may be given them; numbers as people read them."""

from __future__ import annotations

import json
import logging
import os
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def printable(text: str, most: int = 400) -> str:
    """The text on one line, cut after `most` characters, with what does not print by its code."""
    shown = "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode()
        for c in text[:most]
    )
    return f"{shown} … {len(text) - most:,} characters more" if len(text) > most else shown


def settings_said(settings: Mapping[str, Any]) -> str:
    """A rule's settings as they are shown: `min_side=200`, without those that are empty and whose plug-in it is."""
    shown = {
        name: value for name, value in settings.items() if value not in ("", None, []) and name != "plugin"
    }
    return " ".join(f"{name}={value}" for name, value in shown.items())


def plural(count: int, noun: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def bytes_said(count: int) -> str:
    """A size as people read it: `34.5 MB`."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:,.1f} {unit}"


def duration_said(seconds: float) -> str:
    """A time as people read it: `2 h 5 min 12 s`; a clock that was set back leaves none to be told."""
    if seconds < 0:
        return "a time that nobody knows, as the clock was set back"
    whole = int(seconds)
    parts = ((whole // 3600, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "under a second"


LOG = "CURATE_LOG"  # `json`: what a person would read is a JSON object a line
METRICS = "CURATE_METRICS"  # a file of metrics to keep up to date


def logs_json() -> bool:
    """Whether lines on standard error are JSON objects."""
    return os.environ.get(LOG) == "json"


def json_line(level: str, message: str, **more: object) -> str:
    """One line of a log that programs read."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps(
        {"time": now, "level": level, "message": message, **more}, ensure_ascii=False, default=str
    )


class JsonLines(logging.Formatter):
    """Records of a log as JSON objects."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        return json_line(record.levelname.lower(), record.getMessage(), logger=record.name)
