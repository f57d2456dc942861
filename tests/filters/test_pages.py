from __future__ import annotations

import json

import pyarrow as pa
import pytest

from filters import RULES


def extras(*facts: dict[str, object] | None) -> pa.Table:
    texts = [None if one is None else json.dumps(one, ensure_ascii=False) for one in facts]
    return pa.table({"extra": pa.array(texts, pa.large_string())})


def test_a_page_that_lost_its_styles_is_not_kept() -> None:
    table = extras({"unstyled": True}, {"unstyled": False}, {"title": '"unstyled": true'}, {}, None)
    assert RULES["page_unstyled"].keep(table).to_pylist() == [False, True, True, True, None]


def test_a_page_is_kept_up_to_the_largest_share_of_blank_squares() -> None:
    table = extras(
        {"blank": 0.97}, {"blank": 0.971}, {"blank": 1.0}, {"blank": 0.0}, {"title": '"blank": 1'}, {}, None
    )
    kept = RULES["page_mostly_blank"].keep(table, max_share=0.97).to_pylist()
    assert kept == [True, False, False, True, None, None, None]


@pytest.mark.parametrize("share", [-0.1, 97.0, float("nan")])
def test_what_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        RULES["page_mostly_blank"].check(max_share=share)
