"""How much of a page's writing lies in no region, judged on the page's pixels.

Writing is ink that comes as letters do: small connected shapes of like height, several beside each other in a
line. Ink within a region counts as labelled writing whatever its shape.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from renderers.pdf.frames import Quads
from renderers.pdf.pixels import Mask, Pixels

STEP = 48  # of 255: from one pixel to the next so much is the edge of a letter
QUIET = 0.1  # of the page's edges: with fewer outside the regions the rest is not looked at
ROWS = 6  # one of so many is looked at for them
AROUND_PX = 15  # side of the square whose mean is the ground of a pixel
INK = 36  # of 255: so much darker or lighter than its ground
DARK = 140  # of 255: on lighter ground no letters are lighter still, but cells between rules are
HEIGHTS = (
    (3, 6),
    (5, 9),
    (7, 15),
    (12, 25),
    (21, 42),
)  # px of the image at half its size; of letters, in classes
WIDEST = 6  # times its height: letters run together
LETTERS = 5  # of a line, at least
LINE = 3.5  # times as long as high is a line, at least
GROW_PX = 2  # letters reach so far out of their quads

Grey = npt.NDArray[np.uint8]


class InkShapes(NamedTuple):
    """Connected shapes of ink: each pixel's number, the shapes' boxes and areas in pixels (M; 0 is the ground)."""

    numbers: npt.NDArray[np.int32]
    x: npt.NDArray[np.int32]
    y: npt.NDArray[np.int32]
    width: npt.NDArray[np.int32]
    height: npt.NDArray[np.int32]
    area: npt.NDArray[np.int32]

    @property
    def middles(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """The rows and columns of their middles."""
        return self.y + self.height // 2, self.x + self.width // 2


def unlabelled_share(pixels: Pixels, quads: Quads) -> float:
    """The share of the page's writing that lies in no quad (N × 4 corners, px), by its ink; from 0 to 1.

    It is 0 where less than a tenth of the page's sharp edges lie outside the quads.
    """
    grey = pixels[..., 1 if pixels.shape[2] > 1 else 0]
    if is_quiet(grey, quads):
        return 0.0
    import cv2  # takes long to load, and most documents have no such page

    half = cv2.resize(np.ascontiguousarray(grey), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    inside = np.zeros(half.shape, np.uint8)
    cv2.fillPoly(inside, list((quads / 2).round().astype(np.int32)), 1)
    inside = cv2.dilate(inside, np.ones((2 * GROW_PX + 1, 2 * GROW_PX + 1), np.uint8))
    ground = cv2.blur(half, (AROUND_PX, AROUND_PX)).astype(np.int16)
    labelled, other = 0, 0
    for ink in (half < ground - INK, (half > ground + INK) & (ground < DARK)):
        covered = ink & (inside > 0)
        labelled += int(np.count_nonzero(covered))
        rows, columns = around_ink(ink, covered)
        if len(rows):
            shapes = shapes_of(ink[rows, columns].astype(np.uint8))
            outside = written(shapes, inside[rows, columns][shapes.middles] == 0)
            other += int(shapes.area[outside].sum())
    return other / max(1, other + labelled)


def around_ink(ink: Mask, covered: Mask) -> tuple[npt.NDArray[np.intp], slice]:
    """The rows and columns that hold all shapes with ink that is not covered, whole; no rows where there is none.

    Between the rows that are left out stands a white one, so no shapes meet that did not.
    """
    inked, open_ = ink.any(axis=1), (ink & ~covered).any(axis=1)
    runs = np.cumsum(~inked)  # a white row and the inked ones below it have one number
    rows = np.flatnonzero(np.isin(runs, runs[open_]))
    if not len(rows):
        return rows, slice(0)
    part = ink[rows]
    white = np.flatnonzero(~part.any(axis=0))
    at = np.flatnonzero((part & ~covered[rows]).any(axis=0))
    first, last = np.searchsorted(white, at[0]), np.searchsorted(white, at[-1])
    start = int(white[first - 1]) if first else 0
    return rows, slice(start, int(white[last]) + 1 if last < len(white) else ink.shape[1])


def is_quiet(grey: Grey, quads: Quads) -> bool:
    """True where nearly all sharp edges lie within the quads' upright boxes, by one row of several."""
    rows = grey[::ROWS].astype(np.int16)
    edges = abs(np.diff(rows, axis=1)) > STEP
    total = np.count_nonzero(edges)
    low, high = quads.min(axis=1), quads.max(axis=1) + 1
    boxes = np.concatenate([low, high], axis=1) / np.array([1, ROWS, 1, ROWS])
    for x0, y0, x1, y1 in (
        np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1).astype(int).tolist()
    ):
        edges[y0:y1, max(0, x0 - 1) : x1 + 1] = False
    return bool(np.count_nonzero(edges) <= QUIET * total)


def shapes_of(ink: Grey) -> InkShapes:
    """The connected shapes of ink."""
    import cv2

    _, numbers, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8, ltype=cv2.CV_32S)
    stats[0] = 0
    return InkShapes(numbers, *stats.T)


def written(shapes: InkShapes, among: Mask) -> Mask:
    """Which of some shapes are letters in a line (M)."""
    found = np.zeros(len(shapes.area), np.bool_)
    letter = (
        among & (shapes.width <= WIDEST * shapes.height) & (shapes.area < 0.9 * shapes.width * shapes.height)
    )
    for low, high in HEIGHTS:
        here = letter & (shapes.height >= low) & (shapes.height <= high)
        if np.count_nonzero(here) >= LETTERS:
            found |= in_lines(shapes, here, low)
    return found


def in_lines(shapes: InkShapes, letters: Mask, gap: int) -> Mask:
    """Which letters of like height stand in a line of several, at most `gap` pixels apart (M)."""
    import cv2

    ink = letters[shapes.numbers].astype(np.uint8)
    joined = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, np.ones((1, 2 * gap + 1), np.uint8))
    lines = shapes_of(joined)
    rows, columns = shapes.middles
    at = np.zeros(len(letters), np.int64)
    some = np.flatnonzero(letters)
    at[some] = first_of(lines.numbers, shapes, some, rows, columns)
    count = np.bincount(at, minlength=len(lines.area))
    good = (count >= LETTERS) & (lines.width >= LINE * lines.height) & (lines.height <= 5 * gap)
    good[0] = False
    return letters & good[at]


def first_of(
    numbers: npt.NDArray[np.int32],
    shapes: InkShapes,
    some: npt.NDArray[np.intp],
    rows: npt.NDArray[np.int32],
    columns: npt.NDArray[np.int32],
) -> npt.NDArray[np.int64]:
    """The line that each of some shapes lies in: the largest number in the middle row of its box."""
    ends = np.minimum(shapes.x + shapes.width, numbers.shape[1]) - 1
    tries = [numbers[rows[some], at[some]] for at in (shapes.x, columns, ends)]
    found: npt.NDArray[np.int64] = np.max(tries, axis=0).astype(np.int64)
    return found
