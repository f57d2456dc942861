"""What a manifest says of how a folder was made: the versions of software, when it was made, and how long it took."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

SOFTWARE = ("pyarrow", "pillow", "cykooz.resizer", "simplejpeg", "numpy", "regex", "aiohttp")


def software() -> dict[str, str]:
    """The versions that decide what bytes come out."""
    return {"python": platform.python_version()} | {name: _version(name) for name in SOFTWARE}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # there is no wheel of it for this machine
        return "none"


def took_s(manifest: Mapping[str, Any]) -> float:
    """Seconds from a finished run's beginning to its end, with any pause between a kill and going on."""
    begun, ended = (datetime.fromisoformat(manifest[name]) for name in ("started", "finished"))
    return (ended - begun).total_seconds()


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
