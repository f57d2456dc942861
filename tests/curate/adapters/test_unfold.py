"""Which lists of texts become records, and what of JSON is no text."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from curate.adapters.published import published
from curate.manifest.load import load
from curate.origins import find, open_origin
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


def test_an_object_among_texts_is_no_caption(tmp_path: Path) -> None:
    said = ["A boat", {"en": "A boat"}, ["A boat", "The old harbour"], "{a boat}", "[1920]", None]
    lines = [json.dumps({"url": f"https://a.example/{n}.jpg", "text": one}) for n, one in enumerate(said)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    manifest = load("laion")
    (found,) = find(manifest, [str(tmp_path / "rows.jsonl")])
    (table,) = open_origin(found, manifest, tmp_path / "work").read(0, len(said))
    assert table["text"].to_pylist() == ["A boat", None, None, "{a boat}", "[1920]", None]
    assert table["dropped"].to_pylist() == [None, "text_missing", "text_missing", None, None, "text_missing"]
