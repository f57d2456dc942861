"""Where words are divided at the ends of lines."""

import pytest

from synthdog.hyphenation import divisible


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("refracted", ["re-fracted", "ref-racted", "refrac-ted"]),
        ("approaching,", ["ap-proaching,", "approa-ching,"]),
        ("estimate", ["es-timate", "esti-mate"]),
        ("red-making", ["red-ma-king"]),
        ("понимание", ["по-нимание", "пони-мание", "понима-ние"]),
    ],
)
def test_a_word_is_divided_before_the_consonants_that_begin_a_syllable(word, parts):
    assert [f"{word[:at]}-{word[at:]}" for at in range(len(word)) if divisible(word, at)] == parts


@pytest.mark.parametrize("word", ["through", "good", "made", "white-lead", "1234567", "a.b.c.d.e", "Nt"])
def test_what_is_one_syllable_or_no_word_is_not_divided(word):
    assert not any(divisible(word, at) for at in range(len(word) + 1))


def test_a_word_in_a_script_of_unknown_vowels_is_divided_between_any_letters():
    assert [at for at in range(9) if divisible("ქართული", at)] == [2, 3, 4]
