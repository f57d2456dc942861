from __future__ import annotations

import math

import pyarrow as pa
import pytest

from filters import RULES
from filters.shape import changed


def sizes(*pairs: tuple[int | None, int | None]) -> pa.Table:
    return pa.table(
        {
            "width": pa.array([w for w, _ in pairs], pa.int32()),
            "height": pa.array([h for _, h in pairs], pa.int32()),
        }
    )


def test_an_image_at_the_largest_ratio_is_kept_and_one_beyond_it_is_not() -> None:
    keep = RULES["image_too_elongated"].keep(
        sizes((300, 100), (100, 300), (301, 100), (100, 301)), max_ratio=3
    )
    assert keep.to_pylist() == [True, True, False, False]


def test_an_image_at_the_smallest_side_is_kept_and_one_below_it_is_not() -> None:
    keep = RULES["image_too_small"].keep(sizes((200, 900), (900, 200), (199, 900)), min_side=200)
    assert keep.to_pylist() == [True, True, False]


@pytest.mark.parametrize(
    ("rule", "setting"), [("image_too_elongated", {"max_ratio": 3}), ("image_too_small", {"min_side": 0})]
)
def test_sides_of_zero_or_less_never_pass_and_null_stays_null(rule: str, setting: dict[str, float]) -> None:
    keep = RULES[rule].keep(sizes((0, 0), (-5, 9), (9, -5), (0, 9), (None, 9), (9, None)), **setting)
    assert keep.to_pylist() == [False, False, False, False, None, None]


def test_the_largest_sizes_do_not_overflow() -> None:
    table = sizes((2**31 - 1, 2**31 - 1), (2**31 - 1, 1))
    assert RULES["image_too_elongated"].keep(table, max_ratio=3).to_pylist() == [True, False]


@pytest.mark.parametrize("threshold", [0.26, 0.28, 0.3])
def test_a_score_that_was_stored_as_the_threshold_passes_it(threshold: float) -> None:
    scores = pa.table({"clip_score": pa.array([threshold, threshold - 1e-4, math.nan, None], pa.float32())})
    assert RULES["clip_score_too_low"].keep(scores, min_score=threshold).to_pylist() == [
        True,
        False,
        False,
        None,
    ]


def test_the_detail_names_the_values_that_decided() -> None:
    assert RULES["image_too_small"].detail(sizes((90, 120), (None, 4)), min_side=200).to_pylist() == [
        "width=90 height=120",
        "width=null height=4",
    ]


def test_an_image_of_another_shape_than_published_has_changed() -> None:
    published = sizes((1024, 693), (1024, 693), (693, 1024), (693, 1024), (0, 5), (None, 5), (1024, 693))
    decoded = sizes((300, 300), (300, 203), (300, 203), (300, 203), (9, 9), (9, 9), (1120, 693))
    turned = pa.array([False, False, True, False, False, False, False])
    fell = changed(published, decoded, turned, 0.1)
    assert fell.to_pylist() == [True, False, False, True, False, False, False]


def test_a_shrunk_side_may_be_off_by_a_pixel() -> None:
    assert changed(sizes((1000, 30)), sizes((100, 3)), pa.array([False]), 0.0).to_pylist() == [False]
    assert changed(sizes((1000, 26)), sizes((100, 3)), pa.array([False]), 0.0).to_pylist() == [False]
    assert changed(sizes((1000, 20)), sizes((100, 3)), pa.array([False]), 0.0).to_pylist() == [True]


@pytest.mark.parametrize(
    ("rule", "settings"), [("image_blank", {"max_share": 2}), ("image_changed", {"max_ratio_change": -1})]
)
def test_a_share_or_change_that_makes_no_sense_is_refused(rule: str, settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        RULES[rule].check(**settings)
