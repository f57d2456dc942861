"""Rules on the language of a text and on how many words it has: beyond the paper, off unless a manifest names them.

The language is identified by py3langid (BSD-3-Clause; its model ships with it), among LANGUAGES alone: with all its 140
languages, names and model numbers in English captions pass for Latin, Pidgin or Luxembourgish. docs/rules.md compares
it with other identifiers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from filters.rule import rule

# fmt: off
LANGUAGES = (
    "ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "he", "hi", "hr", "hu", "id",
    "it", "ja", "ko", "lt", "lv", "mk", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv", "ta", "te", "th",
    "tr", "uk", "ur", "vi", "zh",
)
# fmt: on
LONGEST = 2000  # characters of a text that are looked at
LEADING = 0.4  # least probability of the most likely language for a text to count as being in it
HAN = r"\p{Han}"
WORD = rf"{HAN}|[^\s\p{{Han}}]*[\pL\pN][^\s\p{{Han}}]*"  # a Chinese character, or a run that has a letter or digit


def identify(
    text: pa.StringArray, keep: Sequence[str] = ()
) -> tuple[pa.StringArray, pa.FloatArray, pa.FloatArray]:
    """The most likely language of each text, among LANGUAGES (N rows each; null for null).

    Returns its code (ISO 639-1), its probability, and the probability that the text is in none of `keep`.
    """
    if text.null_count == len(text):  # loading the model takes longer than a thousand texts
        return (
            pa.nulls(len(text), pa.string()),
            pa.nulls(len(text), pa.float32()),
            pa.nulls(len(text), pa.float32()),
        )
    rank = _identifier().rank
    found: list[tuple[str | None, float | None, float | None]] = []
    for one in text.to_pylist():
        if one is None:
            found.append((None, None, None))
            continue
        ranked = rank(one[:LONGEST])
        kept = sum(float(share) for code, share in ranked if code in keep)
        found.append((ranked[0][0], float(ranked[0][1]), 1 - kept))
    codes, shares, others = zip(*found, strict=True)
    return pa.array(codes, pa.string()), pa.array(shares, pa.float32()), pa.array(others, pa.float32())


def describe_language(text: pa.StringArray, **_: Any) -> pa.StringArray:
    """The language that was found, and its probability: `fr 0.93`."""
    code, share, _others = identify(text)
    return pc.binary_join_element_wise(code, pc.cast(pc.round(share, 2), pa.string()), " ")


@rule("text_in_other_language", describe=describe_language)
def text_in_other_language(
    text: pa.StringArray, *, keep: list[str], min_score: float = 0.9
) -> pa.BooleanArray:
    """Keep texts in one of the languages `keep` (ISO 639-1), and those whose language is not certain.

    A text is dropped if it is in none of `keep` with a probability of at least `min_score`, and the most likely
    language has a probability of at least LEADING. (Names and model numbers look a little like many languages, and much
    like none.)

    Raises:
        ValueError: no language, one that cannot be identified, or a score that is no probability.
    """
    if not keep:
        raise ValueError("keep names no language: no text would be kept")
    if unknown := sorted(set(keep) - set(LANGUAGES)):
        raise ValueError(f"keep has {unknown[0]!r}: the languages are {', '.join(LANGUAGES)}")
    if not 0 <= min_score <= 1:
        raise ValueError(f"min_score is a probability, from 0 to 1, not {min_score:g}")
    code, share, other = identify(text, keep)
    is_other = pc.and_(pc.greater_equal(other, min_score), pc.greater_equal(share, LEADING))
    return pc.or_(pc.is_in(code, pa.array(keep, pa.string())), pc.invert(is_other))


def describe_words(text: pa.StringArray, **_: Any) -> pa.StringArray:
    """The number of words: `words=2`."""
    return pc.binary_join_element_wise("words=", pc.cast(count_words(text), pa.string()), "")


@rule("text_has_too_few_words", describe=describe_words)
def text_has_too_few_words(text: pa.StringArray, *, min_words: int) -> pa.BooleanArray:
    """Keep texts of at least `min_words` words, a Chinese character counting as one; signs alone are no word.

    Raises:
        ValueError: `min_words` is negative.
    """
    if min_words < 0:
        raise ValueError(f"min_words must be at least 0, not {min_words}")
    return pc.greater_equal(count_words(text), min_words)


def count_words(text: pa.StringArray) -> pa.Int32Array:
    """Words of each text (N rows); null for null."""
    return pc.count_substring_regex(text, WORD).cast(pa.int32())


@functools.lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier
