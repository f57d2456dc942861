"""Lists of image names for the rule `image_name_on_list`: text files with a name, path or URL on each line."""

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
    """Open every list that these rules (name -> settings) name, to find errors early.

    Raises:
        ManifestError: see `open_names`.
    """
    for pinned in rules.get(NAMES_RULE, {}).get("against", ()):
        open_names(pinned)


@lru_cache(maxsize=16)
def open_names(pinned: str) -> pa.Array:
    """Return the names on a list (strings, each once), given the list's pinned name (`curate.manifest.pinning`).

    Empty lines and lines that begin with `#` are ignored.

    Raises:
        ManifestError: the list cannot be read, its content is not the pinned one, it or a line is too long, it is not
            UTF-8, or it names no image.
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
