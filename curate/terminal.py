"""Format untrusted texts so that a terminal can print them safely, and numbers so that people can read them."""

from __future__ import annotations

import json
import logging
import os
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def printable(text: str, most: int = 400) -> str:
    """Return the text on one line, with an escape such as `\\x1b` for each character that cannot be printed.

    A text longer than `most` characters is cut, and the number of characters that were left out is added.
    """
    shown = "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode()
        for c in text[:most]
    )
    return f"{shown} … {len(text) - most:,} characters more" if len(text) > most else shown


def settings_said(settings: Mapping[str, Any]) -> str:
    """Return a rule's settings as users see them, `min_side=200 …`, without empty values and the setting `plugin`."""
    shown = {
        name: value for name, value in settings.items() if value not in ("", None, []) and name != "plugin"
    }
    return " ".join(f"{name}={value}" for name, value in shown.items())


def plural(count: int, noun: str) -> str:
    """Return the count and the noun, with an `s` unless the count is 1: `1 row`, `1,200 rows`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def bytes_said(count: int) -> str:
    """Return a number of bytes as people read it: `34.5 MB`; 1 kB is 1,000 bytes."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:,.1f} {unit}"


def duration_said(seconds: float) -> str:
    """Return a time as people read it: `2 h 5 min 12 s`; it is unknown (negative) if the clock was set back."""
    if seconds < 0:
        return "an unknown time, as the clock was set back"
    whole = int(seconds)
    parts = ((whole // 3600, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "under a second"


LOG = "CURATE_LOG"  # environment variable; `json`: each line on standard error is a JSON object
METRICS = "CURATE_METRICS"  # environment variable; the path of a file of metrics that a run keeps up to date


def logs_json() -> bool:
    """Whether the user wants lines on standard error as JSON objects."""
    return os.environ.get(LOG) == "json"


def json_line(level: str, message: str, **more: object) -> str:
    """Return one line of the log as a JSON object: time (UTC), level, message, and the fields in `more`."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps(
        {"time": now, "level": level, "message": message, **more}, ensure_ascii=False, default=str
    )


class JsonLines(logging.Formatter):
    """Format log records as JSON objects, one a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one record as a line of JSON."""
        return json_line(record.levelname.lower(), record.getMessage(), logger=record.name)
