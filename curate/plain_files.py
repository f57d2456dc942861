"""Open a file that the user named, if it is a regular file: reading a pipe could wait for ever, a device never ends."""

from __future__ import annotations

import errno
import stat
from io import BufferedReader
from pathlib import Path


def open_plain(path: Path) -> BufferedReader:
    """Open the regular file at `path` for reading bytes.

    Raises:
        OSError: the file cannot be opened, or is a folder, a pipe or a device.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "no name holds a null character", str(path))
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no file, but a folder, a pipe or a device", str(path))
    return path.open("rb")
