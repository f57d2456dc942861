"""Perceptual fingerprints: the 256 bits of PDQ, of an image and of 16 crops of it, from a small grey picture.

PDQ (Facebook, 2019) shrinks the luma to 64 x 64 and takes the 16 x 16 lowest frequencies of its cosine transform
(without the constant one). Each frequency gives a bit: whether it is above the median. All steps but the last one are
linear, so here they are a product of three matrices, in which a crop is a few more rows and columns. The bits equal
those of the reference implementation except for the rounding of its blur: for real photographs, 10 of 256 bits differ
at the median. Two pictures are copies of each other if at most 31 bits differ.

PDQ alone does not find cropped copies: cutting 5 % off one side changes 60 bits. So an image has VIEWS fingerprints: of
the whole, of the whole without 5 % on one or more of its four sides (15 ways), and of the whole without 2.5 % on each
side. The distance of two images is that of the whole of one to the nearest view of the other.

Every number is an integer of at most 24 bits, which float32 holds exactly, so the bits are the same on every machine:
levels are multiplied by cosines of 13 bits, the result is rounded to halves of a level, and multiplied by cosines of 10
bits. A picture is small, so calls and cache misses cost more than arithmetic; that is why there are so few steps.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

METHOD, VERSION = "pdq-17", 2  # another version's fingerprints are not compared with these
VIEWS = 17
VIEW_BYTES = 32
BYTES = VIEWS * VIEW_BYTES
SMALLEST_SIDE = 40  # pixels: the grey picture of a larger image is shrunk to no less than this
LARGEST_SIDE = 256  # pixels: a larger grey picture is shrunk first
STEP = 5  # levels by which two neighbouring pixels must differ at least to count as a step
MIN_STEPS = 0.05  # steps for each pixel that a picture needs: with fewer, two pictures are alike by chance

GRID = 64
FREQUENCIES = 16
FIRST_ONE, SECOND_ONE = 2**13, 2**10  # the integers that represent 1 in the first and in the second matrix
HALVES = np.float32(2 / FIRST_ONE)  # turns the first product into halves of a level
CUT = 0.05  # share of a side that is cut off
SPANS = ((0.0, 1.0), (CUT, 1.0), (0.0, 1 - CUT), (CUT, 1 - CUT), (CUT / 2, 1 - CUT / 2))
VIEW_SPANS = (*product(range(4), range(4)), (4, 4))  # of each view: its span of the height, of the width

Grey = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float32]


def _places() -> npt.NDArray[np.intp]:
    """Return the indexes of each view's 256 numbers in the flattened product of the matrices (VIEWS x 256)."""
    blocks = np.arange((len(SPANS) * FREQUENCIES) ** 2).reshape(
        len(SPANS), FREQUENCIES, len(SPANS), FREQUENCIES
    )
    return np.stack([blocks[down, :, across].ravel() for down, across in VIEW_SPANS])


PLACES = _places()


def fingerprint(grey: Grey) -> bytes | None:
    """Return the VIEWS fingerprints of an upright grey picture (height x width), 32 bytes each; first that of the
    whole.

    Returns None if the picture is too plain. Its sides should be from SMALLEST_SIDE to LARGEST_SIDE pixels; the work
    grows with their product.
    """
    if not _shows_enough(grey):
        return None
    height, width = grey.shape
    levels = grey.astype(np.float32)
    if (
        width > height
    ):  # this order is less work; it must depend on the size only, or the rounding would differ
        waves = _waves(height, SECOND_ONE) @ np.rint((levels @ _waves(width, FIRST_ONE).T) * HALVES)
    else:
        waves = np.rint((_waves(height, FIRST_ONE) @ levels) * HALVES) @ _waves(width, SECOND_ONE).T
    views = waves.take(PLACES)
    middle = np.partition(views, 127, axis=1)[:, 127:128]
    return np.packbits(views > middle, axis=1).tobytes()


def _shows_enough(grey: Grey) -> bool:
    """Whether neighbouring pixels differ often enough, as in PDQ's measure of quality."""
    upper, lower, left, right = grey[:-1], grey[1:], grey[:, :-1], grey[:, 1:]
    down = np.count_nonzero(np.maximum(upper, lower) - np.minimum(upper, lower) > STEP)
    across = np.count_nonzero(np.maximum(left, right) - np.minimum(left, right) > STEP)
    return int(down + across) >= MIN_STEPS * grey.size


@lru_cache(maxsize=512)
def _waves(side: int, one: int) -> Matrix:
    """Return the matrix by which a side of so many pixels is multiplied: the cosines of each span (80 x side).

    In each span the shortest wave is first: the order in which PDQ's bits are written as hex digits. `one` is the
    integer that represents 1.
    """
    place = np.arange(FREQUENCIES, 0, -1)[:, None] * (2 * np.arange(GRID) + 1)
    waves = np.cos(np.pi / 2 / GRID * place) * (2 / GRID) ** 0.5
    spans = np.concatenate([waves @ _grid(side, *span) for span in SPANS])
    whole: Matrix = np.rint(spans * one).astype(np.float32)
    return whole


def _grid(side: int, start: float, stop: float) -> npt.NDArray[np.float64]:
    """Return the weights that sample a part of a side at 64 points, each a mean of the pixels around it (64 x side).

    `start` and `stop` are shares of the side.
    """
    centres = (start + (np.arange(GRID) + 0.5) * (stop - start) / GRID) * side
    reach = max(1.0, (stop - start) * side / GRID)
    weights = np.maximum(0.0, 1 - np.abs(centres[:, None] - np.arange(side)[None] - 0.5) / reach)
    normed: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normed
