"""Describe why rows cannot be written, by the values that decided: `turn 2: <video>`, `<image>=2 images=1`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.coordinates import beyond_image
from curate.tasks.dialect import Dialect
from curate.tasks.formats import CONVERSATION, QWEN_VL
from curate.tasks.image_cost import Cost
from curate.tasks.row_faults import control_token
from curate.tasks.turns import BOX, IMAGE, PLACEHOLDER, ROLES, without_marks

LONGEST = 80  # at most so many characters of a text are quoted
TEXTS = ("text", "question", "answer")
READ = ("task", "language", "width", "height", "regions", "messages", *TEXTS)


class _FaultyRow(NamedTuple):
    """A row that cannot be written, its number of images, and the dialect that it was to be written in."""

    row: Mapping[str, Any]
    images: int
    dialect: Dialect

    @property
    def turns(self) -> list[tuple[str, str]]:
        """Role and content of each message."""
        turns = [turn or {} for turn in self.row.get("messages") or ()]
        return [(turn.get("role") or "", turn.get("content") or "") for turn in turns]

    @property
    def regions(self) -> list[dict[str, Any]]:
        """The regions of its images."""
        return [one or {} for one in self.row.get("regions") or ()]

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield where each text is (`turn 2: `), and the text without placeholders and marks of phrases."""
        said = pa.array([content for _, content in self.turns], pa.large_string())
        bare = (without_marks(said) if self.regions else said).to_pylist()
        for number, ((role, _), text) in enumerate(zip(self.turns, bare, strict=True), 1):
            yield f"turn {number}: ", text.replace(IMAGE, "") if role == "user" else text
        if self.row.get("task") != CONVERSATION:
            yield from (("", self.row[name]) for name in TEXTS if self.row.get(name))
            yield from (("", region["text"]) for region in self.regions if region.get("text"))


def fault_details(table: pa.Table, fault: pa.Array | pa.ChunkedArray, dialect: Dialect = QWEN_VL) -> pa.Array:
    """The values that decided for each row of SAMPLE or of a shard that has a fault (N strings); null for the others.

    `fault` (N) is what `row_faults` or `shard_faults` returns. The answer is also null for faults that need no values.
    """
    if fault.null_count == len(fault):
        return pa.nulls(len(fault), pa.string())
    places = np.flatnonzero(fault.is_valid().to_numpy(zero_copy_only=False))
    some = table.take(pa.array(places))
    images = np.zeros(len(places), np.int64)
    if "images" in table.column_names:
        images = pc.list_value_length(some["images"]).fill_null(0).to_numpy(zero_copy_only=False)
    rows = some.select([name for name in READ if name in table.column_names]).to_pylist()
    reasons = fault.take(pa.array(places)).to_pylist()
    said: list[str | None] = [None] * table.num_rows
    for place, reason, row, count in zip(places.tolist(), reasons, rows, images.tolist(), strict=True):
        if (tell := DETAILS.get(reason)) is not None:
            said[place] = tell(_FaultyRow(row, count, dialect))
    return pa.array(said, pa.string())


def elongated(width: int, height: int, cost: Cost) -> str:
    """The size and ratio of an image (sides in pixels) that a model's processor refuses, and its limit, as text."""
    ratio = max(width, height) / max(min(width, height), 1)
    return f"width={width} height={height} ratio={ratio:.4g} max_ratio={cost.max_ratio:g}"


def _role_unknown(faulty: _FaultyRow) -> str | None:
    found = ((n, role) for n, (role, _) in enumerate(faulty.turns, 1) if role not in ROLES)
    return next((f"turn {number}: {role[:LONGEST] or 'no role'}" for number, role in found), None)


def _role_order(faulty: _FaultyRow) -> str | None:
    roles = [role for role, _ in faulty.turns]
    talk = roles[1:] if roles[:1] == ["system"] else roles
    for place, role in enumerate(talk):
        wanted = ("user", "assistant")[place % 2]
        if role != wanted:
            before = f" after {talk[place - 1]}" if place else ""
            return f"turn {place + 1 + len(roles) - len(talk)}: {role}{before}, not {wanted}"
    return f"turn {len(roles)}: {roles[-1]} is the last, not assistant"


