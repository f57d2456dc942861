"""Fingerprint files: what `curate fingerprint` keeps of evaluation sets, so that nothing of them is trained on.

One file holds the perceptual fingerprints of images, their names and small pictures of them (for the report), and the
words of texts as hashes. It says itself how its fingerprints were made; one made in another way is refused, as its
bits mean something else. Files come from anybody: every length is checked before it is used, and nothing is unpickled
or decoded here.
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
    """What one fingerprint file holds."""

    name: str  # the file's, without its ending
    header: dict[str, Any]
    sections: dict[str, memoryview]

    @property
    def prints(self) -> Prints:
        """The fingerprints of its images (N x VIEWS x VIEW_BYTES)."""
        return np.frombuffer(self.sections["prints"], np.uint8).reshape(-1, VIEWS, VIEW_BYTES)

    def image_name(self, number: int) -> str:
        """What an image is called there: its file, or a file and a row of it."""
        return str(self._piece("names", "name_ends", number), "utf-8", "replace")

    def picture(self, number: int) -> bytes:
        """A small picture of an image, encoded; empty where none was kept."""
        return bytes(self._piece("pictures", "picture_ends", number))

    def texts(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """The words of its texts as hashes, and where each text ends."""
        return self.numbers("words").astype(np.uint64), self.numbers("text_ends").astype(np.int64)

    def numbers(self, section: str) -> npt.NDArray[Any]:
        """A section that holds numbers."""
        return np.frombuffer(self.sections[section], KINDS[section])

    def _piece(self, section: str, ends: str, number: int) -> memoryview:
        stops = self.numbers(ends)
        return self.sections[section][int(stops[number - 1]) if number else 0 : int(stops[number])]


def write_set(
    sources: Sequence[dict[str, Any]],
    images: Sequence[tuple[str, bytes, bytes]],
    texts: Sequence[npt.NDArray[np.uint64]],
) -> bytes:
    """The content of a fingerprint file: images (name, fingerprints, picture) and texts (hashes of their words)."""
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
    """What a fingerprint file holds.

    Raises:
        ManifestError: it is none, is damaged, or its fingerprints were made by another method.
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
    """A fingerprint file by its pinned name (`curate.manifest.pinning`).

    Raises:
        ManifestError: it cannot be read, is another one than was pinned, or see `read_set`.
    """
    path, content = read_pinned(pinned)
    return read_set(content, path)


def check_sets(rules: Mapping[str, Mapping[str, Any]]) -> None:
    """Open every fingerprint file that these rules (name to settings) compare with.

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
        """Those of the files with these pinned names.

        Raises:
            ManifestError: see `open_set`.
        """
        return cls(tuple(map(open_set, against)))

    def nearest(self, prints: Prints, max_distance: int) -> list[tuple[EvaluationSet, int, int] | None]:
        """Of each of N images: the set and number of the evaluation image it is a copy of, and how many bits differ."""
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
    """The fingerprints of a file mean something else."""


def _header(content: bytes) -> tuple[dict[str, Any], int]:
    """What a file says of itself, and where its sections begin."""
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
    """The parts of the file, each of the length that its neighbours say."""
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
