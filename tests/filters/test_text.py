from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import regex

from filters import RULES, codepoints
from filters.text import ACADEMIC_TAGS
from tests.some_settings import some_settings

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not on this machine")


def keep(
    rule: str, *texts: str | None, type: pa.DataType | None = None, **settings: Any
) -> list[bool | None]:
    kept = RULES[rule].keep(pa.table({"text": pa.array(texts, type or pa.string())}), **settings)
    assert len(kept) == len(texts)
    return kept.to_pylist()


def detail(rule: str, *texts: str, **settings: Any) -> list[str | None]:
    return RULES[rule].detail(pa.table({"text": pa.array(texts, pa.string())}), **settings).to_pylist()


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SHARED / name).read_text(encoding="utf-8").split("\n") if line]


# charset


def test_the_generated_ranges_are_what_the_expressions_give() -> None:
    assert codepoints.TARGET.read_text(encoding="utf-8") == codepoints.source(), (
        "run python -m filters.codepoints"
    )


@pytest.mark.parametrize(
    "text",
    [
        "plain ASCII, with punctuation: #1 dad, 3*4, C++, AT&T, $5.99 ~ (ok)!\t\n",
        "“curly” ‘quotes’ – dash — dash… • bullet, it’s",
        "© ® ™ ° £ € ¥ § ¶ ½ ¼ × ÷ ± ′ ″ ² ³ µ № ‰ † « » · ′",
        "5 ≤ 6 ≠ 7 → 8 ← ↑ ↓ √2 ∞ Σ".replace("Σ", "∑"),
        "I ❤ NY ★★★ ♥ ♂ ✓ ☎ ■ ▷ as text",
        "no-break\u00a0space, thin\u2009space, ideographic\u3000space",
        "一只海鸥在水面上飞翔。",
        "繁體中文，「引號」《書名》【括號】……——、；：？！",
        "全角ＡＢＣ１２３（）％￥",
        "𠀀 㐀 𪜀 々 〇 ⺀ ⼀ 豈 〡 ①②③ ㈠",
        "ㄅㄆㄇˊˇˋ˙",
        "约翰·史密斯 约翰・史密斯",
        "",
    ],
)
def test_english_and_chinese_texts_are_kept(text: str) -> None:
    assert keep("text_has_other_script", text, type=pa.large_string()) == [True]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Обложка Electronic", "U+041E О"),
        ("café au lait", "U+00E9 é"),
        ("cafe\u0301", "U+0301 \u0301"),
        ("¿Por qué?", "U+00BF ¿"),
        ("ストック写真", "U+30B9 ス"),
        ("ｶﾀｶﾅ", "U+FF76 ｶ"),
        ("の", "U+306E の"),
        ("한국어", "U+D55C 한"),
        ("ไทย", "U+0E44 ไ"),
        ("δ ϵ", "U+03B4 δ"),
        ("كتاب", "U+0643 ك"),
        ("𝐁𝐨𝐥𝐝", "U+1D401 𝐁"),
        ("box ░▒▓", "U+2591 ░"),
        ("zero\u200bwidth", "U+200B \u200b"),
        ("lost \ufffd", "U+FFFD \ufffd"),
        ("bullet \uf0a8", "U+F0A8 \uf0a8"),
        ("control \x01", "U+0001 \x01"),
        ("lone joiner \u200d", "U+200D \u200d"),
        ("lone \U0001f1e6 letter", "U+1F1E6 \U0001f1e6"),
        ("a thermometer \U0001f321 as text", "U+1F321 \U0001f321"),
    ],
)
def test_any_other_character_drops_the_text_and_is_named(text: str, named: str) -> None:
    assert keep("text_has_other_script", text) == [False]
    assert detail("text_has_other_script", text) == [named]


def test_a_manifest_can_allow_more_characters() -> None:
    assert keep("text_has_other_script", "café", "Beyoncé ñ", allow="éñ") == [True, True]
    assert keep("text_has_other_script", "naïve", "a]b^c-Ж", allow="]^-é\\") == [False, False]