def _turn_empty(faulty: _FaultyRow) -> str | None:
    found = ((n, role) for n, (role, said) in enumerate(faulty.turns, 1) if not said.strip())
    return next((f"turn {number}: {role}" for number, role in found), None)


def _image_count(faulty: _FaultyRow) -> str:
    named = sum(said.count(IMAGE) for role, said in faulty.turns if role == "user")
    return f"{IMAGE}={named} images={faulty.images}"


def _placeholder(faulty: _FaultyRow) -> str | None:
    if (found := _first_in_text(faulty, PLACEHOLDER)) is not None:
        return found
    named = sum(said.count(BOX) for _, said in faulty.turns)
    return f"{BOX}={named} regions={len(faulty.regions)}"


def _control(faulty: _FaultyRow) -> str | None:
    return _first_in_text(faulty, control_token(faulty.dialect))


def _first_in_text(faulty: _FaultyRow, pattern: str) -> str | None:
    for where, text in faulty.texts():
        if (match := re.search(pattern, text)) is not None:
            return f"{where}{match[0][:LONGEST]}"
    return None


def _box_broken(faulty: _FaultyRow) -> str | None:
    row = faulty.row
    if row.get("task") == CONVERSATION:
        if (early := _box_before_images(faulty.turns)) is not None:
            return f"turn {early}: {BOX} before any image"
    elif min(row.get("width") or 0, row.get("height") or 0) < 1:
        return f"width={row.get('width')} height={row.get('height')}"
    quads = [(number, one.get("quad")) for number, one in enumerate(faulty.regions, 1)]
    sides = None if row.get("task") == CONVERSATION else (row["width"], row["height"])
    return next((f"region {number}: {quad}" for number, quad in quads if not _lies_in(quad, sides)), None)


def _box_before_images(turns: list[tuple[str, str]]) -> int | None:
    """The number (from 1) of the first turn with a box before any image; None where there is none."""
    for number, (role, said) in enumerate(turns, 1):
        if role == "user" and IMAGE in said:
            return None
        if BOX in said:
            return number
    return None


def _lies_in(quad: list[float | None] | None, sides: tuple[int, int] | None) -> bool:
    """Whether a quad is finite, and at least partly in the image (not checked with `sides` None)."""
    place = np.array([quad or [None] * 8], np.float64)
    if not np.isfinite(place).all():
        return False
    return sides is None or not beyond_image(place, *np.array(sides)[:, None]).any()


def _too_elongated(faulty: _FaultyRow) -> str:
    return elongated(faulty.row.get("width") or 1, faulty.row.get("height") or 1, faulty.dialect.cost)


def _not_in_dialect(faulty: _FaultyRow) -> str:
    said = f"task={faulty.row.get('task')} dialect={faulty.dialect.name}"
    if faulty.row.get("task") != CONVERSATION or not faulty.dialect.places.box:
        return said
    return (
        f"{said}: it puts images in front of their turn, and a box before the last one would change its image"
    )


def _span_not_in_text(faulty: _FaultyRow) -> str | None:
    text = faulty.row.get("text") or ""
    for one in faulty.regions:
        start, end = one["start"], one["end"]
        there = text[start:end] if start is not None and end is not None and 0 <= start < end else None
        if there is None or end > len(text) or (one["text"] is not None and there != one["text"]):
            return (
                f"start={start} end={end} of {len(text)} characters, phrase {(one['text'] or '')[:LONGEST]!r}"
            )
    return None


DETAILS: dict[str, Callable[[_FaultyRow], str | None]] = {
    "language_unknown": lambda faulty: f"language={faulty.row.get('language')}",
    "text_has_control_token": _control,
    "image_too_elongated": _too_elongated,
    "box_broken": _box_broken,
    "span_not_in_text": _span_not_in_text,
    "role_unknown": _role_unknown,
    "role_order": _role_order,
    "turn_empty": _turn_empty,
    "image_count": _image_count,
    "text_has_placeholder": _placeholder,
    "task_not_in_dialect": _not_in_dialect,
    "too_many_images": lambda faulty: f"images={faulty.images} most={faulty.dialect.image.most}",
}
