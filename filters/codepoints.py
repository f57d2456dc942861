"""Define which code points are English, Chinese and emoji; `python -m filters.codepoints` writes them to _ranges.py.

RE2's Unicode tables differ from the `regex` package's and know no Extended_Pictographic, so the classes are
spelled out as ranges, once, from expressions over Unicode properties that a person can read.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

# Signs and punctuation without a script of their own, from the blocks that English text draws on. Not ¡ ¿
# (Spanish), nor free-standing accents; not box drawing, nor Mathematical Alphanumerics.
SIGNS = (
    r"[\p{P}\p{S}\p{N}--\p{Emoji_Presentation}--[¡¿¨¯¸]]"
    r"&&\p{Script=Common}"
    r"&&[\u00A1-\u00FF\u2010-\u205E\u2070-\u209C\u20A0-\u20CF\u2100-\u23FF\u2460-\u249B\u25A0-\u27BF\u2E3A\u2E3B]"
)
ENGLISH = (
    r"[\t-\r\x20-\x7E]"  # printable ASCII and white space
    r"||[\p{White_Space}&&\p{Script=Common}]"
    rf"||[{SIGNS}]"
    r"||[µℹ\u2160-\u217F\u02BB\u02BC\uFB00-\uFB06]"  # Roman numerals, apostrophes, ligatures
)
# Script_Extensions=Han is Han itself (all extensions, compatibility forms, radicals, iteration marks) and the
# punctuation and signs shared with it. Taken out is what only Japanese uses of that, and emoji.
CHINESE = (
    r"[\p{Script_Extensions=Han}--[\u3037\u303C\u303D\u3190-\u319F\u32FF\u337B-\u337F\uFF61-\uFF65]"
    r"--\p{Emoji_Presentation}]"
    r"||[\u3371-\u337A\u3380-\u33DF\u33FF]"  # squared units such as ㎡ and ㎏, which Chinese text is full of
    r"||\p{Script=Bopomofo}||[\u02C7\u02C9-\u02CB\u02D9]"  # writes nothing but Chinese; its tone marks
    r"||[\uFE10-\uFE19\uFE30-\uFE52\uFE54-\uFE66\uFE68-\uFE6B]"  # vertical and small forms of punctuation
    r"||[\uFF01-\uFF60\uFFE0-\uFFE6]"  # full-width forms, without half-width katakana and hangul
)
CLASSES = {
    "CHARSET": f"[{ENGLISH}||{CHINESE}]",
    "EMOJI_PRESENTATION": r"[\p{Emoji_Presentation}--\p{Regional_Indicator}]",
    "PICTOGRAPHIC": r"[\p{Extended_Pictographic}||\p{Emoji_Presentation}--\p{Regional_Indicator}]",
    "REGIONAL_INDICATOR": r"\p{Regional_Indicator}",
    "SKIN_TONE": r"\p{Emoji_Modifier}",
}
TARGET = Path(__file__).with_name("_ranges.py")


def re2_class(expression: str) -> str:
    """The code points of a `regex` set expression as the ranges of an RE2 class: `\\x{A}-\\x{B}…`."""
    import regex

    every = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))
    members = [ord(c) for c in regex.findall(expression, every, flags=regex.VERSION1)]
    gaps = [(a, b) for a, b in pairwise(members) if b != a + 1]
    starts = [members[0], *(b for _, b in gaps)]
    ends = [*(a for a, _ in gaps), members[-1]]
    return "".join(
        rf"\x{{{a:X}}}" + (rf"-\x{{{b:X}}}" if b > a else "") for a, b in zip(starts, ends, strict=True)
    )


def source() -> str:
    """The text of _ranges.py."""
    lines = ['"""RE2 character classes. Written by `python -m filters.codepoints`; do not edit."""', ""]
    for name, expression in CLASSES.items():
        ranges = re2_class(expression).split(r"\x{")[1:]
        pieces = [""]
        for piece in (r"\x{" + r for r in ranges):
            if len(pieces[-1]) + len(piece) > 96:
                pieces.append("")
            pieces[-1] += piece
        quoted = [f'r"{piece}"' for piece in pieces]
        if len(quoted) == 1:
            lines.append(f"{name} = {quoted[0]}")
        else:
            lines += [f"{name} = (", *(f"    {piece}" for piece in quoted), ")"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(source(), encoding="utf-8")
