"""Find out why an input cannot be read: because of its content, of this machine, or of the work folder."""

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
    """The error to raise in place of `error`, which came up while `source` was read with the work folder `work`.

    OutputError where the work folder cannot be written, UnreadableInputError where the content is damaged (the input
    will never be readable), else InputError.
    """
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return OutputError(f"cannot write to {work}: {error.strerror}")
    kind = UnreadableInputError if is_damaged(source, error) else InputError
    return kind(f"cannot read {source.uri}: {one_line(error)}")


def is_damaged(source: Input, error: Exception) -> bool:
    """Whether the content of the input caused an error that came up while it was read.

    That is so where the operating system reported no error and every byte of the input can be read: then the input
    cannot be parsed on another machine or at another time either.
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
