"""The interface to the child processes that prepare images: their settings, and what they answer.

A child turns an image's bytes into bytes that any reader decodes to upright RGB. The code that does it is
`curate.images.prepare`; nothing is decoded in this module.

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

ON_FINGERPRINTS = frozenset({"image_in_evaluation_set", "similar_image"})  # rules that compare fingerprints
TARGET = "curate.images.prepare:preparer"
STORED = ("jpeg", "png", "webp")  # formats that a shard may hold
FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "avif")  # formats that settings may allow as input

# What the child did: kept the bytes; encoded the image again; did not decode it, because a size rule will drop it.
KEPT, ENCODED, SKIPPED = range(3)
BOXES = struct.Struct("<I")  # number of bytes of the boxes, which are JSON
# The header of an answer: KEPT, ENCODED or SKIPPED; index into FORMATS; turn; width and height; width and height before
# the image was shrunk; number of bytes of the fingerprints. After it the fingerprints, then the encoded image.
ANSWER = struct.Struct("<BBBIIIIH")
FINGERPRINT_BYTES = 544  # as many as `curate.images.fingerprint` makes; 0 without fingerprints


@dataclass(frozen=True)
class Recipe:
    """How images are checked and stored. Sides are pixels."""

    formats: tuple[str, ...] = FORMATS
    max_pixels: int = 100_000_000
    max_side: int | None = None  # an image is shrunk so that its longer side is at most this
    min_side: int | None = None  # an image is shrunk so that its shorter side is at most this
    quality: int = 90  # of JPEG
    strictness: str = "whole"  # or "readable": also images that Pillow shows although parts are missing
    smallest_side: int = 0  # an image with a shorter side is not decoded
    blank_share: float | None = None  # an image with a larger share of pixels in one colour is `image_blank`
    largest_ratio: float | None = None  # an image with a larger long side / short side is not decoded
    fingerprints: bool = False  # whether each decoded image gets its fingerprints
    boxed: bool = False  # whether each image comes with boxes to blur: see `with_boxes`

    def passes(self, width: int, height: int) -> bool:
        """Whether the size rules will keep an image of this size; computed as the rules do (`filters.shape`)."""
        short, long = sorted((width, height))
        if short < self.smallest_side:
            return False
        return self.largest_ratio is None or float(long) <= float(short) * self.largest_ratio


@dataclass(frozen=True)
class Prepared:
    """An upright image as a shard holds it, or the reason why there is none.

    It has neither bytes nor reason if a size rule is going to drop it.
    """

    image: bytes | None
    format: str
    width: int
    height: int
    reencoded: bool = False  # False: the bytes are those that came
    turn: int = 1  # the EXIF orientation (1 to 8) that was undone
    reason: str | None = None
    detail: str | None = None
    # Of the whole and its crops; None if not asked for, or if the image is too plain
    fingerprint: bytes | None = None
    full: tuple[int, int] = (0, 0)  # width and height of the upright image before it was shrunk


def child_settings(
    image: ImageSettings, rules: Mapping[str, Mapping[str, Any]], fingerprints: bool = False
) -> bytes:
    """Return what a child process must know, as bytes.

    Args:
        image: how images are checked and stored.
        rules: the active rules, name -> settings: size rules decide which images are not decoded at all.
        fingerprints: whether to compute fingerprints even if neither the settings nor the rules ask for them.
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
    """Return an image's bytes with the boxes to blur before them (x0, y0, x1, y1 as shares of its sides)."""
    header = json.dumps(boxes).encode()
    return BOXES.pack(len(header)) + header + body


def without_boxes(payload: bytes) -> tuple[bytes, list[list[float]]]:
    """Return the image's bytes and the boxes that `with_boxes` joined."""
    (size,) = BOXES.unpack_from(payload)
    end = BOXES.size + size
    return payload[end:], json.loads(payload[BOXES.size : end])


def recipe(settings: bytes) -> Recipe:
    """Read what `child_settings` made."""
    return Recipe(**json.loads(settings))


def write_answer(prepared: Prepared) -> bytes:
    """Return a child's answer as bytes; an image whose bytes are kept is not sent back."""
    how = SKIPPED if prepared.image is None else ENCODED if prepared.reencoded else KEPT
    form, marks = FORMATS.index(prepared.format), prepared.fingerprint or b""
    sides = (prepared.width, prepared.height, *prepared.full)
    header = ANSWER.pack(how, form, prepared.turn, *sides, len(marks)) + marks
    return header + prepared.image if prepared.image is not None and prepared.reencoded else header


def read_answer(answer: bytes, body: bytes) -> Prepared:
    """Read a child's answer for the image `body`; an invalid answer counts as a crash (reason `crashed`)."""
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
