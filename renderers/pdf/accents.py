"""Accents that a font draws as characters of their own over or under a letter, put back into the letter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

COMBINING = dict(
    zip(
        "`´ˆ˜¨ˇ˘˙˚˝¯¸˛",
        "\u0300\u0301\u0302\u0303\u0308\u030c\u0306\u0307\u030a\u030b\u0304\u0327\u0328",
        strict=True,
    )
)
BESIDE_LETTER = re.compile(rf"[{''.join(COMBINING)}](?:(?=[^\W\d_])|(?<=[^\W\d_].))")
DOTLESS = {"ı": "i", "ȷ": "j"}


def characters(glyphs: Sequence[dict[str, Any]]) -> list[str]:
    """The glyphs' characters; an accent that stands over a letter beside it follows that letter, combining.

    The glyphs have `c`, and `bbox` (x0, y0, x1, y1) in any frame; one without a box is a space.
    """
    text = [glyph["c"] for glyph in glyphs]
    if COMBINING.keys().isdisjoint(text):
        return text
    for i, accent in enumerate(text):
        if accent in COMBINING:
            letter = next(
                (k for k in (i - 1, i + 1) if 0 <= k < len(text) and over(glyphs[i], glyphs[k])), None
            )
            if letter is not None:
                text[letter] = DOTLESS.get(text[letter], text[letter]) + COMBINING[accent]
                text[i] = ""
    return text


def over(accent: dict[str, Any], letter: dict[str, Any]) -> bool:
    """True where the accent's middle lies within the letter's width, or height where the text is turned."""
    if not letter["c"].isalpha():
        return False
    (ax0, ay0, ax1, ay1), (x0, y0, x1, y1) = accent["bbox"], letter["bbox"]
    return bool(2 * x0 < ax0 + ax1 < 2 * x1 and 2 * y0 - (y1 - y0) < ay0 + ay1 < 2 * y1 + (y1 - y0))
