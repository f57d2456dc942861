"""Reads TOML that anybody may have written, within limits of size and depth."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.errors import ManifestError
from curate.plain_files import open_plain

MAX_BYTES = 2**20
MAX_DEPTH = 32  # of tables and arrays; the built-in manifests have a depth of four
# A dotted key costs the parser the square of the number of its parts. The pattern may match only from the beginning of
# a name: tried from each of its characters, a long name would cost the square of its length.
LONG_KEY = re.compile(r"""(?:(?:(?<![\w-])[\w-]++|"[^"\n]{0,99}+"|'[^'\n]{0,99}+')[ \t]*+\.[ \t]*+){40}""")


def read(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file; `what` names it in an error.

    Raises:
        ManifestError: it cannot be read, is no TOML, or exceeds a limit.
    """
    try:
        with open_plain(path) as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"cannot read {what}: {error.strerror or error}") from None
    try:
        return loads(content.decode("utf-8-sig"))  # editors on Windows begin it with a mark
    except ValueError as error:
        raise ManifestError(f"{what} is not TOML: {str(error)[:300]}") from None


def loads(text: str) -> dict[str, Any]:
    """Read a TOML text.

    Raises:
        ValueError: it is no TOML, or exceeds a limit.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    if LONG_KEY.search(text):
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    try:
        tree = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    level: list[Any] = [tree]
    for _ in range(MAX_DEPTH):
        level = [below for value in level for below in _below(value)]
    if level:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    return tree


def beyond_64_bits(tree: Mapping[str, Any]) -> str | None:
    """Return the path of an integer that does not fit in 64 bits (signed), which TOML forbids; None if all fit."""
    large = (path for path, value in _all(tree) if isinstance(value, int) and not -(2**63) <= value < 2**63)
    return next(large, None)


def not_utf8(tree: Mapping[str, Any]) -> str | None:
    """Return the path of a name or text that is no UTF-8 (half a surrogate pair), which TOML forbids; None if all are.

    Arguments of the command line that are no UTF-8, and callers in Python, can give one.
    """
    texts = ((path, f"{path}{value if isinstance(value, str) else ''}") for path, value in _all(tree))
    return next((path for path, text in texts if any("\ud800" <= c <= "\udfff" for c in text)), None)


def _all(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of everything in a tree; an item of a list has the path of its list."""
    level: list[tuple[str, Any]] = list(tree.items())
    while level:
        path, value = level.pop()
        yield path, value
        if isinstance(value, Mapping):
            level += [(f"{path}.{name}", below) for name, below in value.items()]
        elif isinstance(value, list | tuple):
            level += [(path, below) for below in value]


def _below(value: Any) -> list[Any]:
    """Return the tables and arrays directly within a table or array."""
    inner = value.values() if isinstance(value, dict) else value
    return [one for one in inner if isinstance(one, dict | list)]
