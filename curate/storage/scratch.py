"""Temporary folders that are removed in the end, however their process ended."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

SCRATCH = "curate-scratch-"  # the beginning of their names


class ScratchFolder:
    """An empty temporary folder at `path`, which exists until `close`, or to the end of a `with` block.

    The `with` block gets the path. The process that made the folder holds a lock on it. The next process that makes
    such a folder finds folders without a lock, which killed processes left, and removes them.
    """

    def __init__(self) -> None:
        for left in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
            _remove_left(left)
        self.path, self._lock = _made()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder; further calls do nothing."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _made() -> tuple[Path, int]:
    """A new folder and the descriptor that locks it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH))
        with suppress(FileNotFoundError):  # another process has removed it, because it was not locked yet
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _remove_left(folder: Path) -> None:
    """Remove a folder of this user's whose process has ended."""
    with suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