def test_accents_are_not_mistaken_for_pinyin() -> None:
    assert keep("text_has_other_script", "nǐ hǎo") == [False]


# emoji


@needs_data
def test_every_line_of_unicodes_emoji_test_is_told_right() -> None:
    cases = lines("rules/emoji/emoji_test.jsonl")
    kept = keep("text_has_emoji", *(f"a {case['char']} b" for case in cases))
    shown = regex.compile(
        r"\p{Emoji_Presentation}|\p{Extended_Pictographic}\uFE0F|\p{RI}{2}"
        r"|[0-9#*]\uFE0F?\u20E3|\p{Emoji_Modifier}"
    )
    for case, answer in zip(cases, kept, strict=True):
        as_text = case["status"] == "unqualified" and not shown.search(case["char"])
        assert answer is as_text, case
    assert kept.count(True) == 132


@pytest.mark.parametrize(
    "text", ["©", "™ ® ‼", "#1", "3*4", "*", "0 1 2", "I ❤ NY", "↔ ☎ ✔ as text", "ℹ", "\U0001f1e6"]
)
def test_signs_shown_as_text_are_no_emoji(text: str) -> None:
    assert keep("text_has_emoji", text) == [True]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("©\ufe0f", "U+00A9 U+FE0F ©\ufe0f"),
        ("#\ufe0f\u20e31", "U+0023 U+FE0F U+20E3 #\ufe0f\u20e3"),
        ("3\u20e3", "U+0033 U+20E3 3\u20e3"),
        ("I ❤\ufe0f NY", "U+2764 U+FE0F ❤\ufe0f"),
        ("\U0001f1e8\U0001f1f3 flag", "U+1F1E8 U+1F1F3 \U0001f1e8\U0001f1f3"),
        ("tone \U0001f3fb", "U+1F3FB \U0001f3fb"),
        ("\U0001f602\U0001f602", "U+1F602 \U0001f602"),
        ("☝\U0001f3fb", "U+261D U+1F3FB ☝\U0001f3fb"),
    ],
)
def test_an_emoji_drops_the_text_and_is_named(text: str, named: str) -> None:
    assert keep("text_has_emoji", text) == [False]
    assert detail("text_has_emoji", text) == [named]


@needs_data
def test_emoji_are_left_by_the_charset_rule_to_the_emoji_rule() -> None:
    chars = [case["char"] for case in lines("rules/emoji/emoji_test.jsonl")]
    emoji, script = keep("text_has_emoji", *chars), keep("text_has_other_script", *chars)
    assert all(s for e, s in zip(emoji, script, strict=True) if not e)


def test_nothing_that_is_neither_emoji_nor_in_the_charset_passes_both_rules() -> None:
    every = [chr(c) for c in (*range(0xD800), *range(0xE000, 0x110000))]
    emoji, script = keep("text_has_emoji", *every), keep("text_has_other_script", *every)
    passed = {c for c, e, s in zip(every, emoji, script, strict=True) if e and s}
    charset = set(regex.findall(codepoints.CLASSES["CHARSET"], "".join(every), flags=regex.VERSION1))
    assert passed == charset
    hidden = [
        c
        for c in passed
        if unicodedata.category(c) in ("Cf", "Co", "Cn") and not regex.match(r"\p{Han}|\p{S}", c)
    ]
    assert not hidden


def test_other_script_beside_an_emoji_is_still_seen() -> None:
    assert keep("text_has_other_script", "\U0001f602 Ж", "\U0001f602\u200d\u200d", "\U0001f602") == [
        False,
        False,
        True,
    ]


# length, tags, A.4


def test_length_counts_code_points() -> None:
    assert keep("text_too_short", "abc", "ab", "三个字", "𠀀𠀀𠀀", None, min_chars=3) == [
        True,
        False,
        True,
        True,
        None,
    ]
    assert keep("text_too_long", "abc", "abcd", "𠀀𠀀𠀀", None, max_chars=3) == [True, False, True, None]
    assert keep("text_too_long", "𠀀𠀀𠀀𠀀", "éééé", "ééé", max_chars=3) == [False, False, True]
    assert keep("text_too_short", "", None, min_chars=0) == [True, None]


