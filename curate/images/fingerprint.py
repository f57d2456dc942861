"""Perceptual fingerprints: the 256 bits of PDQ, of an image and of 16 crops of it, from a small grey picture.

PDQ (Facebook, 2019) shrinks the luma to 64 x 64, takes the 16 x 16 lowest frequencies of its cosine transform (without
the constant one) and writes a bit a frequency: whether it is above the median. All of that but the last step is
linear, so it is one product of matrices here, and a crop costs a row of blocks more. The bits are those of the
reference implementation up to the rounding of its blur: 8 of 256 differ at the median of real photographs, and two
pictures count as one from 31 bits on at most.

PDQ alone does not find cropped copies: 5 % off one side change 60 bits. So an image has VIEWS fingerprints: of the
whole, of the whole less 5 % on any of its four sides (15 ways), and of the whole less 2.5 % on each. Two images are as
near as the whole of one is to the nearest view of the other.

Every number is a whole one and below 2**53, so that the bits are the same on every machine.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

METHOD, VERSION = "pdq-17", 1  # another version's fingerprints are not compared with these
VIEWS = 17
VIEW_BYTES = 32
BYTES = VIEWS * VIEW_BYTES
SMALLEST_SIDE = 40  # pixels of the grey picture: below that an image is taken as it is
LARGEST_SIDE = 256  # a larger one is shrunk first
MIN_QUALITY = (
    20  # PDQ's measure of how much there is to see, 0 to 100: below it two pictures are alike by chance
)

GRID = 64
FREQUENCIES = 16
ONE = 2**14  # stands for 1 in the matrices
CUT = 0.05  # of a side
SPANS = ((0.0, 1.0), (CUT, 1.0), (0.0, 1 - CUT), (CUT, 1 - CUT), (CUT / 2, 1 - CUT / 2))
DOWN, ACROSS = np.array(
    [*product(range(4), range(4)), (4, 4)]
).T  # of each view: its span of the height, of the width
STEPS = np.arange(256) * 100 // 255  # of two neighbours: in hundredths of white

Grey = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]


def fingerprint(grey: Grey) -> bytes | None:
    """The VIEWS fingerprints of an upright grey picture (height x width), 32 bytes each; the first is of the whole.

    None where there is too little to see. The picture should have at least SMALLEST_SIDE and at most LARGEST_SIDE
    pixels a side; the work grows with their product.
    """
    height, width = grey.shape
    if _quality(grey) < MIN_QUALITY:
        return None
    levels = grey.astype(np.float64)
    down, across = _waves(height), _waves(width).T
    # Either order gives the same bits; this one is less work.
    waves = down @ (levels @ across) if width > height else down @ levels @ across
    blocks = waves.reshape(len(SPANS), FREQUENCIES, len(SPANS), FREQUENCIES)
    views = blocks[DOWN, :, ACROSS].reshape(VIEWS, -1)
    middle = np.partition(views, 127, axis=1)[:, 127:128]
    return np.packbits(views > middle, axis=1).tobytes()


def _quality(grey: Grey) -> int:
    """PDQ's measure of how much there is to see: the steps between neighbours of a grid of 64 x 64, by 90."""
    rows, columns = map(_samples, grey.shape)
    grid = grey.take(rows, 0).take(columns, 1)
    upper, lower = grid[::2], grid[1::2]
    down = STEPS.take(np.maximum(upper, lower) - np.minimum(upper, lower)).sum()
    left, right = upper[:, ::2], upper[:, 1::2]
    across = STEPS.take(np.maximum(left, right) - np.minimum(left, right)).sum()
    return int(2 * down + 4 * across) // 90  # of all rows every other, and every fourth step


@lru_cache(maxsize=512)
def _samples(side: int) -> npt.NDArray[np.intp]:
    """The pixels of a side that stand for a grid of 64."""
    return ((np.arange(GRID) + 0.5) * side / GRID).astype(np.intp)


@lru_cache(maxsize=512)
def _waves(side: int) -> Matrix:
    """What a side of so many pixels is multiplied with: the waves of each span, the shortest first (80 x side).

    That order is the one in which PDQ's bits are written as hex digits.
    """
    place = np.arange(FREQUENCIES, 0, -1)[:, None] * (2 * np.arange(GRID) + 1)
    waves = np.cos(np.pi / 2 / GRID * place) * (2 / GRID) ** 0.5
    whole: Matrix = np.rint(np.concatenate([waves @ _grid(side, *span) for span in SPANS]) * ONE)
    return whole


def _grid(side: int, start: float, stop: float) -> Matrix:
    """64 samples of a part of a side, each the mean of the pixels around it (64 x side)."""
    centres = (start + (np.arange(GRID) + 0.5) * (stop - start) / GRID) * side
    reach = max(1.0, (stop - start) * side / GRID)
    weights = np.maximum(0.0, 1 - np.abs(centres[:, None] - np.arange(side)[None] - 0.5) / reach)
    normed: Matrix = weights / weights.sum(axis=1, keepdims=True)
    return normed
