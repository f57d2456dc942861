from __future__ import annotations

import unicodedata

import pytest

from renderers.page_text import normalise


@pytest.mark.parametrize(
    ("drawn", "read"),
    [
        ("  two   spaces\t", "two spaces"),
        ("oﬃce ﬁnds ﬂuﬀ", "office finds fluff"),
        ("a\N{NO-BREAK SPACE}b", "a b"),
        ("hyphen\N{SOFT HYPHEN}ation", "hyphenation"),
        ("hyphen\N{SOFT HYPHEN}", "hyphen-"),
        ("⼀⾦", "一金"),
        ("闻啼⻦，夜来⻛雨", "闻啼鸟，夜来风雨"),
        ("⺁⻓⻔⻢⻋⺟⻳", "厂长门马车母龟"),
        ("︽书︾，︵注︶", "《书》，（注）"),
        ("ＡＢＣ１２３", "ＡＢＣ１２３"),
        ("E = mc²", "E = mc²"),
        ("zero\N{ZERO WIDTH SPACE}width\N{RIGHT-TO-LEFT MARK}", "zerowidth"),
        ("cafe\N{COMBINING ACUTE ACCENT}", "café"),
        ("lone \ud800 surrogate", "lone \N{REPLACEMENT CHARACTER} surrogate"),
        ("private \ue000 use", "private \ue000 use"),
        ("bell\x07", "bell"),
    ],
)
def test_text_is_spelt_as_it_is_seen(drawn: str, read: str) -> None:
    assert normalise(drawn) == read


def test_every_radical_is_a_plain_character() -> None:
    nameless = {0x2E80, 0x2E9A}  # Unicode names no ideograph for the first, and no character by the second
    for code in {*range(0x2E80, 0x2EF4), *range(0x2F00, 0x2FD6)} - nameless:
        assert unicodedata.name(normalise(chr(code))).startswith("CJK UNIFIED IDEOGRAPH"), hex(code)
