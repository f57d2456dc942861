"""Finds local images by the names that data sets give them, below a folder or in a zip file.

A name is looked up in this order: as the path of a file; as the name of a file anywhere below the folder; as a file
name without its suffix (Visual Genome's `2407890`, GQA's `n161313`); as the number of a COCO image (`9`,
`000000000009.jpg` and `COCO_train2014_000000000009.jpg` all name the same one). A name that fits several files counts
as not found.
"""

from __future__ import annotations

import os
import re
import threading
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from curate.plain_files import open_plain

COCO = re.compile(
    r"(?:COCO_[a-z]+\d{4}_)?0*(\d{1,12})(?:_\d+)?(?:\.jpg)?"
)  # RefCOCO adds the object's number
LISTED = re.compile(r"(?:COCO_[a-z]+\d{4}_)?0*(\d{1,12})\.jpg")
AMBIGUOUS = ""  # instead of a path: several files have this name


class Pictures:
    """Reads the images of one folder or zip file (`place`); its files are listed once a name is not a path."""

    def __init__(self, place: Path) -> None:
        self._root = place.resolve()
        self._zip = zipfile.ZipFile(self._root) if zipfile.is_zipfile(self._root) else None
        self._lock = threading.Lock()  # a zip file has one position

    def read(self, name: str, limit: int) -> bytes:
        """Return the image's first `limit` + 1 bytes, or all if it has fewer: so the caller can tell a larger image.

        Raises:
            FileNotFoundError: no file, or several, have that name.
            PermissionError: the name leads out of the folder.
            OSError, ValueError, RuntimeError, BadZipFile: it cannot be read, or is a pipe or a device.
        """
        try:
            return self._read(name, limit)
        except FileNotFoundError:
            found = self._named(name)
            if not found:
                raise
            return self._read(found, limit)

    def close(self) -> None:
        """Close the zip file."""
        if self._zip is not None:
            self._zip.close()

    def _read(self, path: str, limit: int) -> bytes:
        if self._zip is not None:
            with self._lock:
                try:
                    member = self._zip.open(path)
                except KeyError:
                    raise FileNotFoundError(path) from None
                with member:
                    return member.read(limit + 1)
        file = (self._root / path).resolve()
        if not file.is_relative_to(self._root):
            raise PermissionError(path)
        if file == self._root or file.is_dir():
            raise FileNotFoundError(path)
        with open_plain(file) as opened:
            return opened.read(limit + 1)

    def _named(self, name: str) -> str | None:
        """Return the path of the file with this name, which is no path itself; None if there is none or several."""
        base = name.replace("\\", "/").rsplit("/", 1)[-1]
        found = self._names.get(base.casefold())
        if found is None and (number := COCO.fullmatch(base)):
            found = self._names.get(_coco(number[1]))
        return found or None

    @cached_property
    def _names(self) -> dict[str, str]:
        """File names, names without suffix, and COCO's numbers -> path; about 400 bytes of memory for each image."""
        names: dict[str, str] = {}
        for path in self._paths():
            base = path.rsplit("/", 1)[-1].casefold()
            number = LISTED.fullmatch(path.rsplit("/", 1)[-1])
            for name in {base, base.rpartition(".")[0], _coco(number[1]) if number else ""} - {""}:
                names[name] = AMBIGUOUS if name in names else path
        return names

    def _paths(self) -> Iterator[str]:
        if self._zip is not None:
            yield from (name for name in self._zip.namelist() if not name.endswith("/"))
            return
        for folder, _, files in os.walk(self._root):
            for file in files:
                yield str((Path(folder) / file).relative_to(self._root))


def _coco(number: str) -> str:
    return f"coco image {number}"
