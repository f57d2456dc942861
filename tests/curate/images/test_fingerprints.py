"""Fingerprints of images: PDQ's bits, found again in altered copies, and made by the child that decodes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from curate.images import protocol
from curate.images.fingerprint import (
    BYTES,
    FIRST_ONE,
    HALVES,
    LARGEST_SIDE,
    SECOND_ONE,
    VIEW_BYTES,
    VIEWS,
    _waves,
    fingerprint,
)
from curate.images.prepare import prepare, preparer
from curate.images.protocol import Recipe
from filters.copies import MAX_DISTANCE

PHOTOS = sorted((Path(__file__).parents[3] / "manifests" / "samples" / "images").glob("*.jpg"))
RECIPE = Recipe(fingerprints=True)

Change = Callable[[Image.Image], Image.Image]


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def views(body: bytes, recipe: Recipe = RECIPE) -> np.ndarray:
    found = prepare(body, recipe).fingerprint
    assert found is not None
    return np.frombuffer(found, np.uint8).reshape(VIEWS, VIEW_BYTES)


def apart(one: np.ndarray, other: np.ndarray) -> int:
    """As the rules have it: the whole of one from the nearest view of the other."""
    return int(min(np.bitwise_count(a[0] ^ b).sum(axis=1).min() for a, b in ((one, other), (other, one))))


def crop(left: float, top: float, right: float, bottom: float) -> Change:
    return lambda im: im.crop(
        (
            round(left * im.width),
            round(top * im.height),
            round((1 - right) * im.width),
            round((1 - bottom) * im.height),
        )
    )


def logo(image: Image.Image) -> Image.Image:
    image = image.copy()
    size = min(image.size) // 10
    ImageDraw.Draw(image).ellipse((8, 8, 8 + size, 8 + size), fill=(220, 20, 20))
    return image


COPIES: dict[str, Change] = {
    "half the size": lambda im: im.resize((im.width // 2, im.height // 2)),
    "5 % off the left": crop(0.05, 0, 0, 0),
    "5 % off two sides": crop(0, 0, 0.05, 0.05),
    "5 % off every side": crop(0.05, 0.05, 0.05, 0.05),
    "3 % off the top": crop(0, 0.03, 0, 0),
    "a logo": logo,
    "grey": lambda im: im.convert("L"),
}


def photos() -> list[Image.Image]:
    return [image for path in PHOTOS if min((image := Image.open(path).convert("RGB")).size) >= 150]


@pytest.mark.parametrize("name", COPIES)
def test_an_altered_copy_is_near(name: str) -> None:
    images = [image for image in photos() if prepare(encoded(image), RECIPE).fingerprint]
    assert len(images) >= 10
    near = [
        apart(views(encoded(im)), views(encoded(COPIES[name](im), quality=50))) <= MAX_DISTANCE
        for im in images
    ]
    assert sum(near) >= 0.95 * len(near)


def test_different_pictures_are_far() -> None:
    found = [prepare(path.read_bytes(), RECIPE).fingerprint for path in PHOTOS]
    different = {marks for marks in found if marks}
    made = [np.frombuffer(marks, np.uint8).reshape(VIEWS, VIEW_BYTES) for marks in sorted(different)]
    pairs = [apart(one, other) for at, one in enumerate(made) for other in made[:at]]
    assert np.mean(np.array(pairs) > MAX_DISTANCE) > 0.97  # the samples hold a few copies of each other


def test_the_bits_are_those_of_pdq() -> None:
    pdqhash = pytest.importorskip("pdqhash")
    apart_from_it = []
    for image in photos():
        vector, _ = pdqhash.compute(np.asarray(image))
        if (found := prepare(encoded(image, quality=95), RECIPE).fingerprint) is not None:
            mine = np.frombuffer(found[:VIEW_BYTES], np.uint8)
            apart_from_it.append(int(np.bitwise_count(mine ^ np.packbits(vector)).sum()))
    assert np.median(apart_from_it) <= 16
    assert np.mean(np.array(apart_from_it) <= 31) >= 0.9  # what PDQ's makers call a match


def test_a_picture_without_anything_to_see_has_none() -> None:
    assert prepare(encoded(Image.new("RGB", (300, 200), (200, 200, 220))), RECIPE).fingerprint is None
    assert fingerprint(np.zeros((1, 1), np.uint8)) is None


@pytest.mark.parametrize("size", [(1, 400), (400, 1), (17, 9), (9000, 60), (2000, 1500)])
def test_any_size_has_fingerprints_or_none(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    for kind in ("PNG", "JPEG"):
        found = prepare(encoded(Image.fromarray(noise), kind), RECIPE).fingerprint
        assert found is None or len(found) == BYTES


def test_an_image_turned_upright_has_the_fingerprints_of_the_upright_one() -> None:
    upright = photos()[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(upright.transpose(Image.Transpose.ROTATE_90), quality=95, exif=exif)
    assert apart(views(encoded(upright, quality=95)), views(turned)) <= 8


@pytest.mark.parametrize(
    "recipe", [Recipe(fingerprints=True, max_side=120), Recipe(fingerprints=True, strictness="readable")]
)
def test_how_an_image_is_stored_hardly_changes_its_fingerprints(recipe: Recipe) -> None:
    for image in photos()[:5]:
        for kind in ("JPEG", "PNG", "WEBP"):
            assert apart(views(encoded(image, kind)), views(encoded(image, kind), recipe)) <= 31


def test_without_the_setting_there_are_none() -> None:
    assert prepare(PHOTOS[0].read_bytes(), Recipe()).fingerprint is None


def test_a_childs_answer_carries_them() -> None:
    body = encoded(photos()[0])
    answer = preparer(json.dumps(asdict(RECIPE)).encode())(body)
    assert protocol.read_answer(answer, body).fingerprint == prepare(body, RECIPE).fingerprint


@pytest.mark.parametrize("size", [1, 543, 545, 65_535])
def test_an_answer_with_other_fingerprints_is_a_crash(size: int) -> None:
    body = encoded(photos()[0])
    answer = protocol.ANSWER.pack(0, 0, 1, 100, 100, 100, 100, size) + bytes(size)
    assert protocol.read_answer(answer, body).reason == "crashed"


def test_no_picture_makes_a_number_that_float32_does_not_hold() -> None:
    for side in range(1, LARGEST_SIDE + 1):
        first, second = _waves(side, FIRST_ONE).astype(float), _waves(side, SECOND_ONE).astype(float)
        partial = 255 * np.abs(first).sum(axis=1).max()
        halves = 255 * HALVES * max(np.clip(sign * first, 0, None).sum(axis=1).max() for sign in (1, -1))
        assert max(partial, np.ceil(halves) * np.abs(second).sum(axis=1).max()) < 2**24
