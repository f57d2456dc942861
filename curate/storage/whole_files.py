"""Local files that another process sees complete or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

BUFFER = 2**20  # bytes that are copied at a time


@contextmanager
def whole_file(path: Path, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file for writing, which is renamed to `path` at the end of the block; its folder is made.

    With `durable` the content is flushed to the disk before the rename.

    Raises:
        OSError: the file cannot be written; then nothing is left of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:60]}.", delete=False) as file:
        try:
            yield cast(BinaryIO, file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        except BaseException:
            Path(file.name).unlink()
            raise
    Path(file.name).replace(path)


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` as the file `path`, which another process sees complete or not at all.

    Raises:
        OSError: the file cannot be written; then nothing is left of it.
    """
    with whole_file(path) as file:
        file.write(data)


def copy_whole(source: Any, path: Path, most: int) -> None:
    """Copy the stream `source` into the file `path`, which another process sees complete or not at all.

    Raises:
        OSError: the file cannot be written; then nothing is left of it.
        ValueError: the stream has more than `most` bytes; then nothing is left of it.
    """
    with whole_file(path) as file:
        while piece := source.read(BUFFER):
            if file.tell() + len(piece) > most:
                raise ValueError(f"it unpacks to more than {most} bytes: see input.max_expansion")
            file.write(piece)
