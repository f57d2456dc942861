"""Images from bytes as they came to bytes that any reader decodes to upright RGB: the side that asks.

The work itself is `curate.images.prepare`'s, in disposable child processes; nothing here decodes anything.

    children = Children(images.TARGET, count, limits, images.child_settings(manifest.image, rules))
    outcome = children.submit(body).result()  # a reason, or a value for:
    prepared = images.read_answer(outcome.value, body)
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from curate.images.sniffing import sniff

if TYPE_CHECKING:
    from curate.manifest.settings import ImageSettings

ON_FINGERPRINTS = frozenset({"image_in_evaluation_set", "similar_image"})  # rules that compare them
TARGET = "curate.images.prepare:preparer"
STORED = ("jpeg", "png", "webp")  # what a shard may hold
FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "avif")  # what may come in, at most

KEPT, ENCODED, SKIPPED = range(3)  # as it came; encoded again; not decoded, as its size is judged elsewhere
BOXES = struct.Struct("<I")  # bytes of the boxes, which are JSON
# One of these, index into FORMATS, turn, width, height, both before the image was shrunk, bytes of fingerprints;
# then these, then encoded bytes
ANSWER = struct.Struct("<BBBIIIIH")
FINGERPRINT_BYTES = 544  # as `curate.images.fingerprint` makes them, or none


@dataclass(frozen=True)
class Recipe:
    """How images are checked and stored. Sides are pixels."""

    formats: tuple[str, ...] = FORMATS
    max_pixels: int = 100_000_000
    max_side: int | None = None  # a longer long side is shrunk to it
    min_side: int | None = None  # a longer short side is shrunk to it
    quality: int = 90  # of JPEG
    strictness: str = "whole"  # or "readable": what Pillow shows, whatever of it is missing
    smallest_side: int = 0  # an image with a shorter side is not decoded
    blank_share: float | None = None  # one with more of its pixels in one colour is `image_blank`
    largest_ratio: float | None = None  # nor is one with long side / short side beyond this
    fingerprints: bool = False  # whether each image that is decoded gets its fingerprints
    boxed: bool = False  # whether boxes to be blurred stand before each image: see `with_boxes`

    def passes(self, width: int, height: int) -> bool:
        """Whether the size rules will keep such an image; the same arithmetic as theirs (`filters.shape`)."""
        short, long = sorted((width, height))
        if short < self.smallest_side:
            return False
        return self.largest_ratio is None or float(long) <= float(short) * self.largest_ratio


@dataclass(frozen=True)
class Prepared:
    """An image fit for a shard, upright; without bytes where the size rules are to drop it."""

    image: bytes | None
    format: str
    width: int
    height: int
    reencoded: bool = False
    turn: int = 1  # the EXIF orientation (1 to 8) that was undone
    reason: str | None = None
    detail: str | None = None
    fingerprint: bytes | None = (
        None  # of the whole and its crops; None where none were asked for, or it is too flat
    )
    full: tuple[int, int] = (0, 0)  # width and height of the upright image before it was shrunk


def child_settings(
    image: ImageSettings, rules: Mapping[str, Mapping[str, Any]], fingerprints: bool = False
) -> bytes:
    """What a child is told: the image settings, the size rules that decide whether to decode at all, fingerprints.

    `fingerprints` asks for these where neither the settings nor the rules do.
    """
    recipe = Recipe(
        formats=image.formats,
        max_pixels=image.max_pixels,
        max_side=image.max_side,
        min_side=image.min_side,
        quality=image.quality,
        strictness=image.strictness,
        smallest_side=rules.get("image_too_small", {}).get("min_side", 0),
        blank_share=rules.get("image_blank", {}).get("max_share"),
        largest_ratio=rules.get("image_too_elongated", {}).get("max_ratio"),
        fingerprints=fingerprints or image.fingerprints or not ON_FINGERPRINTS.isdisjoint(rules),
        boxed=bool(image.blur_boxes),
    )
    return json.dumps(asdict(recipe)).encode()  # not msgpack: children start without msgspec


def with_boxes(body: bytes, boxes: Sequence[Sequence[float]]) -> bytes:
    """An image behind the boxes that are to be blurred in it (shares of its sides)."""
    header = json.dumps(boxes).encode()
    return BOXES.pack(len(header)) + header + body


def without_boxes(payload: bytes) -> tuple[bytes, list[list[float]]]:
    """What `with_boxes` put together."""
    (size,) = BOXES.unpack_from(payload)
    end = BOXES.size + size
    return payload[end:], json.loads(payload[BOXES.size : end])


def recipe(settings: bytes) -> Recipe:
    """What `child_settings` said."""
    return Recipe(**json.loads(settings))


def write_answer(prepared: Prepared) -> bytes:
    """A child's answer; an image that is kept as it came does not travel back."""
    how = SKIPPED if prepared.image is None else ENCODED if prepared.reencoded else KEPT
    form, marks = FORMATS.index(prepared.format), prepared.fingerprint or b""
    sides = (prepared.width, prepared.height, *prepared.full)
    header = ANSWER.pack(how, form, prepared.turn, *sides, len(marks)) + marks
    return header + prepared.image if prepared.image is not None and prepared.reencoded else header


def read_answer(answer: bytes, body: bytes) -> Prepared:
    """What a child made of `body`; an answer that makes no sense is a crash."""
    try:
        how, place, turn, width, height, *full, size = ANSWER.unpack_from(answer)
        rest = ANSWER.size + size
        format, image = FORMATS[place], {KEPT: body, ENCODED: answer[rest:], SKIPPED: None}[how]
        if image is not None and (format not in STORED or sniff(image) != format):
            raise ValueError(f"{format} image is none")
        if size not in (0, FINGERPRINT_BYTES) or len(answer) < rest:
            raise ValueError(f"{size} bytes of fingerprints")
    except (struct.error, LookupError, ValueError) as error:
        return Prepared(None, "", 0, 0, reason="crashed", detail=f"answered with rubbish: {error}")
    marks = answer[ANSWER.size : rest] or None
    kept = Prepared(image, format, width, height, reencoded=how == ENCODED, turn=turn, fingerprint=marks)
    return replace(kept, full=(full[0], full[1]))
