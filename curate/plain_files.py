"""Files of a person's choice, opened only where they are files: a pipe would be waited for, a device never ends."""

from __future__ import annotations

import errno
import stat
from io import BufferedReader
from pathlib import Path


def open_plain(path: Path) -> BufferedReader:
    """The file, to be read.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe or a device.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no file", str(path))
    return path.open("rb")
