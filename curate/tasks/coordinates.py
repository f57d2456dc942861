"""Pixels of an image (origin top left) to the formats' coordinates, 0 to 999, and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.formats import BOX, QUAD

STEPS = 1000

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def normalise(pixels: npt.NDArray[np.floating], side: npt.NDArray[np.integer]) -> Ints:
    """`min(999, floor(1000·x/side))` of finite pixels clipped to the image (any shapes).

    A float32 that stands for hundredths of a pixel, as COCO publishes them, is read as those: 43.52 of 640 is
    step 68, although float32 can put it a millionth lower.
    """
    exact = pixels.astype(np.float64) * STEPS
    hundredths = np.rint(exact / 10)
    published = (hundredths / 100).astype(np.float32) == pixels.astype(np.float32)
    scaled = np.clip(np.where(published, hundredths * 10, exact), 0, side * np.float64(STEPS))
    steps: Ints = np.minimum(np.floor(scaled / side), STEPS - 1).astype(np.int64)
    return steps


def pixels_of(steps: npt.NDArray[np.integer], side: int) -> Floats:
    """The pixel in the middle of each step: it normalises back to that step."""
    return (steps + 0.5) * side / STEPS


def bounding_boxes(quads: Floats) -> Floats:
    """x1, y1, x2, y2 of the smallest upright box around each quad (R x 8 to R x 4)."""
    corners = np.ascontiguousarray(quads.T).reshape(4, 2, -1)  # each in one piece: six times as fast
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)]).T


def write_boxes(quads: Floats, width: Ints, height: Ints) -> pa.Array:
    """`<box>(x1,y1),(x2,y2)</box>` for each quad (R x 8 px) of an image so large (R strings)."""
    return _write(BOX, bounding_boxes(quads), width, height)


def write_quads(quads: Floats, width: Ints, height: Ints) -> pa.Array:
    """`<quad>(x,y),(x,y),(x,y),(x,y)</quad>` for each quad (R x 8 px) of an image so large (R strings)."""
    return _write(QUAD, quads, width, height)


def _write(marks: tuple[str, str], points: Floats, width: Ints, height: Ints) -> pa.Array:
    """The points x1, y1, x2, y2, … of each row between the marks; what is not finite is written as 0."""
    numbers = pa.array(range(STEPS)).cast(pa.large_string())
    sides = np.stack([width, height] * (points.shape[1] // 2), axis=1)
    steps = normalise(np.where(np.isfinite(points), points, 0), np.maximum(sides, 1))
    pieces: list[pa.Array | pa.Scalar] = []
    for column in range(points.shape[1]):
        before = f"{marks[0]}(" if column == 0 else "," if column % 2 else "),("
        pieces += [_literal(before), numbers.take(pa.array(steps[:, column]))]
    return pc.binary_join_element_wise(*pieces, _literal(f"){marks[1]}"), _literal(""))


def _literal(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())
