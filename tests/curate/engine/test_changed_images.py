"""Images that are not what was published, in a run."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.curate.runs import curate, pair, picture, write_pairs
from tests.curate.tasks_runs import curated


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


def test_boxes_of_an_image_of_another_shape_are_dropped_not_mislabelled(tmp_path: Path) -> None:
    for name, width, height in (("a", 512, 346), ("b", 300, 300)):
        (tmp_path / f"{name}.jpg").write_bytes(picture(1, width, height))
    chunk = [[0.0, 13.0, 0.02, 0.03, 0.95, 0.96, 0.7]]
    rows = [
        {"id": number, "url": f"https://example.org/{name}.jpg", "caption": f"a wire hanger with paper {name}",
         "width": 1024, "height": 693, "clip_similarity_vitb32": 0.35, "noun_chunks": chunk, "ref_exps": chunk,
         "image": (tmp_path / f"{name}.jpg").read_bytes()}
        for number, name in enumerate("ab")
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "grit.parquet")
    manifest, kept = curated("grit", tmp_path / "out", [tmp_path / "grit.parquet"])
    assert manifest["dropped"] == {"image_changed": 1}
    assert kept["text"].to_pylist() == ["a wire hanger with paper a"]
