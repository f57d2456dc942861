"""Find the published column for each of curate's columns, by the manifest's names: exact ones first, then any case."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from curate.errors import InputError
from curate.manifest.settings import Manifest
from curate.sources import DETAIL, PROBLEM, ROW

IMAGES = ("url", "image", "image_path")
OURS = (*IMAGES, "width", "height", "text", "clip_score")

Needs = tuple[tuple[str, tuple[str, ...]], ...]  # what an adapter needs, and the columns that can give it

AN_IMAGE = ("an image or its address", IMAGES)
NEEDS: dict[str, Needs] = {
    "pairs": (("text", ("text",)), AN_IMAGE),
    "questions": (("question", ("question",)), ("answer", ("answer", "answers")), AN_IMAGE),
    "regions": (("text", ("text",)), ("box", ("box", "box_width")), AN_IMAGE),
    "grit": (("text", ("text",)), ("labels", ("noun_chunks", "ref_exps")), AN_IMAGE),
    "text": (("text", ("text",)),),
    "dialogues": (("messages", ("messages", "question")),),
}
GIVES = {  # columns that an adapter makes, whatever the input is
    "dialogues": {"text"},
    "questions": {"text", "question", "answer"},
    "regions": {"regions"},
    "grit": {"regions"},
}


def found(names: Collection[str], manifest: Manifest) -> dict[str, str]:
    """Return those of curate's columns that the published columns `names` give, each with its published name.

    Raises:
        InputError: the adapter needs a column that is missing; for most adapters that includes an image or its URL.
    """
    there = {}
    for ours in (*OURS, *(name for name in manifest.columns if name not in OURS)):
        name = first(names, manifest.columns.get(ours, (ours,)))
        if name is not None:
            there[ours] = name
    for what, columns in NEEDS[manifest.adapter]:
        if not any(name in there for name in columns):
            raise InputError(_missing(what, columns, names, manifest))
    return there


def available(schema: pa.Schema, manifest: Manifest) -> set[str]:
    """Return which of curate's columns an input with this schema gives.

    The fields of lists that are unfolded later (`input.explode`) are not known yet; they are assumed to exist.

    Raises:
        InputError: see `found`.
    """
    lists = set(manifest.input.explode) & set(schema.names)
    every = (name for names in manifest.columns.values() for name in names)
    inside = [name for name in every if name.partition(".")[0] in lists]
    return set(found([*schema.names, *inside], manifest)) | GIVES.get(manifest.adapter, set())


def names_read(manifest: Manifest) -> set[str]:
    """Return every published name that the adapter `pairs` looks for, with those in the manifest's `key` and `only`."""
    named = {name for names in manifest.columns.values() for name in names}
    return named | {
        *OURS,
        *manifest.columns,
        *manifest.key,
        *manifest.only,
        manifest.input.swapped_sides_with,
    }


def first(names: Collection[str], wanted: Collection[str]) -> str | None:
    """Return the first of the `wanted` names that is in `names`; if none is, the first that is there in other case.

    The name is returned as `names` spells it; None if there is none.
    """
    folded = {name.casefold(): name for name in reversed(list(names))}
    exact = (name for name in wanted if name in names)
    loose = (folded[name.casefold()] for name in wanted if name.casefold() in folded)
    return next(exact, None) or next(loose, None)


def _missing(what: str, ours: Collection[str], names: Collection[str], manifest: Manifest) -> str:
    wanted = [name for column in ours for name in manifest.columns.get(column, (column,))]
    shown = sorted(name[:40] for name in set(names) - {PROBLEM, DETAIL, ROW})
    has = ", ".join(shown[:30]) or "none"
    return f"no column for {what}: looked for {', '.join(wanted)}; the input has: {has}"
