"""Normalise the text of a page: characters that look the same become one character."""

from __future__ import annotations

import re
import unicodedata

SOFT_HYPHEN = "\N{SOFT HYPHEN}"

# Compatibility forms that fonts' tables hand out for glyphs that look like the plain character. Each block's
# own NFKC mapping is right; NFKC of a whole text would also turn full-width and superscript characters round.
LOOKALIKES = (
    range(0x2E80, 0x2FE0),  # Kangxi radicals, and two that NFKC knows of the CJK radicals
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

# The CJK radicals (U+2E81…) and their ideographs by Unicode 14's EquivalentUnifiedIdeograph.txt, all 114 of it.
RADICALS = str.maketrans(
    "⺁⺂⺃⺄⺅⺆⺇⺈⺉⺊⺋⺌⺍⺎⺏⺐⺑⺒⺓⺔⺕⺖⺗⺘⺙⺛⺜⺝⺞⺟⺠⺡⺢⺣⺤⺥⺦⺧"
    "⺨⺩⺪⺫⺬⺭⺮⺯⺰⺱⺲⺳⺴⺵⺶⺷⺸⺹⺺⺻⺼⺽⺾⺿⻀⻁⻂⻃⻄⻅⻆⻇⻈⻉⻊⻋⻌⻍"
    "⻎⻏⻐⻑⻒⻓⻔⻕⻖⻗⻘⻙⻚⻛⻜⻝⻞⻟⻠⻡⻢⻣⻤⻥⻦⻧⻨⻩⻪⻫⻬⻭⻮⻯⻰⻱⻲⻳",
    "厂乛乚乙亻冂𠘨刀刂卜㔾小小兀尣尢𡯂巳幺彑彐忄心扌攵旡日月歺母民氵氺灬爫爫丬牛"
    "犭王𤴔目示礻𥫗糹纟罓罒㓁冗𦉫羊𦍌𦍋耂肀聿肉𦥑艹艹艹虎衤覀西见角𧢲讠贝𧾷车辶辶"
    "辶邑钅長镸长门𨸏阝雨青韦页风飞食𩙿飠饣𩠐马骨鬼鱼鸟卤麦黄黾斉齐歯齿竜龙龜亀龟",
)

# Controls, zero-width marks and bidi controls; the joiners U+200C and U+200D change what is drawn and stay.
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]"
)
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def seen_as() -> dict[int, str | int]:
    """A table for `str.translate` that maps the code points of the blocks above to the characters they look like."""
    table: dict[int, str | int] = {**VERTICAL_FORMS, **RADICALS}
    for code in (code for block in LOOKALIKES for code in block):
        plain = unicodedata.normalize("NFKC", chr(code))
        if plain != chr(code) and not plain.startswith(" "):
            table[code] = plain
    return table


SEEN_AS = seen_as()


def normalise(text: str) -> str:
    """Normalise one line of text: single spaces, ligatures expanded, invisible characters removed, NFC.

    A soft hyphen at the end of the line becomes a hyphen, because only there is it drawn; others are removed. Private
    Use characters and U+FFFD are kept, because rules judge them; a lone surrogate becomes U+FFFD.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    text = " ".join(INVISIBLE.sub("", text.translate(SEEN_AS)).split())
    if SOFT_HYPHEN in text:
        text = (text[:-1] + "-" if text.endswith(SOFT_HYPHEN) else text).replace(SOFT_HYPHEN, "")
    return unicodedata.normalize("NFC", LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text))
