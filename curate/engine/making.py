"""What `_manifest.json` says about how a folder was made: versions of software, the time, and how long it took."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

SOFTWARE = ("pyarrow", "pillow", "cykooz.resizer", "simplejpeg", "numpy", "regex", "aiohttp")


def software() -> dict[str, str]:
    """Return the versions of Python and of the libraries that the bytes of the output depend on."""
    return {"python": platform.python_version()} | {name: _version(name) for name in SOFTWARE}


@cache
def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # a library that has no wheel for this machine
        return "none"


def took_s(manifest: Mapping[str, Any]) -> float:
    """Return the seconds from a run's start to its end, with pauses in which it was stopped; from its manifest."""
    begun, ended = (datetime.fromisoformat(manifest[name]) for name in ("started", "finished"))
    return (ended - begun).total_seconds()


def now() -> str:
    """Return the time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
