"""Adapters: a published table becomes curate's own columns. One function for each shape of data."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from curate.adapters.mapping import available
from curate.adapters.pairs import pairs
from curate.errors import ManifestError, nearest
from curate.manifest import Manifest

Adapter = Callable[[pa.Table, Manifest, str, int], pa.Table]

ADAPTERS: dict[str, Adapter] = {"pairs": pairs}


def adapter(name: str) -> Adapter:
    """The adapter of that name: (raw rows, manifest, name of the input, number of the first row) → SAMPLE.

    Raises:
        ManifestError: there is none.
    """
    if name not in ADAPTERS:
        raise ManifestError(f"no adapter {name!r}{nearest(name, ADAPTERS)}")
    return ADAPTERS[name]


__all__ = ["ADAPTERS", "Adapter", "adapter", "available", "pairs"]
