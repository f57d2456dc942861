"""Fingerprint files: `curate fingerprint` writes them for evaluation sets, so that a run can drop what is in these.

A file holds the perceptual fingerprints of images, their names and small pictures of them (for the report), and the
words of texts as hashes. Its header says by which method the fingerprints were made; a file of another method is
refused, because its bits mean something else. Anybody may have made a file: every length is checked before it is used,
and nothing is unpickled or decoded here.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.errors import ManifestError
from curate.images.fingerprint import BYTES, METHOD, VERSION, VIEW_BYTES, VIEWS
from curate.manifest.pinning import RULES, read_pinned
from filters import evaluation_texts
from filters.copies import CopyIndex, Prints

IMAGE_RULE = "image_in_evaluation_set"
MAGIC = b"curate fingerprints\n"
HEADER = struct.Struct("<I")
MAX_HEADER = 2**20
SECTIONS = ("prints", "names", "name_ends", "pictures", "picture_ends", "words", "text_ends")
KINDS = {"name_ends": "<u4", "picture_ends": "<u8", "words": "<u8", "text_ends": "<u8"}


@dataclass(frozen=True)
class EvaluationSet:
    """The content of one fingerprint file: N images and M texts."""

    name: str  # the file's name without its ending
    header: dict[str, Any]
    sections: dict[str, memoryview]  # by the names in SECTIONS

    @property
    def prints(self) -> Prints:
        """The fingerprints of the images (N x VIEWS x VIEW_BYTES, uint8)."""
        return np.frombuffer(self.sections["prints"], np.uint8).reshape(-1, VIEWS, VIEW_BYTES)

    def image_name(self, number: int) -> str:
        """Return the name of image `number` (from 0): its file, or a file and a row in it."""
        return str(self._piece("names", "name_ends", number), "utf-8", "replace")

    def picture(self, number: int) -> bytes:
        """Return a small picture of image `number` (from 0), encoded; empty if none was kept."""
        return bytes(self._piece("pictures", "picture_ends", number))

    def texts(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Return the hashes of the words of all texts, and the index in these at which each text ends (M)."""
        return self.numbers("words").astype(np.uint64), self.numbers("text_ends").astype(np.int64)

    def numbers(self, section: str) -> npt.NDArray[Any]:
        """Return a section that holds numbers as an array of them; its type is in KINDS."""
        return np.frombuffer(self.sections[section], KINDS[section])

    def _piece(self, section: str, ends: str, number: int) -> memoryview:
        stops = self.numbers(ends)
        return self.sections[section][int(stops[number - 1]) if number else 0 : int(stops[number])]


def write_set(
    sources: Sequence[dict[str, Any]],
    images: Sequence[tuple[str, bytes, bytes]],
    texts: Sequence[npt.NDArray[np.uint64]],
) -> bytes:
    """Return the content of a fingerprint file.

    Args:
        sources: what the file was made of, for its header.
        images: name, fingerprints (BYTES bytes) and small picture (encoded, or empty) of each image.
        texts: the hashes of the words of each text.
    """
    names = [name.encode("utf-8", "replace") for name, _, _ in images]
    pictures = [picture for _, _, picture in images]
    made = {
        "prints": b"".join(marks for _, marks, _ in images),
        "names": b"".join(names),
        "name_ends": _ends(names, "name_ends"),
        "pictures": b"".join(pictures),
        "picture_ends": _ends(pictures, "picture_ends"),
        "words": b"".join(words.astype("<u8").tobytes() for words in texts),
        "text_ends": _ends(texts, "text_ends"),
    }
    content = b"".join(made.values())
    header = {
        "method": METHOD,
        "version": VERSION,
        "images": len(images),
        "texts": len(texts),
        "sources": list(sources),
        "sections": {name: len(part) for name, part in made.items()},
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    said = json.dumps(header, sort_keys=True).encode()
    return MAGIC + HEADER.pack(len(said)) + said + content


def read_set(content: bytes, path: Path) -> EvaluationSet:
    """Read the content of the fingerprint file at `path`.

    Raises:
        ManifestError: it is no fingerprint file, is damaged, or its fingerprints were made by another method.
    """
    try:
        header, first = _header(content)
        if (header["method"], header["version"]) != (METHOD, VERSION):
            made = f"{str(header['method'])[:40]!r} version {str(header['version'])[:10]}"
            raise _OtherMethodError(f"its fingerprints are {made}, ours {METHOD!r} version {VERSION}")
        sections = _sections(header, memoryview(content)[first:])
    except _OtherMethodError as error:
        raise ManifestError(f"{path}: {error}; make it anew by `curate fingerprint`") from None
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        struct.error,
    ) as error:
        said = " ".join(str(error).split())[:120]
        raise ManifestError(
            f"{path} is no whole fingerprint file: {said}; make it by `curate fingerprint`"
        ) from None
    return EvaluationSet(path.stem, header, sections)


