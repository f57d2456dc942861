"""List the files below a folder; on a disk also broken links, pipes and devices, and without following link cycles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pyarrow import fs

AT_ONCE = 1000  # the sizes of so many files are asked for in one call


def files_below(system: fs.FileSystem, folder: str, recursive: bool = True) -> Iterator[fs.FileInfo]:
    """Yield the files in `folder`, or also below it (`recursive`); none where there is no such folder.

    On a disk, links are followed, but not back to a folder that they lie in. Broken links, pipes and devices are
    yielded too, with a type that says that they are no files.

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
    """Yield the paths of everything that is not a folder."""
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while waiting:
        folder, above = waiting.pop()  # `above`: device and inode of each folder that it lies in
        seen = Path(folder).stat()
        if (me := (seen.st_dev, seen.st_ino)) in above:
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir():
                    yield entry.path
                elif recursive:
                    waiting.append((entry.path, above | {me}))
