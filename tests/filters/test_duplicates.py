from __future__ import annotations

import random
from hashlib import blake2b
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import RULES, duplicates

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3)), max_size=30)


def digest(value: int) -> bytes:
    return blake2b(bytes([value]), digest_size=16).digest()


def table(pairs: list[tuple[int, int, int]], places: list[tuple[int, int]]) -> pa.Table:
    return pa.table(
        {
            "image": pa.array([digest(image) for image, _, _ in pairs], pa.binary(16)),
            "text": pa.array([digest(text) for _, text, _ in pairs], pa.binary(16)),
            "length": pa.array([length for _, _, length in pairs], pa.int32()),
            "unit": pa.array([unit for unit, _ in places], pa.int32()),
            "row": pa.array([row for _, row in places], pa.int32()),
        }
    )


def kept(
    rule: str, pairs: list[tuple[int, int, int]], **settings: Any
) -> list[tuple[tuple[int, int], tuple[int, int, int]]]:
    """The places and pairs kept, of rows that come in a random order."""
    places = [(i // 4, i % 4) for i in range(len(pairs))]
    rows = list(zip(places, pairs, strict=True))
    random.Random(len(pairs)).shuffle(rows)
    keep = RULES[rule].keep(table([pair for _, pair in rows], [place for place, _ in rows]), **settings)
    return sorted(row for row, stays in zip(rows, keep.to_pylist(), strict=True) if stays)


@given(PAIRS)
def test_the_first_of_equal_pairs_in_source_order_is_kept(pairs: list[tuple[int, int, int]]) -> None:
    first: dict[tuple[int, int], int] = {}
    for i, (image, text, _) in enumerate(pairs):
        first.setdefault((image, text), i)
    assert kept("duplicate_pair", pairs) == [((i // 4, i % 4), pairs[i]) for i in sorted(first.values())]


@given(PAIRS)
def test_the_longest_text_of_an_image_is_kept_and_the_first_among_equals(
    pairs: list[tuple[int, int, int]],
) -> None:
    best = {
        min((i for i in range(len(pairs)) if pairs[i][0] == image), key=lambda i: (-pairs[i][2], i))
        for image, _, _ in pairs
    }
    assert kept("shorter_text_of_same_image", pairs) == [((i // 4, i % 4), pairs[i]) for i in sorted(best)]


@given(PAIRS, st.integers(0, 4))
def test_an_image_with_more_different_texts_than_allowed_is_dropped_whole(
    pairs: list[tuple[int, int, int]], most: int
) -> None:
    texts = {image: {t for i, t, _ in pairs if i == image} for image, _, _ in pairs}
    expected = [((i // 4, i % 4), pair) for i, pair in enumerate(pairs) if len(texts[pair[0]]) <= most]
    assert kept("placeholder_image", pairs, max_texts=most) == expected


def test_a_fingerprint_is_the_documented_hash_for_ever() -> None:
    columns = pa.array(["a", "", None, "三"]), pa.array([b"bc", None, b"", b"\xff"])
    expected = [
        blake2b(content, digest_size=16).digest()
        for content in (b"1:a2:bc", b"0:-", b"-0:", b"3:\xe4\xb8\x891:\xff")
    ]
    assert duplicates.fingerprint(*columns).to_pylist() == expected
    assert (
        duplicates.fingerprint(pa.array(["https://example.com/1.jpg"]))[0].as_py().hex()
        == "0d273850ac36dd7428c622552adc2922"
    )


@pytest.mark.parametrize("type", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_a_fingerprint_depends_on_neither_type_nor_chunks_nor_offset(type: pa.DataType) -> None:
    column = pa.array([b"x", b"", None, b"yz", b"w"], pa.binary()).cast(type)
    expected = duplicates.fingerprint(pa.array(["x", "", None, "yz", "w"]))
    assert duplicates.fingerprint(column).equals(expected)
    assert duplicates.fingerprint(pa.chunked_array([column.slice(0, 2), column.slice(2)])).equals(expected)
    assert duplicates.fingerprint(column.slice(1, 3)).to_pylist() == expected.to_pylist()[1:4]
    assert len(duplicates.fingerprint(column.slice(0, 0))) == 0


@given(st.lists(st.tuples(*[st.none() | st.text(alphabet="a1:-", max_size=4)] * 3), unique=True, max_size=20))
def test_different_rows_have_different_fingerprints(rows: list[tuple[str | None, ...]]) -> None:
    columns = [pa.array([row[i] for row in rows], pa.string()) for i in range(3)]
    assert len(set(duplicates.fingerprint(*columns).to_pylist())) == len(rows)
