"""Which published column is which of ours: the manifest's names, as written or else in other case."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from curate.errors import InputError
from curate.manifest import Manifest
from curate.sources import DETAIL, PROBLEM

OURS = ("url", "image", "image_path", "width", "height", "text", "clip_score")
IMAGES = ("url", "image", "image_path")


def found(names: Collection[str], manifest: Manifest) -> dict[str, str]:
    """Our columns that are there, each with its published name.

    Raises:
        InputError: nothing to read the text from, or no image and no address of one.
    """
    there = {}
    for ours in (*OURS, *(name for name in manifest.columns if name not in OURS)):
        name = first(names, manifest.columns.get(ours, (ours,)))
        if name is not None:
            there[ours] = name
    if "text" not in there:
        raise InputError(_missing("text", ("text",), names, manifest))
    if not any(name in there for name in IMAGES):
        raise InputError(_missing("an image or its address", IMAGES, names, manifest))
    return there


def available(schema: pa.Schema, manifest: Manifest) -> set[str]:
    """Which of our columns these raw columns give.

    Raises:
        InputError: see `found`.
    """
    return set(found(schema.names, manifest))


def first(names: Collection[str], wanted: Collection[str]) -> str | None:
    """The first wanted name that is there as written, else in other case."""
    folded = {name.casefold(): name for name in reversed(list(names))}
    exact = (name for name in wanted if name in names)
    loose = (folded[name.casefold()] for name in wanted if name.casefold() in folded)
    return next(exact, None) or next(loose, None)


def _missing(what: str, ours: Collection[str], names: Collection[str], manifest: Manifest) -> str:
    wanted = [name for column in ours for name in manifest.columns.get(column, (column,))]
    shown = sorted(name[:40] for name in set(names) - {PROBLEM, DETAIL})
    has = ", ".join(shown[:30]) or "none"
    return f"no column for {what}: looked for {', '.join(wanted)}; the input has: {has}"
