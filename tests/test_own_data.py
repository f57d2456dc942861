"""The two sets of docs/own-data.md, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.packing import PackSettings, pack
from tests.curate.runs import dropped
from tests.curate.tasks_runs import curated, write_picture

DOC = (Path(__file__).parent.parent / "docs" / "own-data.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`\n```\w+\n(.*?)^```$", DOC, re.DOTALL | re.MULTILINE))


def run(folder: Path, name: str, photos: dict[str, int]) -> tuple[dict[str, Any], pa.Table, dict[str, str]]:
    """The manifest that a run leaves, its rows, and the reason of each source that fell."""
    for file in (f"{name}.jsonl", f"{name}.toml"):
        (folder / file).write_text(FILES[file], encoding="utf-8")
    for photo, width in photos.items():
        write_picture(folder / "photos" / photo, width, 48)
    sets = [f"image.folder={folder / 'photos'}"]
    manifest, rows = curated(str(folder / f"{name}.toml"), folder / "out", [folder / f"{name}.jsonl"], sets)
    return manifest, rows, dropped(folder / "out")


def test_captions_of_ones_own(tmp_path: Path) -> None:
    photos = {"red-cup.jpg": 64, "blue-plate.jpg": 65, "lamp.jpg": 66}
    manifest, rows, fell = run(tmp_path, "products", photos)
    assert rows["text"].to_pylist() == [
        "A red cup with a white handle, new!",
        "A blue plate on a wooden table",
    ]
    assert fell == {
        "products.jsonl#2": "shorter_text_of_same_image",
        "products.jsonl#3": "not_reviewed",
        "products.jsonl#4": "file_missing",
    }
    assert manifest["rows_in"] == 5
    assert "2024-05-02" in rows["extra"][0].as_py()


def test_dialogues_of_ones_own(tmp_path: Path) -> None:
    pytest.importorskip("tiktoken")
    photos = {"cup-broken.jpg": 64, "plate-a.jpg": 65, "plate-b.jpg": 66}
    _, rows, fell = run(tmp_path, "helpdesk", photos)
    assert fell == {"helpdesk.jsonl#3": "image_count", "helpdesk.jsonl#4": "role_order"}
    assert [len(row) for row in rows["messages"].to_pylist()] == [5, 3, 3]
    assert rows["messages"][0].as_py()[0] == {"role": "system", "content": "Be short."}
    assert [len(row) for row in rows["images"].to_pylist()] == [1, 2, 0]
    settings = PackSettings(seq_len=4096, dialect="qwen2.5-vl")
    packed = pack([str(tmp_path / "out")], str(tmp_path / "packs"), settings)
    assert packed["rows_out"] == 3
