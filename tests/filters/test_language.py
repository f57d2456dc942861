from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from filters import RULES
from filters.language import LANGUAGES, identify
from tests.curate.runs import ROOT

ENGLISH = [
    "Valentino Garavani Open Leather Sneaker",
    "Splatterhouse",
    "Lubeck, Germany",
    "2013 Ford Escape SE",
    "Mixed-breed dog on a beach in Rio de Janeiro",
    "NSK 21305 bearing spherical roller bearing 21305",
]
OTHER = {
    "Pendientes Exquisitos - oro amarillo 9 quilates - esmeraldas y diamantes": "es",
    "Koningsdag 2014 in Amstelveen, het vieren van de verjaardag van de koning": "nl",
    "The Weeknd : quelle est l'origine de son pseudo?": "fr",
    "Pasta fresca e Gnocchi (ebook) Annalisa Barbagli Stefania Barzini Giunti Editore": "it",
    "Луна над зимним лесом и старая деревня": "ru",
}


def kept(rule: str, texts: list[str | None], **settings: object) -> list[bool | None]:
    return RULES[rule].keep(pa.table({"text": pa.array(texts, pa.string())}), **settings).to_pylist()


def test_captions_in_other_languages_fall_and_names_and_numbers_stay() -> None:
    assert kept("text_in_other_language", ENGLISH, keep=["en", "zh"]) == [True] * len(ENGLISH)
    assert kept("text_in_other_language", list(OTHER), keep=["en", "zh"]) == [False] * len(OTHER)
    assert identify(pa.array(list(OTHER)))[0].to_pylist() == list(OTHER.values())


def test_a_language_that_is_wanted_stays() -> None:
    texts = list(OTHER)
    assert kept("text_in_other_language", texts[:2], keep=["en", "es"]) == [True, False]
    assert kept("text_in_other_language", ["一只猫坐在垫子上", "猫が座っている"], keep=["zh"]) == [
        True,
        False,
    ]


def test_a_dropped_caption_says_in_which_language_it_is() -> None:
    table = pa.table({"text": list(OTHER)[:1]})
    assert RULES["text_in_other_language"].detail(table, keep=["en"]).to_pylist() == ["es 0.93"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"keep": ["en", "xx"]}, "keep has 'xx'"), ({"keep": ["en"], "min_score": 2.0}, "from 0 to 1, not 2")],
)
def test_languages_and_scores_that_there_are_not_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        RULES["text_in_other_language"].check(**settings)


def test_words_are_counted_and_chinese_characters_one_by_one() -> None:
    texts = ["a cat", "Red bus 12", "一只猫", "- ★ -", "猫 on the mat", "it's well-made", "", None]
    assert kept("text_has_too_few_words", texts, min_words=3) == [
        False,
        True,
        True,
        False,
        True,
        False,
        False,
        None,
    ]
    detail = RULES["text_has_too_few_words"].detail(pa.table({"text": texts}), min_words=3)
    assert detail.to_pylist()[:4] == ["words=2", "words=3", "words=3", "words=0"]


def test_every_language_that_can_be_identified_is_one_of_the_identifiers() -> None:
    from curate.tasks.formats import LANGUAGE_NAMES

    assert set(LANGUAGES) == set(LANGUAGE_NAMES)


def test_without_a_text_the_model_is_not_read() -> None:
    code = (
        "import sys, filters\n"
        "filters.RULES['text_in_other_language'].check(keep=['en'], min_score=0.9)\n"
        "print('py3langid' in sys.modules)"
    )
    tried = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert tried.stdout.strip() == "False"
