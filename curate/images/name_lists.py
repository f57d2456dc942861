"""Lists of images by their names, for the rule `image_name_on_list`: a text file, a name, path or URL a line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa

from curate.errors import ManifestError
from curate.manifest.pinning import NAMES_RULE, read_pinned
from filters import image_names

MAX_BYTES = 2**28  # of a list
MAX_LINE = 2**12  # characters


def check_names(rules: Mapping[str, Mapping[str, Any]]) -> None:
    """Open every list that these rules (name to settings) name.

    Raises:
        ManifestError: see `open_names`.
    """
    for pinned in rules.get(NAMES_RULE, {}).get("against", ()):
        open_names(pinned)


@lru_cache(maxsize=16)
def open_names(pinned: str) -> pa.Array:
    """The names on a list by its pinned name, each once; empty lines and those that begin with `#` say nothing.

    Raises:
        ManifestError: it cannot be read, is another one than was pinned, is too long, no UTF-8, or names nothing.
    """
    path, content = read_pinned(pinned, MAX_BYTES, "cut it in several")
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is no list of names: not UTF-8 at byte {error.start}") from None
    given = [line for line in lines if line and not line.startswith("#")]
    if any(len(line) > MAX_LINE for line in given):
        raise ManifestError(f"{path} is no list of names: a line has more than {MAX_LINE} characters")
    if not given:
        raise ManifestError(f"{path} names no image: give a name, path or URL a line")
    return image_names.names_of(pa.array(given, pa.large_string())).unique()


image_names.open_names = open_names
