from __future__ import annotations

import json

import pyarrow as pa
import pytest

from curate.schema import REGION
from filters import RULES


def pages(*extras: str | None) -> pa.Table:
    return pa.table({"extra": pa.array(extras, pa.large_string())})


def test_a_page_is_kept_up_to_the_share_of_its_writing_without_a_label() -> None:
    rule = RULES["page_mostly_unlabelled"]
    table = pages('{"unlabelled": 0.3}', '{"unlabelled": 0.31, "pages": 3}', '{"unlabelled": 0}')
    assert rule.keep(table, max_share=0.3).to_pylist() == [True, False, True]
    assert rule.detail(table, max_share=0.3).to_pylist()[1] == "unlabelled=0.31"


def test_a_page_is_kept_up_to_the_share_of_its_letters_that_are_others() -> None:
    table = pages('{"unlike": 0.1}', '{"unlike": 0.101}', "{}")
    assert RULES["text_unlike_image"].keep(table, max_share=0.1).to_pylist() == [True, False, None]
    assert RULES["text_unlike_image"].detail(table, max_share=0.1).to_pylist()[1] == "unlike=0.101"


@pytest.mark.parametrize(
    "extra",
    [None, "", "{}", "[1]", "not JSON", '{"unlabelled": "0.9"}', '{"unlabelled": true}', "[" * 100_000],
)
def test_a_page_of_which_nothing_is_told_is_not_judged(extra: str | None) -> None:
    assert RULES["page_mostly_unlabelled"].keep(pages(extra), max_share=0.3).to_pylist() == [None]


def test_a_target_is_as_long_as_its_text_and_the_marks_of_its_regions() -> None:
    region = {"text": "a", "start": 0, "end": 1, "quad": [0.0] * 8, "score": 1.0}
    table = pa.table(
        {
            "task": pa.array(["ocr", "ocr", "ocr", "ocr_structured", "ocr_structured"]),
            "text": pa.array(["abc", "abc", None, "abc", "abc"], pa.large_string()),
            "answer": pa.array([None, None, None, "<p>abc</p>", None], pa.large_string()),
            "regions": pa.array([[region] * 2, [region] * 3, [], [region] * 3, []], pa.list_(REGION)),
        }
    )
    rule = RULES["target_too_long"]
    assert rule.keep(table, max_chars=135).to_pylist() == [True, False, None, True, None]
    assert rule.keep(table, max_chars=9).to_pylist() == [False, False, None, False, None]
    assert rule.detail(table, max_chars=9).to_pylist()[1::2] == ["chars=201", "chars=10"]


def test_characters_that_were_lost_count_by_their_share() -> None:
    table = pa.table({"text": ["\ufffd" + "a" * 99, "\ufffd" + "a" * 98, "a"]})
    rule = RULES["text_has_replacement_character"]
    assert rule.keep(table, max_share=0.01).to_pylist() == [True, False, True]
    assert rule.keep(table).to_pylist() == [False, False, True]
    assert rule.detail(table, max_share=0.01).to_pylist()[1] == "U+FFFD, 1 of 99"


@pytest.mark.parametrize(
    "name",
    ["page_mostly_unlabelled", "page_mostly_blank", "text_unlike_image", "text_has_replacement_character"],
)
def test_a_share_is_from_0_to_1(name: str) -> None:
    with pytest.raises(ValueError, match="share"):
        RULES[name].check(max_share=1.5)


def extras(*facts: dict[str, object] | None) -> pa.Table:
    texts = [None if one is None else json.dumps(one, ensure_ascii=False) for one in facts]
    return pa.table({"extra": pa.array(texts, pa.large_string())})


def test_a_page_that_lost_its_styles_is_not_kept() -> None:
    table = extras({"unstyled": True}, {"unstyled": False}, {"title": '"unstyled": true'}, {}, None)
    assert RULES["page_unstyled"].keep(table).to_pylist() == [False, True, True, True, None]
    lost = extras({"unstyled": True, "stylesheets": 4, "lost_stylesheets": 3}, None)
    assert "lost 3 of 4 stylesheets; render.restyle" in RULES["page_unstyled"].detail(lost).to_pylist()[0]


def test_a_page_is_kept_up_to_the_largest_share_of_blank_squares() -> None:
    table = extras(
        {"blank": 0.97}, {"blank": 0.971}, {"blank": 1.0}, {"blank": 0.0}, {"title": '"blank": 1'}, {}, None
    )
    kept = RULES["page_mostly_blank"].keep(table, max_share=0.97).to_pylist()
    assert kept == [True, False, False, True, None, None, None]
