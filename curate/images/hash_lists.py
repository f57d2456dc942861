"""Lists of hashes of unwanted images: MD5 and SHA-256 of their bytes, and PDQ of what they show.

A list is a text file with a hash on each line: `md5:`, `sha256:` or `pdq:` and the hex digits. Without such a prefix,
32 digits are an MD5 and 64 digits a SHA-256, or a PDQ if the file's name ends in `.pdq`. A comma and anything after it
is ignored, such as PDQ's quality; so are empty lines and lines that begin with `#`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.errors import ManifestError
from curate.manifest.pinning import LIST_RULE, read_pinned
from curate.terminal import printable
from filters.copies import VIEW_BYTES
from filters.hash_list import PdqIndex

MAX_BYTES = 2**28  # of a list: some four million hashes
MAX_LINE = 2**12
LINE = re.compile(r"(?:(md5|sha256|pdq):[ \t]*)?([0-9a-f]{64}|[0-9a-f]{32})")
FORMS = "md5: or 32 hex digits, sha256: or 64 hex digits, pdq: and 64 hex digits"


@dataclass(frozen=True)
class HashList:
    """The hashes of one list, each with the number of the first line on which it is."""

    name: str  # the file's name without its ending
    md5: Mapping[bytes, int]
    sha256: Mapping[bytes, int]
    pdq: Mapping[bytes, int]

    def of_bytes(self, body: bytes) -> str | None:
        """Return which hash of an image's bytes is listed, and on which line; None if none is."""
        for kind, known in (("md5", self.md5), ("sha256", self.sha256)):
            if known:
                line = known.get(hashlib.new(kind, body, usedforsecurity=False).digest())
                if line is not None:
                    return f"{kind} in {self.name}:{line}"
        return None


@dataclass(frozen=True)
class HashLists:
    """Several lists."""

    lists: tuple[HashList, ...]

    @classmethod
    def of_rules(cls, rules: Mapping[str, Mapping[str, Any]]) -> HashLists:
        """Open the lists that these rules (name -> settings) name.

        Raises:
            ManifestError: see `open_list`.
        """
        return cls(tuple(map(open_list, rules.get(LIST_RULE, {}).get("against", ()))))

    @cached_property
    def has_pdq(self) -> bool:
        """Whether a list has PDQ hashes, so that the images' fingerprints are needed."""
        return any(one.pdq for one in self.lists)

    def of_bytes(self, body: bytes) -> str | None:
        """Return the first listed hash of an image's bytes, its list and line; None if none is listed."""
        return next((said for one in self.lists if (said := one.of_bytes(body))), None)

    def of_prints(self, prints: npt.NDArray[np.uint8], max_distance: int) -> list[str | None]:
        """Return, for each of N images, the nearest listed PDQ hash: its distance, list and line; None if none is near.

        Args:
            prints: PDQ hashes of the images (N x 32).
            max_distance: the most bits (of 256) by which a near hash may differ.
        """
        if not self.has_pdq or not len(prints):
            return [None] * len(prints)
        places, bits = self._index.nearest(prints, max_distance)
        return [
            f"pdq distance={distance} to {self._lines[at]}" if at >= 0 else None
            for at, distance in zip(places.tolist(), bits.tolist(), strict=True)
        ]

    @cached_property
    def _lines(self) -> list[str]:
        return [f"{one.name}:{line}" for one in self.lists for line in one.pdq.values()]

    @cached_property
    def _index(self) -> PdqIndex:
        data = b"".join(digest for one in self.lists for digest in one.pdq)
        return PdqIndex(np.frombuffer(data, np.uint8).reshape(-1, VIEW_BYTES))


@lru_cache(maxsize=16)
def open_list(pinned: str) -> HashList:
    """Read a list, given its pinned name (`curate.manifest.pinning`); the last 16 stay in memory.

    Raises:
        ManifestError: it cannot be read, or its content is not the pinned one; see also `read_list`.
    """
    path, content = read_pinned(pinned, MAX_BYTES, "cut the list into several")
    return read_list(content, path)


def read_list(content: bytes, path: Path) -> HashList:
    """Read the content of the list at `path`.

    Raises:
        ManifestError: a line is no hash, or the list has no hash at all.
    """
    found: dict[str, dict[bytes, int]] = {"md5": {}, "sha256": {}, "pdq": {}}
    for number, line in _lines(content, path):
        match = LINE.fullmatch(line.partition(",")[0].strip().lower())
        kind = match and (match[1] or _kind(match[2], path))
        if not match or not kind or len(match[2]) != (32 if kind == "md5" else 64):
            raise ManifestError(f"{path}, line {number}: {printable(line[:80])!r} is no hash: give {FORMS}")
        found[kind].setdefault(bytes.fromhex(match[2]), number)
    if not any(found.values()):
        raise ManifestError(f"{path} lists no hash: give {FORMS}, one a line")
    return HashList(path.stem, **found)


def check_lists(rules: Mapping[str, Mapping[str, Any]]) -> None:
    """Open every list that these rules (name -> settings) name, to find errors early.

    Raises:
        ManifestError: see `open_list`.
    """
    HashLists.of_rules(rules)


def _kind(digits: str, path: Path) -> str:
    """Return the kind of hash of hex digits without a prefix."""
    if len(digits) == 32:
        return "md5"
    return "pdq" if path.suffix.lower() == ".pdq" else "sha256"


def _lines(content: bytes, path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are neither empty nor comments, with their numbers, from 1."""
    try:
        lines: Sequence[str] = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{path} is not UTF-8 at byte {error.start}: give a text file, a hash a line"
        ) from None
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise ManifestError(f"{path}, line {number}: {len(line)} characters, more than {MAX_LINE}")
        if (line := line.strip()) and not line.startswith("#"):
            yield number, line
