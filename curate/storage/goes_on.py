"""Turn what ends a command too early into an error that says how to continue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from curate.errors import Halted, Stopped
from curate.storage.filesystems import one_line


@contextmanager
def goes_on(folder: str) -> Iterator[None]:
    """Turn interrupts and OSErrors in the block into errors which say that the same command will continue.

    `folder` is the output folder of a command that continues where it was stopped.

    Raises:
        Stopped: the command was interrupted.
        Halted: the folder cannot be written or read for now.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(f"interrupted; the same command goes on where {folder} stands") from None
    except OSError as error:
        raise Halted(
            f"cannot go on in {folder}: {one_line(error)}; mend that, then the same command"
        ) from None
