"""Which lists of texts become records, and what of JSON is no text."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate.adapters.published import published
from curate.manifest.load import load
from curate.sources.input_index import TYPES


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ('["A boat", null, "The old harbour"]', ["A boat", None, "The old harbour"]),
        ('[{"en": "A boat"}]', [None]),
        ('{"en": "A boat"}', [None]),
        ("true", [None]),
    ],
)
def test_what_is_no_text_in_a_column_of_json_is_no_caption(value: str, texts: list[str | None]) -> None:
    columns = pa.schema([TYPES["json"].with_name("text"), pa.field("url", pa.string())])
    rows = pa.table([pa.array([value]), pa.array(["https://a.example/1.jpg"])], schema=columns)
    found = published(rows, load("laion"), "rows.jsonl", 0).table
    assert found["text"].to_pylist() == texts
