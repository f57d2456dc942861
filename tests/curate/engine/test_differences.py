from __future__ import annotations

from typing import Any

import pytest

from curate.engine.differences import first_difference


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"a": [1, 2]}, {"a": (1, 2)}, None),
        ({"a": [1, 2]}, {"a": [1, 3, 4]}, "a[1] is 2 there and 3 here"),
        ({"a": [1, 2]}, {"a": [1]}, "a has 2 there and 1 here"),
        ({"a": []}, {"a": ({"uri": "x"},)}, "a has 0 there and 1 here"),
        ({"a": {"b": 1}}, {"a": {}}, "a.b is 1 there and None here"),
        ({"a": "x" * 100}, {"a": 1}, f"a is '{'x' * 76}... there and 1 here"),
    ],
)
def test_the_first_difference_is_told(before: Any, now: Any, said: str | None) -> None:
    assert first_difference(before, now) == said
