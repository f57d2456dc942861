"""Images that are not what was published, in a run."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from tests.curate.runs import curate, pair, picture, write_pairs


def test_an_image_of_another_shape_or_of_one_colour_is_dropped_where_asked(tmp_path: Path) -> None:
    rows = [
        pair(1),
        pair(2, WIDTH=480, HEIGHT=440),
        pair(3, WIDTH=480, HEIGHT=220),
        pair(4, image=picture(4, 240, 460), WIDTH=240, HEIGHT=220),
    ]
    source = write_pairs(tmp_path / "pairs.parquet", rows)
    asked = ["--set", "rules.image_changed.max_ratio_change=0.1", "--set", "rules.image_blank.max_share=0.98"]
    done = curate("run", "laion", "--input", source, "--out", tmp_path / "out", "--workers", 0, *asked)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert (manifest["rows_out"], manifest["dropped"]) == (2, {"image_changed": 2})
    (dropped,) = (tmp_path / "out" / "_dropped").glob("*.parquet")
    assert "published=480x220 found=240x220" in pq.read_table(dropped)["detail"].to_pylist()
