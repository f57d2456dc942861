from __future__ import annotations

import unicodedata
from typing import Any

from renderers.pdf.accents import characters


def glyph(c: str, x: float, width: float = 6.0, y: float = 0.0) -> dict[str, Any]:
    return {"c": c, "bbox": (x, y, x + width, y + 8.0)}


def composed(*glyphs: dict[str, Any]) -> str:
    return unicodedata.normalize("NFC", "".join(characters(glyphs)))


def test_an_accent_over_the_next_letter_becomes_part_of_it() -> None:
    assert composed(glyph("r", 0), glyph("´", 6.5, 5), glyph("e", 6), glyph("g", 12)) == "rég"


def test_an_accent_under_the_letter_before_becomes_part_of_it() -> None:
    assert composed(glyph("n", 0), glyph("c", 6), glyph("¸", 7, 4), glyph("o", 12)) == "nço"


def test_a_dotless_i_gets_its_letter_back() -> None:
    assert composed(glyph("ˆ", 0.5, 5), glyph("ı", 0)) == "î"


def test_an_accent_that_stands_alone_stays() -> None:
    assert composed(glyph("a", 0), glyph("`", 8, 4), glyph("b", 14)) == "a`b"
