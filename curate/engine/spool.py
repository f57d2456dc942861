"""Encoded images on their way to a shard, in a nameless temporary file: memory holds only those in flight."""

from __future__ import annotations

import os
import tempfile
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Spool:
    """Images by row, each put once in any order and read back in row order, by another thread if need be."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="curate-", buffering=0)  # noqa: SIM115 - lives as long as the spool
        self._places: dict[int, tuple[int, int]] = {}  # row to offset and length
        self._end = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, row: int, image: bytes) -> None:
        """Keep the image of a row."""
        start, left = self._end, memoryview(image)
        while left:
            self._end += os.pwrite(self._file.fileno(), left, self._end)
            left = memoryview(image)[self._end - start :]
        self._places[row] = (start, len(image))

    def lengths(self, rows: np.ndarray) -> list[int]:
        """The sizes of these rows' images in bytes; 0 where there is none (N)."""
        return [self._places.get(row, (0, 0))[1] for row in rows.tolist()]

    def identities(self, rows: np.ndarray) -> np.ndarray:
        """A number of each row's image, the same where it is the same; -1 where there is none (N, int64)."""
        return np.array([self._places.get(row, (-1, 0))[0] for row in rows.tolist()], np.int64)

    def put_again(self, row: int, first: int) -> None:
        """Let a row have the image of another one, if that has any."""
        if first in self._places:
            self._places[row] = self._places[first]

    def take(self, rows: np.ndarray) -> pa.BinaryArray:
        """The images of these rows in one buffer; null where there is none (N rows, below 2 GiB)."""
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
