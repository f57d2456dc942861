"""A temporary file without a name for a unit's encoded images, until they are written into a shard: it saves memory."""

from __future__ import annotations

import os
import tempfile
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Spool:
    """Encoded images by row number, each written once, in any order, and read in row order, also by another thread."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="curate-", buffering=0)  # noqa: SIM115 - lives as long as the spool
        self._places: dict[int, tuple[int, int]] = {}  # row → offset and length in bytes
        self._end = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, row: int, image: bytes) -> None:
        """Write the image of a row."""
        start, left = self._end, memoryview(image)
        while left:
            self._end += os.pwrite(self._file.fileno(), left, self._end)
            left = memoryview(image)[self._end - start :]
        self._places[row] = (start, len(image))

    def lengths(self, rows: np.ndarray) -> list[int]:
        """Return the sizes of these rows' images in bytes; 0 for a row without an image (N)."""
        return [self._places.get(row, (0, 0))[1] for row in rows.tolist()]

    def identities(self, rows: np.ndarray) -> np.ndarray:
        """Return a number for each row's image, equal for rows that share an image; -1 without an image (N, int64)."""
        return np.array([self._places.get(row, (-1, 0))[0] for row in rows.tolist()], np.int64)

    def put_again(self, row: int, first: int) -> None:
        """Give a row the image of the row `first`, if that row has one."""
        if first in self._places:
            self._places[row] = self._places[first]

    def take(self, rows: np.ndarray) -> pa.BinaryArray:
        """Read the images of these rows; null for a row without an image (N rows, together less than 2 GiB)."""
        lengths = self.lengths(rows)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        data = bytearray(int(offsets[-1]))
        view = memoryview(data)
        for row, start, length in zip(rows.tolist(), offsets.tolist(), lengths, strict=False):
            if length:
                os.preadv(self._file.fileno(), [view[start : start + length]], self._places[row][0])
        images = pa.Array.from_buffers(
            pa.binary(), len(rows), [None, pa.py_buffer(offsets), pa.py_buffer(data)]
        )
        absent = pa.array(np.array(lengths) == 0, pa.bool_())
        return pc.if_else(absent, None, images) if any(length == 0 for length in lengths) else images
