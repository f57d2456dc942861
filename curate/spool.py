"""Encoded images on their way to a shard, in a nameless temporary file: memory holds only those in flight."""

from __future__ import annotations

import tempfile
from types import TracebackType

import numpy as np
import pyarrow as pa


class Spool:
    """Images by row, each put once in any order and read back in row order."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="curate-")  # noqa: SIM115 - lives as long as the spool
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
        self._file.seek(self._end)
        self._file.write(image)
        self._places[row] = (self._end, len(image))
        self._end += len(image)

    def lengths(self, rows: np.ndarray) -> list[int]:
        """The sizes of these rows' images in bytes; 0 where there is none (N)."""
        return [self._places.get(row, (0, 0))[1] for row in rows.tolist()]

    def take(self, rows: np.ndarray) -> pa.LargeBinaryArray:
        """The images of these rows; null where there is none (N rows)."""
        return pa.array([self._read(row) for row in rows.tolist()], pa.large_binary())

    def _read(self, row: int) -> bytes | None:
        if row not in self._places:
            return None
        offset, length = self._places[row]
        self._file.seek(offset)
        return self._file.read(length)
