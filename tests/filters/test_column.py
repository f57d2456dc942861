from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from filters import PREFIX, find_rule, is_judgeable


def kept(values: pa.Array, **settings: Any) -> list[bool]:
    rule = find_rule("mine", {"column": "c", **settings})
    return rule.keep(pa.table({f"{PREFIX}c": values}), column="c", **settings).to_pylist()


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int32(), pa.string()])
def test_numbers_are_kept_between_their_limits_also_written_as_text(kind: pa.DataType) -> None:
    values = pa.array([1, 2, 3, 4], pa.int32()).cast(kind)
    assert kept(values, min=2, max=3) == [False, True, True, False]
    assert kept(values, max=2) == [True, True, False, False]
    assert kept(values, min=4) == [False, False, False, True]


def test_what_is_no_number_goes_as_null_goes() -> None:
    values = pa.array(["0.4", "n/a", None, " 5e-1 ", "1e", "", "nan"])
    assert kept(values, max=0.5) == [True, False, False, True, False, False, False]
    assert kept(values, max=0.5, null="keep") == [True, True, True, True, True, True, True]
    assert kept(pa.array([float("nan"), 0.1, None]), max=0.5) == [False, True, False]
    assert kept(pa.nulls(2), max=0.5, null="keep") == [True, True]


def test_values_are_compared_with_a_list() -> None:
    flags = pa.array(["UNLIKELY", "NSFW", None, "UNSURE"])
    assert kept(flags, among=("UNLIKELY", "UNSURE")) == [True, False, False, True]
    assert kept(flags, not_among=("NSFW",)) == [True, False, False, True]
    assert kept(flags, not_among=("NSFW",), null="keep") == [True, False, True, True]
    assert kept(flags, among=("unlikely",)) == [False, False, False, False]
    assert kept(pa.array([1, 2, 3]), among=(1, 3.0)) == [True, False, True]
    assert kept(pa.array([True, False]), among=(False,)) == [False, True]
    assert kept(pa.array([1, 0]), among=(True,)) == [False, False]


def test_a_list_needs_all_items_within_limits_and_one_among_the_wanted() -> None:
    faces = pa.array([[0.1, 0.2], [0.1, 0.9], [], None, [0.3, None]])
    assert kept(faces, max=0.5) == [True, False, True, False, False]
    assert kept(faces, max=0.5, null="keep") == [True, False, True, True, True]
    tags = pa.array([["a", "b"], ["c"], []])
    assert kept(tags, among=("b",)) == [True, False, False]
    assert kept(tags, not_among=("b",)) == [False, True, True]
    assert kept(tags.slice(1), among=("c",)) == [True, False]


def test_a_dropped_row_says_which_value_decided() -> None:
    rule = find_rule("unsafe", {"column": "punsafe"})
    table = pa.table({f"{PREFIX}punsafe": pa.array([0.99, None])})
    assert rule.detail(table, column="punsafe", max=0.5).to_pylist() == ["punsafe=0.99", "punsafe=null"]


def test_limits_the_wrong_way_round_make_no_sense() -> None:
    with pytest.raises(ValueError, match="min 3 is above max 2"):
        find_rule("mine", {"column": "c"}).check(column="c", min=3, max=2)


def test_a_registered_name_is_never_a_rule_on_a_column() -> None:
    assert find_rule("image_too_small", {"column": "c"}).columns == ("width", "height")


@pytest.mark.parametrize(
    ("kind", "fits"),
    [
        (pa.int8(), True),
        (pa.list_(pa.string()), True),
        (pa.dictionary(pa.int32(), pa.string()), True),
        (pa.struct([("a", pa.int8())]), False),
        (pa.list_(pa.list_(pa.int8())), False),
        (pa.binary(), False),
        (pa.timestamp("s"), False),
    ],
)
def test_rules_judge_numbers_texts_booleans_and_lists_of_these(kind: pa.DataType, fits: bool) -> None:
    assert is_judgeable(kind) is fits
