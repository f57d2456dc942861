"""Questions with choices: AI2D's own files, and rows whose answer is a place, a letter or a text."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.manifest.builtin_files import samples
from tests.curate.tasks_runs import curated, write_picture


def test_ai2d_asks_with_its_choices_and_leaves_out_letters_that_are_not_drawn(tmp_path: Path) -> None:
    manifest, rows = curated("ai2d", tmp_path / "out")
    assert manifest["dropped"] == {"letters_not_drawn": 1}
    asked = "Which bar is the tallest?\nA. the first\nB. the second\nC. the third\nD. the last"
    row = rows.to_pylist()[0]
    assert row["prompt"] == f"<img>{row['image']['path']}</img> {asked} Answer:"
    assert row["target"] == " the third"
    published = json.loads(next((samples() / "ai2d").glob("*.json")).read_text())
    assert manifest["rows_in"] == len(published["questions"]) == 4


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("1", "blue"),
        (1, "blue"),
        ("B", "blue"),
        ("blue", "blue"),
        ("9", None),
        ("E", None),
        ("AB", None),
        ("green", None),
    ],
)
def test_an_answer_is_one_of_the_choices(tmp_path: Path, answer: object, said: str | None) -> None:
    write_picture(tmp_path / "a.jpg", 64, 48)
    row = {"question": "Which?", "options": ["red", "blue"], "answer": answer, "image_path": "a.jpg"}
    table = pa.Table.from_pylist([row])
    pq.write_table(table, tmp_path / "rows.parquet")
    sets = [f"image.folder={tmp_path}", "rules.letters_not_drawn=false"]
    manifest, rows = curated("ai2d", tmp_path / "out", [tmp_path / "rows.parquet"], sets)
    if said is None:
        assert manifest["dropped"] == {"answer_missing": 1}
    else:
        assert rows["target"].to_pylist() == [f" {said}"]
        assert rows["text"][0].as_py() == f"Which?\nA. red\nB. blue {said}"
