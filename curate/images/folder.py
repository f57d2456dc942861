"""Local images by the names that data sets give them: below a folder, or in a zip file.

A name is the path of a file; else the name of a file anywhere below; else, of a name without a suffix, a file
name's stem (Visual Genome's `2407890`, GQA's `n161313`); else the number of one of COCO's images, of which
`9`, `000000000009.jpg` and `COCO_train2014_000000000009.jpg` are three names. A name that stands for several
files is none.
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
AMBIGUOUS = ""


class Pictures:
    """The images in one place; what lies there is listed when a name is no path."""

    def __init__(self, place: Path) -> None:
        self._root = place.resolve()
        self._zip = zipfile.ZipFile(self._root) if zipfile.is_zipfile(self._root) else None
        self._lock = threading.Lock()  # a zip file has one position

    def read(self, name: str, limit: int) -> bytes:
        """The image's first `limit` bytes and one more, if it has more.

        Raises:
            FileNotFoundError: no file, or several, go by that name.
            PermissionError: the name leads elsewhere.
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
        """The path of the file that goes by this name, if it is not a path itself."""
        base = name.replace("\\", "/").rsplit("/", 1)[-1]
        found = self._names.get(base.casefold())
        if found is None and (number := COCO.fullmatch(base)):
            found = self._names.get(_coco(number[1]))
        return found or None

    @cached_property
    def _names(self) -> dict[str, str]:
        """File names, stems and COCO's numbers to paths; about 400 bytes of memory an image."""
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
