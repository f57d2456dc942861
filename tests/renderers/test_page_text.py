from __future__ import annotations

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
