"""Perceptual fingerprints: the 256 bits of PDQ, of an image and of 16 crops of it, from a small grey picture.

PDQ (Facebook, 2019) shrinks the luma to 64 x 64, takes the 16 x 16 lowest frequencies of its cosine transform (without
the constant one) and writes a bit a frequency: whether it is above the median. All of that but the last step is
linear, so it is one product of matrices here, and a crop costs a row of blocks more. The bits are those of the
reference implementation up to the rounding of its blur: 10 of 256 differ at the median of real photographs, and two
pictures count as one from 31 bits on at most.

PDQ alone does not find cropped copies: 5 % off one side change 60 bits. So an image has VIEWS fingerprints: of the
whole, of the whole less 5 % on any of its four sides (15 ways), and of the whole less 2.5 % on each. Two images are as
near as the whole of one is to the nearest view of the other.

Every number is a whole one of at most 24 bits, which float32 holds exactly, so that the bits are the same on every
machine: levels are multiplied with waves of 13 bits, what comes out is rounded to halves of a level, and multiplied
with waves of 10 bits. A picture is small, so calls and cold caches cost more than arithmetic: hence so few steps.
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
SMALLEST_SIDE = 40  # pixels of the grey picture: below that an image is taken as it is
LARGEST_SIDE = 256  # a larger one is shrunk first
STEP = 5  # levels: by more than that neighbouring pixels must differ, to count as something to see
MIN_STEPS = 0.05  # so many a pixel there must be, below and beside: else two pictures are alike by chance

GRID = 64
FREQUENCIES = 16
FIRST_ONE, SECOND_ONE = 2**13, 2**10  # stand for 1 in the first and in the second matrix
HALVES = np.float32(2 / FIRST_ONE)  # makes halves of a level of what the first matrix gives
CUT = 0.05  # of a side
SPANS = ((0.0, 1.0), (CUT, 1.0), (0.0, 1 - CUT), (CUT, 1 - CUT), (CUT / 2, 1 - CUT / 2))
VIEW_SPANS = (*product(range(4), range(4)), (4, 4))  # of each view: its span of the height, of the width

Grey = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float32]


def _places() -> npt.NDArray[np.intp]:
    """Where each view's 256 numbers stand in the product of all spans (VIEWS x 256)."""
    blocks = np.arange((len(SPANS) * FREQUENCIES) ** 2).reshape(
        len(SPANS), FREQUENCIES, len(SPANS), FREQUENCIES
    )
    return np.stack([blocks[down, :, across].ravel() for down, across in VIEW_SPANS])


PLACES = _places()


def fingerprint(grey: Grey) -> bytes | None:
    """The VIEWS fingerprints of an upright grey picture (height x width), 32 bytes each; the first is of the whole.

    None where there is too little to see. The picture should have at least SMALLEST_SIDE and at most LARGEST_SIDE
    pixels a side; the work grows with their product.
    """
    if not _shows_enough(grey):
        return None
    height, width = grey.shape
    levels = grey.astype(np.float32)
    if width > height:  # either order will do, but it must be the same one everywhere: this is less work
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
    """What a side of so many pixels is multiplied with: the waves of each span, the shortest first (80 x side).

    That order is the one in which PDQ's bits are written as hex digits. `one` stands for 1.
    """
    place = np.arange(FREQUENCIES, 0, -1)[:, None] * (2 * np.arange(GRID) + 1)
    waves = np.cos(np.pi / 2 / GRID * place) * (2 / GRID) ** 0.5
    spans = np.concatenate([waves @ _grid(side, *span) for span in SPANS])
    whole: Matrix = np.rint(spans * one).astype(np.float32)
    return whole


def _grid(side: int, start: float, stop: float) -> npt.NDArray[np.float64]:
    """64 samples of a part of a side, each the mean of the pixels around it (64 x side)."""
    centres = (start + (np.arange(GRID) + 0.5) * (stop - start) / GRID) * side
    reach = max(1.0, (stop - start) * side / GRID)
    weights = np.maximum(0.0, 1 - np.abs(centres[:, None] - np.arange(side)[None] - 0.5) / reach)
    normed: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normed
