"""Fetches images from the web: many at once, within each host's limits, never from a private address.

Every failure has a reason. The public names are imported when they are first used, because importing aiohttp and its
certificates takes half a CPU second.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.fetch.fetcher import Fetcher
    from curate.fetch.outage import NetworkDown
    from curate.fetch.outcome import Fetched

__all__ = ["Fetched", "Fetcher", "NetworkDown"]

HOMES = {"Fetched": "outcome", "Fetcher": "fetcher", "NetworkDown": "outage"}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it.

    Raises:
        AttributeError: there is no such name.
    """
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
