"""Batches of framed images: the pixels of all parts one after the other, and a table of where each part lies.

Parts are not padded to the largest one: a batch takes only the bytes that its images need.
"""

from __future__ import annotations

import math

import numpy as np

from curate.scorer.framing import HEAD, SPAN, Framing

PART = np.dtype([("size", "<u2", 2), ("kept", "<f4", 4), ("place", "<u2", 4)])  # HEAD, as numpy reads it
BATCH_BYTES = 2**28  # limit on a batch's pixels, however many images are asked for
assert PART.itemsize == HEAD.size


def most_bytes(framing: Framing) -> int:
    """The size in bytes of the largest answer of a child process."""
    return HEAD.size + 3 * math.prod(framing.longest)


def room_bytes(framing: Framing, rows: int) -> int:
    """The size in bytes of a buffer for `rows` images."""
    past = 3 * framing.longest[0]  # the device may read one row beyond the last part
    return min(rows * most_bytes(framing) + past, max(BATCH_BYTES, most_bytes(framing) + past))


def is_part(answer: bytes, framing: Framing) -> bool:
    """Whether an answer has the form that `framed` gives it; a hostile image may have taken control of the child."""
    if len(answer) < HEAD.size:
        return False
    width, height, *corners = HEAD.unpack_from(answer)
    kept, place = corners[:4], corners[4:]
    if len(answer) != HEAD.size + 3 * width * height or width > framing.longest[0]:
        return False
    if not framing.raw:
        whole = [0, 0, framing.width, framing.height]
        return [0, 0, width, height] == kept == place == whole
    return height <= framing.longest[1] and all(
        0 <= kept[axis] < kept[axis + 2] <= (width, height)[axis]
        and 0 <= place[axis] < place[axis + 2] <= (framing.width, framing.height)[axis]
        and kept[axis + 2] - kept[axis] <= 1.001 * SPAN * (place[axis + 2] - place[axis])
        for axis in (0, 1)
    )


class Room:
    """A batch that is being filled with at most `rows` images.

    `memory` (uint8, `room_bytes` long) holds the pixels; it must not be changed until the batch is computed.
    """

    def __init__(self, rows: int, memory: np.ndarray, framing: Framing) -> None:
        self.memory, self._room = memory, len(memory) - 3 * framing.longest[0]
        self._parts, self._rows, self._bytes = np.empty(rows, PART), 0, 0

    @property
    def parts(self) -> np.ndarray:
        """The parts added so far (N rows of PART)."""
        return self._parts[: self._rows]

    @property
    def pixels(self) -> np.ndarray:
        """The pixels of the parts added so far (uint8): one part after the other, each RGB, rows from the top."""
        return self.memory[: self._bytes]

    def takes(self, answer: bytes) -> bool:
        """Whether one more answer fits."""
        return self._rows < len(self._parts) and self._bytes + len(answer) - HEAD.size <= self._room

    def add(self, answer: bytes) -> None:
        """Add an answer for which `is_part` and `takes` are true."""
        self._parts[self._rows] = np.frombuffer(answer, PART, 1)[0]
        pixels = np.frombuffer(answer, np.uint8, offset=HEAD.size)
        self.memory[self._bytes : self._bytes + len(pixels)] = pixels
        self._rows, self._bytes = self._rows + 1, self._bytes + len(pixels)

    def fill(self, parts: np.ndarray, pixels: np.ndarray) -> None:
        """Take over the parts (N rows of PART) and pixels (uint8) of another room; what was added before is lost."""
        self._parts[: len(parts)] = parts
        self.memory[: len(pixels)] = pixels
        self._rows, self._bytes = len(parts), len(pixels)