def test_white_space_around_a_text_does_not_make_it_long_enough() -> None:
    assert keep("text_too_short", "  a  ", "\u3000\u3000\u3000\u3000", min_chars=2) == [False, False]


def test_the_detail_of_a_length_is_the_count() -> None:
    assert detail("text_too_short", "ab", min_chars=3) == ["chars=2"]


def test_special_tags_are_found_letter_by_letter_and_named() -> None:
    tags = list(ACADEMIC_TAGS)
    texts = ["by <PERSON> of Sebring", "a person", "<PERSONS>", "<|endoftext|>", "a [UNK] dog", None]
    assert keep("text_has_special_tag", *texts, tags=tags) == [False, True, True, False, False, None]
    assert detail("text_has_special_tag", "by <PERSON> (a.b*c)", tags=["a.b*c", "<PERSON>"]) == ["<PERSON>"]
    assert keep("text_has_special_tag", "axbbc", tags=["a.b*c"]) == [True]


@pytest.mark.parametrize("tags", [[], [""], ["<PERSON>", ""]])
def test_tags_that_match_nothing_or_everything_are_refused(tags: list[str]) -> None:
    with pytest.raises(ValueError, match="non-empty"):
        keep("text_has_special_tag", "a", tags=tags)


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        ("text_has_latin_extended", ["Ā", "ſ", "ƀ", "ɏ", "Škoda"], ["é", "ÿ", "ɐ", "Ж", "plain"]),
        ("text_has_private_use", ["\ue000", "\uf8ff", "\U000f0000", "\U0010fffd"], ["\ufffd", "一", "plain"]),
        ("text_has_replacement_character", ["lo\ufffdst", "\ufffd"], ["", "plain", "一"]),
    ],
)
def test_the_rules_of_a4_drop_the_blocks_they_name(rule: str, bad: list[str], good: list[str]) -> None:
    assert keep(rule, *bad, *good, None) == [False] * len(bad) + [True] * len(good) + [None]
    assert detail(rule, bad[0])[0].startswith("U+")  # type: ignore[union-attr]


@needs_data
def test_chinese_captions_are_kept() -> None:
    texts = [
        row["caption"]
        for name in ("coco_cn_test", "flickr30k_cn_test")
        for row in lines(f"zh_captions/{name}.jsonl")
    ]
    assert len(texts) == 3609
    assert all(keep("text_has_other_script", *texts))


WITH_FILES = ("text_in_evaluation_set",)  # wants a fingerprint file: see test_evaluation_texts


@pytest.mark.parametrize(
    "rule", [name for name, rule in RULES.items() if rule.columns == ("text",) and name not in WITH_FILES]
)
@pytest.mark.parametrize("type", [pa.string(), pa.large_string()])
def test_a_null_text_gives_null_and_no_rows_give_none(rule: str, type: pa.DataType) -> None:
    settings = some_settings(rule)
    assert keep(rule, None, "é", None, type=type, **settings)[::2] == [None, None]
    assert keep(rule, type=type, **settings) == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a cat on a mat", True),
        ("free shipping free shipping free shipping", False),
        ("Vector image vector IMAGE vector image", False),
        ("哈哈哈哈哈哈哈哈", False),
        ("一只猫坐在垫子上", True),
        ("", True),
        ("one", True),
        (None, None),
    ],
)
def test_a_text_that_says_the_same_two_words_over_and_over_repeats_itself(
    text: str | None, kept: bool | None
) -> None:
    table = pa.table({"text": pa.array([text], pa.string())})
    rule = RULES["text_repeats_itself"]
    assert rule.keep(table, max_share=0.3).to_pylist() == [kept]
    if kept is False:
        assert rule.detail(table, max_share=0.3)[0].as_py().startswith("repeated=0.")
