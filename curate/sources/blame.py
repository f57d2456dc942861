"""What is to blame where an input cannot be read: its content, the machine that reads it, or the work folder."""

from __future__ import annotations

import errno
from pathlib import Path

import pyarrow as pa

from curate.errors import CurateError, InputError, OutputError, UnreadableInputError
from curate.sources.inputs import Input
from curate.storage.filesystems import filesystem, one_line

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
PIECE = 8 * 2**20


def blamed(source: Input, error: Exception, work: Path) -> CurateError:
    """The error to raise for one that was met while the input was read with the help of the folder `work`."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return OutputError(f"cannot write to {work}: {error.strerror}")
    kind = UnreadableInputError if is_damaged(source, error) else InputError
    return kind(f"cannot read {source.uri}: {one_line(error)}")


def is_damaged(source: Input, error: Exception) -> bool:
    """Whether an error that was met while the input was read is due to its content.

    It is where every byte of the input can be had here, and the system tells of no error of its own: then it cannot be
    read elsewhere or later either.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return False
    try:
        return all(_bytes(part) == part.bytes for part in source.files)
    except (OSError, pa.ArrowException):
        return False


def _bytes(source: Input) -> int:
    system, path = filesystem(source.uri)
    count = 0
    with system.open_input_file(path) as file:
        while piece := file.read(PIECE):
            count += len(piece)
    return count
