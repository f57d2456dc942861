"""Pictures for backgrounds and paper: from folders, from zip archives (such as COCO's), or generated.

A picture is BGR, 8 bit, and at most MAX_SIDE px long, because it is stretched over the document and kept decoded.
"""

from __future__ import annotations

import io
import os
import warnings
import zipfile
import zlib
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps, UnidentifiedImageError

from synthdog import procedural
from synthdog.errors import ItemError, ResourceError
from synthdog.settings import Texture

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MAX_SIDE = 1024
MAX_PIXELS = 50_000_000
MAX_BYTES = 1 << 26
PROBES = 25  # pictures tried before a source is called unreadable
# The fields that are needed to read an archive's entry
ENTRY = ("header_offset", "compress_size", "file_size", "CRC", "compress_type", "flag_bits")


@dataclass(frozen=True)
class PictureSource:
    """The pictures of one folder or archive: their names, and a function that loads one."""

    name: str
    names: Sequence[str]
    read: Callable[[str], np.ndarray]


class Names(Sequence[str]):
    """Names in order, all in one buffer."""

    def __init__(self, names: Iterable[str]):
        self._names = pa.array(names, pa.large_string())

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, place: Any) -> Any:
        found = self._names[place]
        return found.to_pylist() if isinstance(place, slice) else found.as_py()


class Archive:
    """The pictures of a zip archive.

    Its directory is kept in a few arrays: as objects, the directories of COCO's two archives take 110 MB more.
    """

    def __init__(self, at: Path):
        self._zip = zipfile.ZipFile(at)
        entries = [one for one in self._zip.infolist() if one.filename.lower().endswith(SUFFIXES)]
        entries.sort(key=attrgetter("filename"))
        self.names = Names([one.filename for one in entries])
        self._entries = {
            field: np.fromiter(map(attrgetter(field), entries), np.int64, len(entries)) for field in ENTRY
        }
        self._zip.filelist.clear()
        self._zip.NameToInfo.clear()

    def picture(self, name: str) -> np.ndarray:
        """The picture with this name, decoded.

        Raises:
            ItemError: it cannot be read.
        """
        entry, place = zipfile.ZipInfo(name), bisect_left(self.names, name)
        for field, values in self._entries.items():
            setattr(entry, field, int(values[place]))
        if entry.file_size > MAX_BYTES:
            raise ItemError("too_large", f"{name}: {entry.file_size} bytes")
        try:
            return decode(self._zip.read(entry))
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, zlib.error) as problem:
            raise ItemError("damaged", f"{name}: {problem}") from None


class Gallery:
    """Sources of pictures with weights, and a cache of the pictures that were decoded last."""

    def __init__(self, sources: Sequence[PictureSource], weights: Sequence[float], cache_bytes: int):
        self.sources = tuple(sources)
        self._bounds = np.cumsum(np.array(weights, np.float64) / sum(weights))
        self._kept: OrderedDict[tuple[int, str], np.ndarray] = OrderedDict()
        self._room = cache_bytes

    def pick(self, rng: np.random.Generator) -> tuple[int, str]:
        """Draw a source (by weight) and one of its pictures; returns the source's number and the picture's name."""
        source = min(int(np.searchsorted(self._bounds, rng.random(), side="right")), len(self.sources) - 1)
        names = self.sources[source].names
        return source, names[int(rng.integers(len(names)))]

    def label(self, choice: tuple[int, str]) -> str:
        """The name of a picked picture, for records: SOURCE/NAME."""
        return f"{self.sources[choice[0]].name}/{choice[1]}"

    def picture(self, choice: tuple[int, str]) -> np.ndarray:
        """A picked picture, decoded (height, width, 3; BGR); the caller must not change it.

        Raises:
            ItemError: it cannot be read (`not_an_image`, `damaged`, `too_many_pixels`, `too_large`).
        """
        if choice not in self._kept:
            picture = self.sources[choice[0]].read(choice[1])
            self._room -= picture.nbytes
            self._kept[choice] = picture
            while self._room < 0 and len(self._kept) > 1:
                self._room += self._kept.popitem(last=False)[1].nbytes
        self._kept.move_to_end(choice)
        kept: np.ndarray = self._kept[choice]
        return kept


