"""Text files: what a document's source says."""

from __future__ import annotations

import zipfile
from pathlib import Path

from curate.manifest.load import load
from curate.origins import find, open_origin


def test_a_text_file_is_the_first_row_of_itself(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "tide.txt").write_text("The tide comes in.")
    for name, member in (("books.zip", "a/moon.txt"), ("none.zip", "picture.png")):
        with zipfile.ZipFile(tmp_path / "in" / name, "w") as archive:
            archive.writestr(member, "The moon draws it.")
    manifest = load("text")
    origins = [
        open_origin(one, manifest, tmp_path / "work") for one in find(manifest, [str(tmp_path / "in")])
    ]
    rows = [row for origin in origins for table in origin.read(0, origin.size) for row in table.to_pylist()]
    assert {row["source"]: row["dropped"] for row in rows} == {
        "deep/tide.txt#0": None, "books.zip!a/moon.txt#0": None, "none.zip": "no_pages",
    }  # fmt: skip