@lru_cache(maxsize=16)
def open_set(pinned: str) -> EvaluationSet:
    """Read a fingerprint file, given its pinned name (`curate.manifest.pinning`); the last 16 stay in memory.

    Raises:
        ManifestError: it cannot be read, or its content is not the pinned one; see also `read_set`.
    """
    path, content = read_pinned(pinned)
    return read_set(content, path)


def check_sets(rules: Mapping[str, Mapping[str, Any]]) -> None:
    """Open every fingerprint file that these rules (name -> settings) compare with, to find errors early.

    Raises:
        ManifestError: see `open_set`.
    """
    for name in RULES:
        for pinned in rules.get(name, {}).get("against", ()):
            open_set(pinned)


@dataclass(frozen=True)
class EvaluationImages:
    """The images of several evaluation sets."""

    sets: tuple[EvaluationSet, ...]

    @classmethod
    def of(cls, against: Sequence[str]) -> EvaluationImages:
        """Open the fingerprint files with these pinned names.

        Raises:
            ManifestError: see `open_set`.
        """
        return cls(tuple(map(open_set, against)))

    def nearest(self, prints: Prints, max_distance: int) -> list[tuple[EvaluationSet, int, int] | None]:
        """Return, for each of N images, the nearest evaluation image: its set, its number, and how many bits differ.

        Args:
            prints: fingerprints of the images (N x VIEWS x VIEW_BYTES, uint8).
            max_distance: None is returned for an image if the nearest one differs by more bits (of 256).
        """
        places, distances = self._index.nearest(prints, max_distance)
        return [
            (*self._owner(place), bits) if place >= 0 else None
            for place, bits in zip(places.tolist(), distances.tolist(), strict=True)
        ]

    def _owner(self, place: int) -> tuple[EvaluationSet, int]:
        number = int(np.searchsorted(self._ends, place, side="right"))
        return self.sets[number], place - (int(self._ends[number - 1]) if number else 0)

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        return np.cumsum([len(one.prints) for one in self.sets])

    @cached_property
    def _index(self) -> CopyIndex:
        nothing = np.zeros((0, VIEWS, VIEW_BYTES), np.uint8)
        return CopyIndex(np.concatenate([nothing, *(one.prints for one in self.sets)]))


class _OtherMethodError(Exception):
    """The fingerprints of a file were made by another method."""


def _header(content: bytes) -> tuple[dict[str, Any], int]:
    """Read the header of a file; return it and the offset at which the sections begin.

    Raises:
        ValueError: it is no fingerprint file, or is damaged.
    """
    if not content.startswith(MAGIC):
        raise ValueError("it does not begin as one")
    (size,) = HEADER.unpack_from(content, len(MAGIC))
    first = len(MAGIC) + HEADER.size
    if size > MAX_HEADER or first + size > len(content):
        raise ValueError("it is cut short")
    header = json.loads(content[first : first + size])
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    return header, first + size


def _sections(header: dict[str, Any], content: memoryview) -> dict[str, memoryview]:
    """Cut a file's content into its sections, and check that their lengths agree with the header and each other.

    Raises:
        ValueError: they do not, or the content has another hash than the header says.
    """
    sizes = [header["sections"][name] for name in SECTIONS]
    if any(type(size) is not int or size < 0 for size in sizes) or sum(sizes) != len(content):
        raise ValueError("it is cut short")
    if hashlib.sha256(content).hexdigest() != header["sha256"]:
        raise ValueError("its content was changed")
    ends = np.cumsum(sizes).tolist()
    parts = {name: content[end - size : end] for name, size, end in zip(SECTIONS, sizes, ends, strict=True)}
    images, texts = header["images"], header["texts"]
    if len(parts["prints"]) != images * BYTES:
        raise ValueError("it does not hold the images that it says")
    for ends_name, whole, count, unit in (
        ("name_ends", "names", images, 1),
        ("picture_ends", "pictures", images, 1),
        ("text_ends", "words", texts, 8),
    ):
        stops = np.frombuffer(parts[ends_name], KINDS[ends_name]).astype(np.uint64)
        if len(stops) != count or (np.diff(stops.astype(np.float64)) < 0).any():
            raise ValueError(f"its {whole} are not where it says")
        if (int(stops[-1]) if count else 0) * unit != len(parts[whole]):
            raise ValueError(f"its {whole} are not where it says")
    return parts


def _ends(parts: Sequence[Any], section: str) -> bytes:
    return np.cumsum([len(part) for part in parts], dtype=np.uint64).astype(KINDS[section]).tobytes()


def _words_of(pinned: str) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    return open_set(pinned).texts()


evaluation_texts.open_texts = _words_of