@dataclass(frozen=True)
class Crop:
    """A picture, or a part of it, to lay over a surface with `alpha` (0 to 1)."""

    label: str
    pixels: np.ndarray
    alpha: float

    def laid(self, size: tuple[int, int], under: int) -> np.ndarray:
        """The crop stretched to `size` (width, height) and laid over a surface of gray level `under`."""
        scaled = cv2.resize(self.pixels, size)
        if self.alpha == 1:
            return np.asarray(scaled)
        return np.asarray(cv2.convertScaleAbs(scaled, alpha=self.alpha, beta=under * (1 - self.alpha)))


def cut(gallery: Gallery, settings: Texture, rng: np.random.Generator) -> Crop:
    """Draw a picture of the gallery, and by `settings` its part, gray and alpha, as synthtiger's BaseTexture does.

    Raises:
        ItemError: the picture cannot be read.
    """
    choice = gallery.pick(rng)
    pixels = gallery.picture(choice)
    alpha, gray = rng.uniform(*settings.alpha), rng.random() < settings.grayscale
    if rng.random() < settings.crop:
        height, width = (int(rng.integers(1, side + 1)) for side in pixels.shape[:2])
        top = int(rng.integers(pixels.shape[0] - height + 1))
        left = int(rng.integers(pixels.shape[1] - width + 1))
        pixels = pixels[top : top + height, left : left + width]
    if gray:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return Crop(gallery.label(choice), pixels, float(alpha))


def gallery(settings: Texture, kind: str, cache_bytes: int) -> Gallery:
    """The pictures that `settings` name; without paths, the generated ones of `kind` (`background` or `paper`).

    `cache_bytes` limits the decoded pictures that are kept.

    Raises:
        ResourceError: a path is missing, or none of its pictures can be read.
    """
    if not settings.paths:
        made_up = PictureSource("procedural", procedural.names(kind), procedural.picture)
        return Gallery([made_up], [1.0], cache_bytes)
    return Gallery(
        [_source(path) for path in settings.paths],
        settings.weights or [1.0] * len(settings.paths),
        cache_bytes,
    )


def decode(data: bytes) -> np.ndarray:
    """An encoded picture, upright, as BGR of at most MAX_SIDE px.

    Raises:
        ItemError: `not_an_image`, `damaged` or `too_many_pixels`.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ItemError("too_many_pixels", f"{image.width}x{image.height}")
            image.draft("RGB", (MAX_SIDE, MAX_SIDE))
            upright = ImageOps.exif_transpose(image).convert("RGB")
            upright.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BILINEAR)
            return np.asarray(cv2.cvtColor(np.asarray(upright), cv2.COLOR_RGB2BGR))
    except UnidentifiedImageError:
        raise ItemError("not_an_image", f"{len(data)} bytes") from None
    except Image.DecompressionBombError as problem:
        raise ItemError("too_many_pixels", str(problem)) from None
    except ItemError:
        raise
    except Exception as problem:  # on broken files, Pillow's decoders raise errors of any class
        raise ItemError("damaged", str(problem)) from None


def _source(path: str) -> PictureSource:
    at = Path(path)
    if not at.exists():
        raise ResourceError(f"picture path {path!r} does not exist")
    source = _folder(at) if at.is_dir() else _archive(at)
    if not any(_readable(source, name) for name in source.names[:: max(len(source.names) // PROBES, 1)]):
        raise ResourceError(f"{path!r} holds no readable picture ({', '.join(FORMATS)})")
    return source


def _readable(source: PictureSource, name: str) -> bool:
    try:
        source.read(name)
    except ItemError:
        return False
    return True


def _folder(at: Path) -> PictureSource:
    names = sorted(
        os.path.relpath(f"{place}/{name}", at)
        for place, _, found in os.walk(at)
        for name in found
        if name.lower().endswith(SUFFIXES)
    )
    return PictureSource(at.name, names, lambda name: decode(_bytes_of(at / name)))


def _bytes_of(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ItemError("too_large", f"{file.name}: {file.stat().st_size} bytes")
        return file.read_bytes()
    except OSError as problem:
        raise ItemError("damaged", str(problem)) from None


def _archive(at: Path) -> PictureSource:
    try:
        archive = Archive(at)
    except (zipfile.BadZipFile, OSError, ValueError) as problem:
        raise ResourceError(f"picture archive {str(at)!r} cannot be read: {problem}") from None
    return PictureSource(at.name, archive.names, archive.picture)
