"""Finds packs and exports that were made of a run, and the commands that make them again of a new version of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from curate.errors import CurateError
from curate.storage.filesystems import scheme
from curate.storage.finished import read_manifest
from curate.storage.product_notes import absolute, noted_products
from curate.storage.store import Store

BESIDE = 1000  # the most folders beside a run's folder that are looked at
DEPTH = 8  # the most steps from a run: a pack of the run, an export of the pack, and so on


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """Packs or an export that were made of the older version."""

    kind: str  # packs or export
    folder: str
    remake: str  # the command that makes it of the new version


def products(source: Store, new: str) -> list[Product]:
    """Return the packs and exports made of a run, found by the run's notes and among the folders beside it.

    Args:
        source: the run's folder.
        new: the folder of the new version, which replaces the run's folder in the commands.
    """
    return [*_of(source.uri, {absolute(source.uri): absolute(new)}, set(), DEPTH)]


def _of(source: str, renamed: dict[str, str], seen: set[str], depth: int) -> Iterator[Product]:
    old = absolute(source)
    for folder in sorted({*_noted(source), *_neighbours(source)}):
        if scheme(folder) not in ("file", scheme(source)):  # no note may send a request to another server
            continue
        manifest = _manifest(folder)
        made_of = [absolute(str(one)) for one in (manifest or {}).get("made_of", ())]
        if manifest is None or folder in seen or old not in made_of:
            continue
        seen.add(folder)
        anew = f"{folder}-anew"
        yield Product(
            kind=str(manifest["kind"]),
            folder=folder,
            remake=_command(manifest, [renamed.get(one, one) for one in made_of], anew),
        )
        if depth:
            yield from _of(folder, {**renamed, folder: anew}, seen, depth - 1)


def _command(manifest: Mapping[str, Any], sources: list[str], out: str) -> str:
    verb = "pack" if manifest["kind"] == "packs" else "export"
    to = ["--to", str(manifest.get("to"))] if verb == "export" else []
    options = [str(one) for one in manifest.get("options", ())]
    return shlex.join(["curate", verb, *sources, *to, "--out", out, *options])


def _noted(source: str) -> Iterator[str]:
    try:
        yield from noted_products(Store(source))
    except (CurateError, OSError):
        return


def _neighbours(source: str) -> Iterator[str]:
    """Yield the folders beside one on a disk: older versions of curate left no notes of their products."""
    if "://" in source:
        return
    try:
        beside = sorted(Path(absolute(source)).parent.iterdir())[:BESIDE]
        yield from (str(one) for one in beside if (one / "_manifest.json").is_file())
    except OSError:
        return


def _manifest(folder: str) -> dict[str, Any] | None:
    """Return the manifest of a folder of packs or of an export; None for any other folder."""
    try:
        manifest = read_manifest(Store(folder))
    except (CurateError, OSError):
        return None
    return manifest if manifest is not None and manifest.get("kind") in ("packs", "export") else None
