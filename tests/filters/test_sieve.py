from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.catalogue import CATALOGUE
from filters.letters import CODES, EDGE_BYTE
from filters.needs import either, needed_runs
from filters.patterns import places
from filters.sieve import HALF, Change, Sieve, bit, settle, with_folded_signs
from tests.filters.test_patterns import PIECES

EXPRESSIONS = [
    one for pattern in CATALOGUE for one in (*places(pattern), *(step[0] for step in pattern.steps))
]
LETTERS = "abKsſ\u212a é—中图Ａ1_-.|(\"\n\t'"
ATOMS = [
    *"abks1_", "é", "图", "Ａ", ".", r"\.", r"\w", r"\S", r"\d", r"\b", "^", "$", "[ab]", "[^a]", "[é-图]",
    r"[\x{A1}-\x{10FFFF}]", "[^ -~]", r"[\s_-]", "ſ", r"\x{212A}", "photo", " - ", r"\pL", r"\x41", "[]|)]", "{",
    r"\(", r"\A", r"\z",
]  # fmt: skip
QUANTIFIERS = ["", "", "", "", "?", "*", "+", "{2}", "{0,2}", "{1,}", "{2,5}", "+?", "{5}"]
expressions = st.recursive(
    st.builds(str.__add__, st.sampled_from(ATOMS), st.sampled_from(QUANTIFIERS)),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=1, max_size=4).map("|".join),
        st.tuples(inner, st.sampled_from(QUANTIFIERS)).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        inner.map(lambda one: f"(?i:{one})"),
        inner.map(lambda one: f"({one})"),
    ),
    max_leaves=10,
)


def may_have(texts: list[str | None], expression: str) -> list[bool]:
    column = pa.array(texts, pa.string())
    marked = Sieve([needed_runs(expression)]).marks(column) != 0
    return list(marked | with_folded_signs(column))


def found(texts: list[str], expression: str) -> list[bool]:
    return pc.match_substring_regex(pa.array(texts, pa.string()), expression).to_pylist()


@settings(max_examples=400, deadline=None)
@given(expressions, st.lists(st.text(LETTERS, max_size=12), min_size=1, max_size=8))
def test_what_re2_finds_is_never_sieved_out(expression: str, texts: list[str]) -> None:
    try:
        matches = found(texts, expression)
    except pa.ArrowInvalid:
        return  # RE2 refuses it
    assert all(may for may, is_found in zip(may_have(texts, expression), matches, strict=True) if is_found)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), min_size=100, max_size=140))
def test_no_text_that_has_a_pattern_is_sieved_out(texts: list[str]) -> None:
    texts = [*texts, *(pattern.before for pattern in CATALOGUE)]
    for expression in EXPRESSIONS:
        matches = found(texts, expression)
        assert all(
            may for may, is_found in zip(may_have(texts, expression), matches, strict=True) if is_found
        )


def test_every_expression_of_the_catalogue_is_understood() -> None:
    assert [expression for expression in EXPRESSIONS if not needed_runs(expression)] == []


@pytest.mark.parametrize(
    "expression", ["", "a*", "(?m)^a$", r"\Qa.b\E", "[[:alpha:]]x", "(a", "a)", "(" * 5000, r"a\1"]
)
def test_what_is_not_understood_or_matches_anything_sieves_nothing_out(expression: str) -> None:
    assert needed_runs(expression) == ()
    assert may_have(["", "zzz"], expression) == [True, True]


def test_most_texts_are_sieved_out() -> None:
    texts = ["A red car", "A stock photo", "photo (1)", None, "(photo 1)"]
    assert may_have(texts, r"(?i)stock (?:photo|image)s?$") == [False, True, False, False, False]
    assert may_have(texts, r"\(\d{1,2}\)$") == [False, False, True, False, False]
    assert may_have(texts, "^(?:photo|image)") == [False, False, True, False, False]


def test_one_of_two_expressions_needs_what_either_needs() -> None:
    both = either(needed_runs("stock"), needed_runs("vector"))
    assert [bool(mark) for mark in Sieve([both]).marks(pa.array(["stock", "a vector", "a photo"]))] == [
        True,
        True,
        False,
    ]
    assert either(needed_runs("stock"), needed_runs("a*")) == ()


def test_more_expressions_than_marks_share_them() -> None:
    words = [
        "".join(pair)
        for pair in zip(
            "abcdefghijklmnopqrstuvwxyz" * 2, "aaaaaaaaaaaaaaaaaaaaaaaaaa" + "b" * 26, strict=True
        )
    ]
    sieve = Sieve([needed_runs(f"{word}{word}9") for word in words])
    for place, word in enumerate(words):
        assert sieve.marks(pa.array([f"{word}{word}9"]))[0] & bit(place)
    assert len(words) > HALF


def test_texts_of_any_type_slice_and_nulls_are_marked_alike() -> None:
    column = pa.array(["x", "stock", None, "", "a stock"], pa.large_string())
    sieve = Sieve([needed_runs("stock")])
    assert list(sieve.marks(column)) == [0, 1, 0, 0, 1]
    assert list(sieve.marks(column.slice(1, 3).cast(pa.string()))) == [1, 0, 0]
    assert list(sieve.marks(column.slice(0, 0))) == []


def test_the_edge_is_no_byte_of_a_text() -> None:
    assert CODES.count(CODES[EDGE_BYTE[0]]) == 1
    assert EDGE_BYTE not in "\U0010ffff\x7f\n".encode()


def one_at_a_time(before: str, after: str) -> Change:
    def make(texts: pa.Array) -> pa.Array:
        return pc.replace_substring(texts, before, after, max_replacements=1)

    return Change(lambda texts: pc.match_substring(texts, before), make)


def test_changes_are_made_in_order_and_again_until_nothing_changes() -> None:
    sieve = Sieve([needed_runs("a"), needed_runs("b")])
    changes = [one_at_a_time("a", "b"), one_at_a_time("b", "c")]
    texts = pa.array(["aa", "b", "x", None, "cab"])
    assert settle(texts, sieve, changes, 1).to_pylist() == ["ca", "c", "x", None, "cbb".replace("b", "c", 1)]
    assert settle(texts, sieve, changes, 9).to_pylist() == ["cc", "c", "x", None, "ccc"]


def test_nothing_is_made_where_no_text_needs_the_change() -> None:
    def make(_: pa.Array) -> pa.Array:
        raise AssertionError("made")

    change = Change(lambda texts: pa.repeat(False, len(texts)), make)
    assert settle(pa.array(["a", None]), Sieve([needed_runs("a")]), [change], 3).to_pylist() == ["a", None]


def test_changes_that_undo_each_other_end_at_once() -> None:
    sieve = Sieve([needed_runs("a"), needed_runs("b")])
    changes = [one_at_a_time("a", "b"), one_at_a_time("b", "a")]
    assert settle(pa.array(["a", "b"]), sieve, changes, 10**9).to_pylist() == ["a", "a"]
