"""Which published column is which of ours: the manifest's names, as written or else in other case."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from curate.errors import InputError
from curate.manifest.settings import Manifest
from curate.sources import DETAIL, PROBLEM, ROW

IMAGES = ("url", "image", "image_path")
OURS = (*IMAGES, "width", "height", "text", "clip_score")

Needs = tuple[tuple[str, tuple[str, ...]], ...]  # what it is, and the columns of which one is enough

AN_IMAGE = ("an image or its address", IMAGES)
NEEDS: dict[str, Needs] = {
    "pairs": (("text", ("text",)), AN_IMAGE),
    "questions": (("question", ("question",)), ("answer", ("answer", "answers")), AN_IMAGE),
    "regions": (("text", ("text",)), ("box", ("box", "box_width")), AN_IMAGE),
    "grit": (("text", ("text",)), ("labels", ("noun_chunks", "ref_exps")), AN_IMAGE),
    "text": (("text", ("text",)),),
    "dialogues": (("messages", ("messages", "question")),),
}
GIVES = {
    "dialogues": {"text"},
    "questions": {"text", "question", "answer"},
    "regions": {"regions"},
    "grit": {"regions"},
}


def found(names: Collection[str], manifest: Manifest) -> dict[str, str]:
    """Our columns that are there, each with its published name.

    Raises:
        InputError: a column is missing that the adapter needs, or there is no image and no address of one.
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
    """Which of our columns these raw columns give.

    Of lists that are yet to be unfolded the fields are not known: they are taken to be there.

    Raises:
        InputError: see `found`.
    """
    lists = set(manifest.input.explode) & set(schema.names)
    every = (name for names in manifest.columns.values() for name in names)
    inside = [name for name in every if name.partition(".")[0] in lists]
    return set(found([*schema.names, *inside], manifest)) | GIVES.get(manifest.adapter, set())


def names_read(manifest: Manifest) -> set[str]:
    """Every published name that the adapter of pairs looks for, those of the key and of `only` among them."""
    named = {name for names in manifest.columns.values() for name in names}
    return named | {
        *OURS,
        *manifest.columns,
        *manifest.key,
        *manifest.only,
        manifest.input.swapped_sides_with,
    }


def first(names: Collection[str], wanted: Collection[str]) -> str | None:
    """The first wanted name that is there as written, else in other case."""
    folded = {name.casefold(): name for name in reversed(list(names))}
    exact = (name for name in wanted if name in names)
    loose = (folded[name.casefold()] for name in wanted if name.casefold() in folded)
    return next(exact, None) or next(loose, None)


def _missing(what: str, ours: Collection[str], names: Collection[str], manifest: Manifest) -> str:
    wanted = [name for column in ours for name in manifest.columns.get(column, (column,))]
    shown = sorted(name[:40] for name in set(names) - {PROBLEM, DETAIL, ROW})
    has = ", ".join(shown[:30]) or "none"
    return f"no column for {what}: looked for {', '.join(wanted)}; the input has: {has}"
