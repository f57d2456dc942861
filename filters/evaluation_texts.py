"""Find texts of evaluation sets by the runs of words that they share.

Words are runs of letters and digits in lower case; a Chinese or Japanese character is a word of its own. A text is
dropped if `ngram` consecutive words of it also occur in an evaluation text. A text of fewer words is dropped if it
equals an evaluation text.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from filters.rule import rule

NGRAM = 8
WORD = r"[\p{Han}\p{Hiragana}\p{Katakana}]|(?:(?![\p{Han}\p{Hiragana}\p{Katakana}])[\p{L}\p{M}\p{N}])+"
PRIME = np.uint64(0x9E3779B97F4A7C15)
ODD = np.uint64(0xC2B2AE3D27D4EB4F)

Words = npt.NDArray[np.uint64]
Ends = npt.NDArray[np.int64]


def _nobody(name: str) -> tuple[Words, Ends]:
    raise KeyError(f"nobody opens {name}")


open_texts: Callable[[str], tuple[Words, Ends]] = _nobody  # set by the module that reads fingerprint files


def words_of(text: str) -> Words:
    """The words of a text as hashes of 64 bits, the same on every machine."""
    import regex

    found = [xxhash.xxh3_64_intdigest(word.encode()) for word in regex.findall(WORD, text.lower())]
    return np.array(found, np.uint64)


def _said(text: pa.StringArray, *, against: tuple[str, ...], ngram: int = NGRAM) -> pa.StringArray:
    """The setting and, for a text that falls, the first set that it shares words with: `ngram=8 in SET` (N rows)."""
    names = [PurePath(name.partition("@sha256:")[0]).stem for name in against]
    found = _found(text, against, ngram).tolist()
    return pa.array([f"ngram={ngram}" + (f" in {names[at]}" if at >= 0 else "") for at in found], pa.string())


@rule("text_in_evaluation_set", describe=_said)
def unlike_evaluation_texts(
    text: pa.StringArray, *, against: tuple[str, ...], ngram: int = NGRAM
) -> pa.BooleanArray:
    """Keep texts that share no `ngram` consecutive words with a text of an evaluation set; null for null.

    `against` names fingerprint files. Raises: ValueError if `ngram` is below 1.
    """
    if ngram < 1:
        raise ValueError(f"ngram is a number of words, at least 1, not {ngram}")
    if not text.null_count < len(text):
        return pa.nulls(len(text), pa.bool_())
    falls = _found(text, against, ngram) >= 0
    return pa.array(~falls, mask=text.is_null().to_numpy(zero_copy_only=False))


def _found(text: pa.StringArray, against: tuple[str, ...], ngram: int) -> Ends:
    """The number in `against` of the first set that each text shares words with; -1 where there is none (N rows)."""
    found = np.full(len(text), -1, np.int64)
    if not len(text):
        return found
    words = [words_of(one or "") for one in text.to_pylist()]
    lengths = np.array([len(one) for one in words], np.int64)
    runs, owner, whole = _runs(np.concatenate(words), np.cumsum(lengths), ngram)
    short = np.flatnonzero((lengths < ngram) & (lengths > 0))
    known = [_known(name, ngram) for name in against]
    for number in reversed(range(len(known))):
        found[owner[_among(runs, known[number][0])]] = number
        found[short[_among(whole[short], known[number][1])]] = number
    return found


@lru_cache(maxsize=64)
def _known(name: str, ngram: int) -> tuple[Words, Words]:
    """The runs of `ngram` words in a set's texts, and the texts with fewer words, both as sorted hashes."""
    words, ends = open_texts(name)
    runs, _, whole = _runs(words, ends, ngram)
    lengths = np.diff(ends, prepend=0)
    return np.unique(runs), np.unique(whole[(lengths < ngram) & (lengths > 0)])


def _runs(words: Words, ends: Ends, ngram: int) -> tuple[Words, Ends, Words]:
    """The hash of each run of `ngram` words within a text, the number of its text, and the hash of each whole text."""
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64) if len(ends) else ends
    place = np.arange(len(words)) - np.repeat(starts, ends - starts)
    owner = np.repeat(np.arange(len(ends)), ends - starts)
    hashes = np.zeros(max(0, len(words) - ngram + 1), np.uint64)
    for offset in range(ngram):
        hashes = (hashes * PRIME) ^ (words[offset : offset + len(hashes)] * ODD)
    inside = np.flatnonzero(place[ngram - 1 :] >= ngram - 1)
    seats = words * (place.astype(np.uint64) * np.uint64(2) + np.uint64(1)) * ODD
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(seats, dtype=np.uint64)])
    whole = (sums[ends] - sums[starts]) ^ ((ends - starts).astype(np.uint64) * PRIME)
    return hashes[inside], owner[inside], whole


def _among(hashes: Words, known: Words) -> npt.NDArray[np.bool_]:
    """Which hashes are among the known ones, which are sorted."""
    at = np.minimum(np.searchsorted(known, hashes), max(0, len(known) - 1))
    return known[at] == hashes if len(known) else np.zeros(len(hashes), bool)
