"""The files below a folder; on a disk also what is there in the place of one, each once whatever the links say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pyarrow import fs

AT_ONCE = 1000  # names whose sizes are asked for together


def files_below(system: fs.FileSystem, folder: str, recursive: bool = True) -> Iterator[fs.FileInfo]:
    """The files in `folder`, or below it; none where it is not there.

    On a disk, links are followed, but not back to a folder that they lie in; and a broken link, a pipe or a device is
    given too, as something that is no file.

    Raises:
        OSError: a folder cannot be listed.
    """
    if not isinstance(system, fs.LocalFileSystem):
        selector = fs.FileSelector(folder, recursive=recursive, allow_not_found=True)
        yield from (item for item in system.get_file_info(selector) if item.is_file)
        return
    paths = list(_below(folder, recursive)) if Path(folder).is_dir() else []
    for start in range(0, len(paths), AT_ONCE):
        yield from system.get_file_info(paths[start : start + AT_ONCE])


def _below(folder: str, recursive: bool) -> Iterator[str]:
    """Paths of all that is no folder."""
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while waiting:
        folder, above = waiting.pop()  # with the device and number of each folder that it lies in
        seen = Path(folder).stat()
        if (me := (seen.st_dev, seen.st_ino)) in above:
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir():
                    yield entry.path
                elif recursive:
                    waiting.append((entry.path, above | {me}))
