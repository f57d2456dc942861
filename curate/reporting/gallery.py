"""The samples that a report shows: some kept ones, and some dropped for each reason.

Keys are hashes, so the rows with the smallest keys are a random sample, and the same one every time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.staged_pairs import sha256_of
from curate.reporting.marks import TextPiece, pieces, plain
from curate.reporting.sampling import IMAGE_GROUPS, SHOWN, Kept, evenly, read_rows
from curate.reporting.thumbnails import data_urls
from curate.storage.store import Store

KEPT_CARDS = 48
DROPPED_CARDS = 12  # for each reason
REASONS = 40  # the most frequent ones are shown
REGIONS = 400  # regions drawn on an image at most
COLOURS = 4
IMAGES = 6  # of a dialogue: at most so many are shown
TURNS = 6  # of a dialogue: at most so many are shown


@dataclass(frozen=True)
class Shape:
    """A region to be drawn; `points` are its corners as SVG text (`x,y x,y …`), in pixels of the full image."""

    points: str
    text: str
    colour: int


@dataclass(frozen=True)
class Card:
    """One sample to be shown."""

    key: str
    reason: str  # 'kept', or the reason why it was dropped
    task: str
    pieces: list[TextPiece]
    facts: list[tuple[str, str]]
    detail: str = ""
    width: int = 0
    height: int = 0
    shapes: list[Shape] = field(default_factory=list)
    more_shapes: int = 0
    image: str | None = None  # a data: URL
    has_image: bool = False
    turns: list[tuple[str, list[TextPiece]]] = field(
        default_factory=list
    )  # of a dialogue: who speaks, and what
    images: list[str | None] = field(default_factory=list)  # of a dialogue: data: URLs


def cards(store: Store, manifest: Mapping[str, Any], kept: Kept, dropped: pa.Table) -> list[Card]:
    """The gallery's cards: kept samples first, then dropped ones by reason, in the manifest's order.

    `manifest` is the whole of `_manifest.json`; `dropped` holds dropped rows (DROPPED), all or a sample.
    """
    columns = (*SHOWN, "prompt", "target", *(("messages", "images") if kept.dialogues else ()))
    found = sorted(read_rows(store, kept, _pick_kept(kept.table), columns), key=lambda row: row["key"])
    made = [_kept_card(row) for row in found]
    bodies = [(row["image"] or {}).get("bytes") for row in found]
    fallen = [
        row
        for reason in list(manifest["dropped"])[:REASONS]
        for row in _smallest(dropped, pc.equal(dropped["reason"].cast(pa.string()), reason), DROPPED_CARDS)
    ]
    alike = _same_image(store, kept, fallen)
    rules = manifest["manifest"]["rules"]
    made += [_dropped_card(row, rules, alike.get(row["key"])) for row in fallen]
    bodies += [(alike.get(row["key"]) or {}).get("bytes") for row in fallen]
    shown = [one["bytes"] for row in found for one in (row.get("images") or ())[:IMAGES]]
    urls = data_urls(bodies + shown)
    more = iter(urls[len(bodies) :])
    made = [replace(card, images=[next(more) for _ in card.images]) for card in made]
    return [replace(card, image=url) for card, url in zip(made, urls, strict=False)]


def _pick_kept(table: pa.Table) -> pa.Table:
    """The kept rows to show: up to equally many of each task, from at most IMAGE_GROUPS row groups."""
    places = evenly(pc.unique(table["place"]).to_pylist(), IMAGE_GROUPS)
    near = table.filter(pc.is_in(table["place"], pa.array(places, pa.int32())))
    tasks = pc.unique(near["task"]).to_pylist()
    parts = [near.slice(0, 0)]
    for task in tasks:
        of_task = near.filter(pc.equal(near["task"], task))
        parts.append(
            of_task.take(pc.select_k_unstable(of_task, KEPT_CARDS // len(tasks), [("key", "ascending")]))
        )
    return pa.concat_tables(parts)


def _smallest(table: pa.Table, mask: pa.ChunkedArray, count: int) -> list[dict[str, Any]]:
    """At most `count` of the rows where `mask` is true: those with the smallest keys."""
    rows = table.filter(mask)
    order = pc.sort_indices(rows, [("key", "ascending"), ("source", "ascending")])
    found: list[dict[str, Any]] = rows.take(order[:count]).to_pylist()
    return found


def _same_image(store: Store, kept: Kept, fallen: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Images to show for dropped rows, by key: the image of a kept row with the same URL or the same bytes."""
    urls = {row["url"] for row in fallen if row["url"] and row["stage"] in ("seen", "across")}
    hashes = {h for row in fallen if (h := _sha256(row))}
    table = kept.table
    mask = pc.or_(
        pc.is_in(table["url"], pa.array(sorted(urls), pa.string())),
        pc.is_in(table["sha256"], pa.array(sorted(hashes), pa.string())),
    )
    places = evenly(pc.unique(table["place"].filter(mask)).to_pylist(), IMAGE_GROUPS)
    picked = table.filter(pc.and_(mask, pc.is_in(table["place"], pa.array(places, pa.int32()))))
    found: dict[str, dict[str, Any]] = {}
    for row in read_rows(store, kept, picked, ("url", "sha256", "image", "width", "height")):
        if row["image"]:
            image = {"bytes": row["image"]["bytes"], "width": row["width"], "height": row["height"]}
            found[row["sha256"]] = found[row["url"]] = image
    matched = ((row["key"], found.get(_sha256(row)) or found.get(row["url"])) for row in fallen)
    return {key: image for key, image in matched if image}


