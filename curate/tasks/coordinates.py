"""Convert pixels of an image (origin top left) into a dialect's coordinates, and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.tasks.dialect import PlaceNotation

STEPS = 1000

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def published(pixels: npt.NDArray[np.floating]) -> tuple[Floats, Bools]:
    """Pixels in hundredths, rounded, and which of the given float32 values stand for whole hundredths.

    COCO publishes hundredths of a pixel. Float32 cannot hold most of them exactly: 43.52 becomes a millionth less.
    """
    hundredths = np.rint(pixels.astype(np.float64) * 100)
    exact: Bools = (hundredths / 100).astype(np.float32) == pixels.astype(np.float32)
    return hundredths, exact


def normalise(pixels: npt.NDArray[np.floating], side: npt.NDArray[np.integer], parts: int = STEPS) -> Ints:
    """The step of each pixel value: `min(parts - 1, floor(parts·x/side))`, for x clipped to the image (any shapes).

    `pixels` are finite, `side` is the image's side in pixels. A float32 that stands for hundredths of a pixel is taken
    as exactly these: 43.52 of 640 is step 68.
    """
    hundredths, exact = published(pixels)
    scaled = np.where(exact, hundredths * parts / 100, pixels.astype(np.float64) * parts)
    clipped = np.clip(scaled, 0, side * np.float64(parts))
    steps: Ints = np.minimum(np.floor(clipped / side), parts - 1).astype(np.int64)
    return steps


def pixels_of(steps: npt.NDArray[np.integer], side: int) -> Floats:
    """The pixel in the middle of each step of a side of `side` pixels; `normalise` turns it back into that step."""
    return (steps + 0.5) * side / STEPS


def numbers(
    places: PlaceNotation, pixels: npt.NDArray[np.floating], side: Ints, resized: Ints, other: Ints
) -> Ints:
    """The whole numbers that a dialect writes for finite pixels (arrays of one shape).

    `side` is the image's side along the axis of the pixels, `other` its other side, and `resized` the side of the
    resized image, all in pixels. For the unit `shares` the numbers count units of the last decimal. The order of
    operations is that of the models' trainers, so that rounding is the same.
    """
    if places.unit == "parts" and places.rounding == "floor":
        steps = normalise(pixels, side, places.parts)
        if places.most >= places.parts:  # the right or bottom edge may be written as `parts`
            steps += _within(pixels, side) >= side
        floored: Ints = np.minimum(steps, places.most)
        return floored
    x = _within(pixels, side)
    high: int | Ints
    if places.unit == "pixels":
        high, scaled = np.maximum(resized - 1, 0), x * (resized / side)
    elif places.unit == "shares":
        long = np.maximum(side, other) if places.square else side
        high, scaled = 10**places.decimals, (x + (long - side) // 2) / long * 10**places.decimals
    else:
        high, scaled = places.most, x / side * places.parts
    rounded: Ints = np.clip(np.rint(scaled), 0, high).astype(np.int64)
    return rounded


def _within(pixels: npt.NDArray[np.floating], side: Ints) -> Floats:
    """Pixels as published, clipped to the image."""
    hundredths, exact = published(pixels)
    within: Floats = np.clip(np.where(exact, hundredths / 100, pixels.astype(np.float64)), 0, side)
    return within


def pixels_from(places: PlaceNotation, values: Floats, side: int, resized: int, other: int) -> Floats:
    """The pixels that written numbers stand for; `side`, `resized` and `other`: see `numbers`.

    For a dialect that rounds down, these are the middles of the steps.
    """
    if places.unit == "pixels":
        return values * side / max(resized, 1)
    if places.unit == "shares":
        long = max(side, other) if places.square else side
        return values * long - (long - side) // 2
    half = 0.5 if places.rounding == "floor" else 0.0
    return np.minimum((values + half) * side / places.parts, side)


def bounding_boxes(quads: Floats) -> Floats:
    """x1, y1, x2, y2 of the smallest upright box around each quad (R x 8 to R x 4)."""
    corners = np.ascontiguousarray(quads.T).reshape(4, 2, -1)  # contiguous, which is six times as fast
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)]).T


def beyond_image(quads: Floats, width: npt.NDArray[np.integer], height: npt.NDArray[np.integer]) -> Bools:
    """Which of R quads (R x 8 px) lie completely outside their images; false for quads with NaN.

    `width` and `height` (R) are the images' sides in pixels.
    """
    x1, y1, x2, y2 = bounding_boxes(quads).T
    left, above = (x2 <= 0) & (x1 < 0), (y2 <= 0) & (y1 < 0)
    right, below = (x1 >= width) & (x2 > width), (y1 >= height) & (y2 > height)
    beyond: Bools = left | above | right | below
    return beyond
