"""The characters of a page as a person reads them: one spelling for what looks the same."""

from __future__ import annotations

import re
import unicodedata

SOFT_HYPHEN = "\N{SOFT HYPHEN}"

# Compatibility forms that fonts' tables hand out for glyphs that look like the plain character. Each block's
# own NFKC mapping is right; NFKC of a whole text would also turn full-width and superscript characters round.
LOOKALIKES = (
    range(0x2E80, 0x2FE0),  # CJK and Kangxi radicals
    range(0xF900, 0xFB00),  # CJK compatibility ideographs
    range(0xFB00, 0xFB07),  # Latin ligatures
    range(0xFB13, 0xFB18),  # Armenian ligatures
    range(0xFB50, 0xFE00),  # Arabic presentation forms
    range(0xFE70, 0xFEFF),
    range(0x2F800, 0x2FA20),
)

# Vertical forms (U+FE10…, U+FE30…) stand for full-width marks, which NFKC would make ASCII.
VERTICAL_FORMS = str.maketrans(
    "︐︑︒︓︔︕︖︗︘︙︰︱︵︶︷︸︹︺︻︼︽︾︿﹀﹁﹂﹃﹄﹇﹈",
    "，、。：；！？〖〗…‥—（）｛｝〔〕【】《》〈〉「」『』［］",
)

# Controls, zero-width marks and bidi controls; the joiners U+200C and U+200D change what is drawn and stay.
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]"
)
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def seen_as() -> dict[int, str | int]:
    """Code point → what it is read as, for the blocks above."""
    table: dict[int, str | int] = dict(VERTICAL_FORMS)
    for code in (code for block in LOOKALIKES for code in block):
        plain = unicodedata.normalize("NFKC", chr(code))
        if plain != chr(code) and not plain.startswith(" "):
            table[code] = plain
    return table


SEEN_AS = seen_as()


def normalise(text: str) -> str:
    """One line of text: white space as single spaces, ligatures expanded, invisible characters gone, NFC.

    A soft hyphen is kept as a hyphen where it ends the line, since only there is it drawn. Private Use
    characters and U+FFFD stay, for rules to judge; a lone surrogate becomes U+FFFD.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    text = " ".join(INVISIBLE.sub("", text.translate(SEEN_AS)).split())
    if SOFT_HYPHEN in text:
        text = (text[:-1] + "-" if text.endswith(SOFT_HYPHEN) else text).replace(SOFT_HYPHEN, "")
    return unicodedata.normalize("NFC", LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text))