def _sha256(row: Mapping[str, Any]) -> str:
    return (sha256_of(row["detail"]) or "") if row["stage"] == "across" else ""


def _kept_card(row: Mapping[str, Any]) -> Card:
    regions = [one for one in row["regions"] or () if _drawable(one["quad"])]
    size = [("size", f"{row['width']:,} × {row['height']:,}")] if row["width"] else []
    score = [] if row["clip_score"] is None else [("CLIP", f"{row['clip_score']:.3f}")]
    string = plain(f"{row['prompt'] or ''}{row['target'] or ''}", 1200)
    turns, images = row.get("messages") or [], row.get("images") or []
    return Card(
        key=row["key"],
        reason="kept",
        task=row["task"] or "",
        pieces=[] if turns else pieces(row["text"] or ""),
        turns=[(turn["role"], pieces(turn["content"] or "")) for turn in turns[:TURNS]],
        images=[None] * len(images[:IMAGES]),
        facts=[
            *size,
            *score,
            ("boxes", f"{len(regions):,}") if regions else ("", ""),
            ("turns", f"{len(turns):,}") if turns else ("", ""),
            ("images", f"{len(images):,}") if images else ("", ""),
            ("language", row["language"] or ""),
            *_origin(row),
            ("row", f"{row['row']:,} of {row['shard']}"),
            ("trained on", string),
        ],
        width=row["width"] or 0,
        height=row["height"] or 0,
        shapes=[_shape(one, number) for number, one in enumerate(regions[:REGIONS]) if not turns],
        more_shapes=0 if turns else max(0, len(regions) - REGIONS),
        has_image=bool(row["image"]),
    )


def _dropped_card(row: Mapping[str, Any], rules: Mapping[str, Any], image: Mapping[str, Any] | None) -> Card:
    return Card(
        key=row["key"],
        reason=row["reason"],
        task="",
        pieces=pieces(row["text"] or "", row["reason"], rules.get(row["reason"]) or {}),
        facts=[("stage", row["stage"]), *_origin(row)],
        detail=plain(row["detail"] or "", 20 if _sha256(row) else 160),
        width=image["width"] if image else 0,
        height=image["height"] if image else 0,
        has_image=bool(image),
    )


def _origin(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("url", plain(row["url"] or "", 300)),
        ("source", plain(row["source"] or "", 300)),
        ("key", row["key"]),
    ]


def _drawable(quad: Sequence[float] | None) -> bool:
    return quad is not None and all(isfinite(value) for value in quad)


def _shape(region: Mapping[str, Any], number: int) -> Shape:
    quad = region["quad"]
    corners = " ".join(f"{x:.2f},{y:.2f}" for x, y in zip(quad[0::2], quad[1::2], strict=True))
    return Shape(corners, plain(region["text"] or "", 300), number % COLOURS)
