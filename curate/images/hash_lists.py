"""Lists of hashes of images that are not to be there: MD5 and SHA-256 of their bytes, and PDQ of what they show.

A list is a text file, a hash a line: `md5:`, `sha256:` or `pdq:` and its hex digits. Without a word before it 32 digits
are an MD5 and 64 a SHA-256, in a file `*.pdq` a PDQ. Behind a comma may be more, such as PDQ's quality; empty lines and
those that begin with `#` say nothing.
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
    """The hashes of one file, each with the number of its first line."""

    name: str  # the file's, without its ending
    md5: Mapping[bytes, int]
    sha256: Mapping[bytes, int]
    pdq: Mapping[bytes, int]

    def of_bytes(self, body: bytes) -> str | None:
        """Which hash of an image's bytes is listed, and where; None: none."""
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
        """Those that these rules (name to settings) name; none where no rule does.

        Raises:
            ManifestError: see `open_list`.
        """
        return cls(tuple(map(open_list, rules.get(LIST_RULE, {}).get("against", ()))))

    @cached_property
    def has_pdq(self) -> bool:
        """Whether fingerprints are needed to tell."""
        return any(one.pdq for one in self.lists)

    def of_bytes(self, body: bytes) -> str | None:
        """Which hash of an image's bytes is listed first, and where; None: none."""
        return next((said for one in self.lists if (said := one.of_bytes(body))), None)

    def of_prints(self, prints: npt.NDArray[np.uint8], max_distance: int) -> list[str | None]:
        """Of each of N images, by its PDQ hash (N x 32): the nearest that is listed, and where; None: none is near."""
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
    """A list by its pinned name (`curate.manifest.pinning`).

    Raises:
        ManifestError: it cannot be read, is another one than was pinned, or see `read_list`.
    """
    path, content = read_pinned(pinned, MAX_BYTES, "cut the list into several")
    return read_list(content, path)


def read_list(content: bytes, path: Path) -> HashList:
    """What a list names.

    Raises:
        ManifestError: a line is no hash, or there is none at all.
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
    """Open every list that these rules (name to settings) name.

    Raises:
        ManifestError: see `open_list`.
    """
    HashLists.of_rules(rules)


def _kind(digits: str, path: Path) -> str:
    """What hex digits are that no word stands before."""
    if len(digits) == 32:
        return "md5"
    return "pdq" if path.suffix.lower() == ".pdq" else "sha256"


def _lines(content: bytes, path: Path) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers, from 1."""
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
