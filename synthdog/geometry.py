"""Geometry of points and quads: px, origin top left, y down; the middle of a pixel is at (i + ½, j + ½).

A quad is 4 corners (x, y), clockwise from the text's own top left; N quads are an array (N, 4, 2).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

PIXEL_MIDDLE = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])


def rectangle(width: float, height: float) -> np.ndarray:
    """The corners of a rectangle at the origin (4, 2)."""
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)


def quads(boxes: np.ndarray) -> np.ndarray:
    """Boxes left, top, right, bottom (N, 4) as quads (N, 4, 2)."""
    return boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]


def perspective(width: float, height: float, draw: dict[str, Any]) -> np.ndarray:
    """The homography (3, 3) of synthtiger's Perspective with `percents` and `aligns` as drawn.

    The sides top, right, bottom, left shrink to `percents` and slide by `aligns` of what they lost.
    """
    sizes = np.array([width, height, width, height])
    halves = sizes * (1 - np.array(draw["percents"])) / 2
    slides = np.array(draw["aligns"]) * np.abs(halves)
    inward, outward = slides + halves, slides - halves
    moved = rectangle(width, height) + np.array(
        [
            [inward[0], inward[3]],
            [outward[0], inward[1]],
            [outward[2], outward[1]],
            [inward[2], outward[3]],
        ]
    )
    return between(rectangle(width, height), moved)


def rotation(middle: np.ndarray, degrees: float) -> np.ndarray:
    """The homography (3, 3) that turns clockwise about `middle` (x, y)."""
    turn = np.eye(3)
    turn[:2] = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), -degrees, 1.0)
    return turn


def translation(x: float, y: float) -> np.ndarray:
    """The homography (3, 3) that moves by (x, y)."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def between(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The homography (3, 3) that takes four points to four others."""
    return np.asarray(cv2.getPerspectiveTransform(source.astype(np.float32), target.astype(np.float32)))


def through(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (…, 2) taken through a homography (3, 3)."""
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(moved[..., :2] / moved[..., 2:])


def pixel_matrix(matrix: np.ndarray) -> np.ndarray:
    """The homography for OpenCV, whose origin is the middle of the first pixel."""
    return np.asarray(np.linalg.inv(PIXEL_MIDDLE) @ matrix @ PIXEL_MIDDLE)


def outward(quad: np.ndarray) -> np.ndarray:
    """The unit normal (x, y) of each side of N quads, (N, 4, 2), from the top side on."""
    along = np.roll(quad, -1, axis=1) - quad
    along = along / np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-6)
    return np.stack([along[..., 1], -along[..., 0]], axis=2)


def depths(quad: np.ndarray) -> np.ndarray:
    """How far N quads reach behind each side, measured across it (N, 4): the mean (px) of its two ends."""
    ends = np.roll(quad, 1, axis=1) + np.roll(quad, -2, axis=1) - quad - np.roll(quad, -1, axis=1)
    return np.asarray(-np.einsum("nki,nki->nk", ends, outward(quad)) / 2)


def grow(quad: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Quads (N, 4, 2) with their sides moved outward by so many px (N, 4)."""
    normals = outward(quad)
    before, before_by = np.roll(normals, 1, axis=1), np.roll(by, 1, axis=1)
    # a corner moves to where its two sides, moved, meet
    sine = before[..., 0] * normals[..., 1] - before[..., 1] * normals[..., 0]
    x = before_by * normals[..., 1] - by * before[..., 1]
    y = by * before[..., 0] - before_by * normals[..., 0]
    return np.asarray(quad + np.stack([x, y], axis=2) / np.maximum(sine, 0.05)[..., None])


def inside(quad: np.ndarray, width: float, height: float) -> np.ndarray:
    """Which of N quads lie wholly in a picture of that size (N booleans)."""
    low, high = quad.min(axis=1), quad.max(axis=1)
    return np.asarray((low >= 0).all(axis=1) & (high[:, 0] <= width) & (high[:, 1] <= height))


def clip(quad: np.ndarray, width: float, height: float) -> np.ndarray:
    """Quads with their corners brought into the picture."""
    return np.asarray(np.clip(quad, 0, [width, height]))
