"""Texts of evaluation sets are found by runs of words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from filters import evaluation_texts
from filters.evaluation_texts import unlike_evaluation_texts, words_of
from filters.rule import RULES

KNOWN = ("What colour is the big old cat on the mat today? grey", "A cat", "猫在桌子上面睡觉吗")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    words = [words_of(text) for text in KNOWN]
    ends = np.cumsum([len(one) for one in words])
    monkeypatch.setattr(evaluation_texts, "open_texts", lambda name: (np.concatenate(words), ends))
    evaluation_texts._known.cache_clear()
    yield
    evaluation_texts._known.cache_clear()


def kept(*texts: str | None, ngram: int = 8) -> list[bool | None]:
    return unlike_evaluation_texts(pa.array(texts, pa.string()), against=("set",), ngram=ngram).to_pylist()


def test_eight_words_in_a_row_are_enough() -> None:
    assert kept(
        "So: what COLOUR is, the big old cat on the sofa?", "what colour is the big old dog on the mat"
    ) == [
        False,
        True,
    ]


def test_words_of_two_texts_make_no_run() -> None:
    assert kept("cat on the mat today grey a cat", ngram=8) == [True]


def test_a_short_text_must_be_the_same_as_a_whole() -> None:
    assert kept("a cat!", "a cat sleeps", "cat a", "") == [False, True, True, True]


def test_chinese_characters_are_words() -> None:
    assert kept("请问猫在桌子上面睡觉吗", "猫在桌子上面") == [False, True]


def test_null_is_unjudged_and_no_rows_are_fine() -> None:
    assert kept(None, "a dog") == [None, True]
    assert kept() == []


def test_a_text_that_falls_names_the_first_set_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {"/a@b/vqa.v2.prints@sha256:00": KNOWN[0], "pope.prints@sha256:11": KNOWN[1]}
    monkeypatch.setattr(
        evaluation_texts,
        "open_texts",
        lambda name: (words_of(sets[name]), np.array([len(words_of(sets[name]))])),
    )
    texts = pa.array([KNOWN[0], "A cat", "a dog", None, f"{KNOWN[0]} {KNOWN[1]}"], pa.string())
    said = RULES["text_in_evaluation_set"].detail(pa.table({"text": texts}), against=tuple(sets), ngram=8)
    assert said.to_pylist() == [
        "ngram=8 in vqa.v2",
        "ngram=8 in pope",
        "ngram=8",
        "ngram=8",
        "ngram=8 in vqa.v2",
    ]


def test_a_run_of_no_words_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        kept("a", ngram=0)


@pytest.mark.parametrize("ngram", range(1, 12))
def test_every_length_of_run_agrees_with_plain_python(ngram: int) -> None:
    rng = np.random.default_rng(ngram)
    words = ["a", "b", "c"]
    texts = [" ".join(rng.choice(words, rng.integers(0, 14))) for _ in range(200)]
    known = [text.lower().replace("?", "").split() for text in KNOWN[:2]]
    known = [[*one] for one in known] + [list("abcabcab")]
    ends = np.cumsum([len(one) for one in known])
    hashes = np.concatenate([words_of(" ".join(one)) for one in known])
    evaluation_texts.open_texts = lambda name: (hashes, ends)
    runs = {tuple(one[at : at + ngram]) for one in known for at in range(len(one) - ngram + 1)}
    short = {tuple(one) for one in known if len(one) < ngram}

    def falls(text: str) -> bool:
        said = text.split()
        return tuple(said) in short or any(
            tuple(said[at : at + ngram]) in runs for at in range(len(said) - ngram + 1)
        )

    assert kept(*texts, ngram=ngram) == [not falls(text) for text in texts]
