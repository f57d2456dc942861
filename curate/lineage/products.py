"""Packs and exports that were made of a run, and the commands that make them anew of another version of it."""

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

BESIDE = 1000  # folders beside a run's that are looked at
DEPTH = 8  # exports of packs of a run, and so on


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was made of an older version, and how it is made of the new one."""

    kind: str  # packs or export
    folder: str
    remake: str  # a command


def products(source: Store, new: str) -> list[Product]:
    """What is known to be made of the folder, by its own notes and by what lies beside it.

    `new`: the folder that is to take its place in the commands.
    """
    return [*_of(source.uri, {absolute(source.uri): absolute(new)}, set(), DEPTH)]


def _of(source: str, renamed: dict[str, str], seen: set[str], depth: int) -> Iterator[Product]:
    old = absolute(source)
    for folder in sorted({*_noted(source), *_neighbours(source)}):
        if scheme(folder) not in ("file", scheme(source)):  # a note is no reason to ask a server
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
    """Folders beside one on a disk: what older versions made left no note."""
    if "://" in source:
        return
    try:
        beside = sorted(Path(absolute(source)).parent.iterdir())[:BESIDE]
        yield from (str(one) for one in beside if (one / "_manifest.json").is_file())
    except OSError:
        return


def _manifest(folder: str) -> dict[str, Any] | None:
    """The manifest of packs or of an export; None for anything else."""
    try:
        manifest = read_manifest(Store(folder))
    except (CurateError, OSError):
        return None
    return manifest if manifest is not None and manifest.get("kind") in ("packs", "export") else None
