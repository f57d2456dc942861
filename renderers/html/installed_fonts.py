"""Which characters the installed fonts can draw, so that no label names an empty box."""

from __future__ import annotations

import shutil
import subprocess
import unicodedata
from functools import cache

CHINESE = "的國龍灣"  # simplified and traditional


@cache
def drawable_codes() -> frozenset[int]:
    """The code points that some installed font has, by fontconfig; none where fontconfig is missing."""
    lister = shutil.which("fc-list")
    if lister is None:
        return frozenset()
    # fonts of a user's own folder are not within the browser's reach
    done = subprocess.run(
        [lister, "--format", "%{charset} "], capture_output=True, text=True, timeout=60, env={"HOME": "/tmp"}
    )
    codes: set[int] = set()
    for part in set(done.stdout.split()):
        first, _, last = part.partition("-")
        codes.update(range(int(first, 16), int(last or first, 16) + 1))
    return frozenset(codes)


def can_draw(text: str) -> bool:
    """Is there a font for every visible character?"""
    return text.isascii() or all(
        ord(character) in drawable_codes() or unicodedata.category(character)[0] in "CZM"
        for character in text
    )
