"""Where a word may be divided at the end of a line, by its vowels: near enough to syllables without a dictionary."""

from __future__ import annotations

import unicodedata
from itertools import takewhile

LEAST_BEFORE = 2  # letters that stand before the hyphen
LEAST_BEHIND = 3  # and behind it
VOWELS = frozenset("aeiouyæøœıаеёиоуыэюяіїєαεηιουω")
ALPHABETS = ("LATIN", "CYRILLIC", "GREEK")  # of other scripts the vowels are not known
DIGRAPHS = frozenset(("ch", "ck", "gh", "ph", "sh", "th", "wh", "qu"))  # one sound: never parted
# Consonants that may begin a syllable together: these pairs, and a stop with a liquid
ONSETS = DIGRAPHS | frozenset(("sc", "sk", "sp", "st", "tw"))
STOPS, LIQUIDS = frozenset("bcdfgpst"), frozenset("lr")


def divisible(word: str, at: int) -> bool:
    """Tell whether `word` may be divided before its character number `at`.

    There are LEAST_BEFORE letters before the division and LEAST_BEHIND behind it at least, up to the next character
    that is no letter, and a vowel each that is not a silent e; the part behind begins with a consonant, or with
    several that may begin a syllable. A word in a script whose vowels are not known may be divided between any two
    letters.
    """
    before = "".join(takewhile(str.isalpha, reversed(word[:at])))[::-1]
    behind = "".join(takewhile(str.isalpha, word[at:]))
    if len(before) < LEAST_BEFORE or len(behind) < LEAST_BEHIND:
        return False
    if not unicodedata.name(word[at], "").startswith(ALPHABETS):
        return True
    before, behind = unaccented(before), unaccented(behind)
    spoken = behind if behind.endswith("le") else behind.removesuffix("e")
    if VOWELS.isdisjoint(before) or VOWELS.isdisjoint(spoken) or behind[0] in VOWELS:
        return False
    if before[-1] + behind[0] in DIGRAPHS or before[-1] == before[-2]:
        return False
    onset = 2 if behind[:2] in ONSETS or (behind[0] in STOPS and behind[1] in LIQUIDS) else 1
    return behind[onset : onset + 1] in VOWELS


def unaccented(text: str) -> str:
    """Return a text's letters in lower case, each without its accents."""
    return "".join(unicodedata.normalize("NFD", char)[0] for char in text.lower())
