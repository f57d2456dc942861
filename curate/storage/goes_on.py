"""What ends a command too early, as an error that says how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from curate.errors import Halted, Stopped
from curate.storage.filesystems import one_line


@contextmanager
def goes_on(folder: str) -> Iterator[None]:
    """While `folder` is written by a command that goes on where it stood.

    Raises:
        Stopped: it was interrupted.
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
