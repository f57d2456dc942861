"""Find which characters the installed fonts can draw: browsers draw an empty box for others."""

from __future__ import annotations

import shutil
import subprocess
import unicodedata
from functools import cache

CHINESE = "的國龍灣"  # simplified and traditional


@cache
def drawable_codes() -> frozenset[int]:
    """Return the code points that installed fonts have, from fontconfig; none where fontconfig is missing."""
    lister = shutil.which("fc-list")
    if lister is None:
        return frozenset()
    # the browser cannot read fonts in a user's own folder
    done = subprocess.run(
        [lister, "--format", "%{charset} "], capture_output=True, text=True, timeout=60, env={"HOME": "/tmp"}
    )
    codes: set[int] = set()
    for part in set(done.stdout.split()):
        first, _, last = part.partition("-")
        codes.update(range(int(first, 16), int(last or first, 16) + 1))
    return frozenset(codes)


def can_draw(text: str) -> bool:
    """Tell whether installed fonts have every visible character of a text."""
    return text.isascii() or all(
        ord(character) in drawable_codes() or unicodedata.category(character)[0] in "CZM"
        for character in text
    )
