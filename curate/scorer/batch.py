"""What child processes hand over, packed into batches: pixels one after the other, and where each part lies.

Nothing is filled up to the largest, so a batch costs the copies, the bus and the wire what its images need.
"""

from __future__ import annotations

import math

import numpy as np

from curate.scorer.framing import HEAD, SPAN, Framing

PART = np.dtype([("size", "<u2", 2), ("kept", "<f4", 4), ("place", "<u2", 4)])  # HEAD, as numpy reads it
BATCH_BYTES = 2**28  # at most, however many images are wanted
assert PART.itemsize == HEAD.size


def most_bytes(framing: Framing) -> int:
    """Of one answer."""
    return HEAD.size + 3 * math.prod(framing.longest)


def room_bytes(framing: Framing, rows: int) -> int:
    """Of a room's memory for so many images."""
    past = 3 * framing.longest[0]  # the device may look past the last part, by one row
    return min(rows * most_bytes(framing) + past, max(BATCH_BYTES, most_bytes(framing) + past))


def is_part(answer: bytes, framing: Framing) -> bool:
    """Whether an answer is one that `curate.scorer.framing.framed` gives; a child may be taken over."""
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
    """A batch of at most so many images, as it is being filled.

    `memory` (uint8, `room_bytes` long) stays as it is until the batch is done.
    """

    def __init__(self, rows: int, memory: np.ndarray, framing: Framing) -> None:
        self.memory, self._room = memory, len(memory) - 3 * framing.longest[0]
        self._parts, self._rows, self._bytes = np.empty(rows, PART), 0, 0

    @property
    def parts(self) -> np.ndarray:
        """What was added (N, PART)."""
        return self._parts[: self._rows]

    @property
    def pixels(self) -> np.ndarray:
        """Their pixels, one part after the other, each RGB, rows from the top (uint8)."""
        return self.memory[: self._bytes]

    def takes(self, answer: bytes) -> bool:
        """Whether there is room for one more."""
        return self._rows < len(self._parts) and self._bytes + len(answer) - HEAD.size <= self._room

    def add(self, answer: bytes) -> None:
        """Take an answer that `is_part`, if it `takes` it."""
        self._parts[self._rows] = np.frombuffer(answer, PART, 1)[0]
        pixels = np.frombuffer(answer, np.uint8, offset=HEAD.size)
        self.memory[self._bytes : self._bytes + len(pixels)] = pixels
        self._rows, self._bytes = self._rows + 1, self._bytes + len(pixels)

    def fill(self, parts: np.ndarray, pixels: np.ndarray) -> None:
        """Take all of another room."""
        self._parts[: len(parts)] = parts
        self.memory[: len(pixels)] = pixels
        self._rows, self._bytes = len(parts), len(pixels)
