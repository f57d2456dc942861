"""A run's folder as other programs see it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from tests.curate.runs import done


def kept(folder: Path) -> int:
    """How many rows of the sample are kept, as the run says."""
    rows: int = json.loads((folder / "_manifest.json").read_text())["rows_out"]
    assert rows > 50
    return rows


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "shards"
    done("run", "laion", "--out", out, "--workers", 0)
    return out


def test_datasets_decodes_the_images_unasked(curated: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = str(curated / "shard-*.parquet")
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert loaded.num_rows == kept(curated)
    for row in loaded:
        assert row["image"].size == (row["width"], row["height"])
    assert isinstance(loaded[0]["regions"] or [], list)


def test_datasets_takes_the_folder_as_the_run_left_it(curated: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(curated), split="train", cache_dir=str(tmp_path))
    assert loaded.num_rows == kept(curated)
    assert loaded[0]["image"].size == (loaded[0]["width"], loaded[0]["height"])


def test_pyarrow_reads_the_folder_as_a_data_set(curated: Path) -> None:
    assert pq.read_table(curated).num_rows == kept(curated)
    assert pyarrow.dataset.dataset(curated).count_rows() == kept(curated)


def test_duckdb_asks_it_questions(curated: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    files = str(curated / "shard-*.parquet")
    rows = duckdb.sql(
        f"select language, count(*), min(least(width, height)) from '{files}' group by 1"
    ).fetchall()
    assert {language for language, _, _ in rows} == {"en", "zh"}
    assert sum(count for _, count, _ in rows) == kept(curated)
    assert min(side for _, _, side in rows) >= 200


def test_polars_scans_it(curated: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.scan_parquet(str(curated / "shard-*.parquet")).select("key", "text", "target").collect()
    assert frame["key"].n_unique() == kept(curated)
    assert (frame["target"] == " " + frame["text"]).all()


def test_an_image_lies_contiguous_in_its_shard(curated: Path) -> None:
    shard = next(curated.glob("shard-*.parquet"))
    data = shard.read_bytes()
    for row in pq.read_table(shard, columns=["image", "sha256"]).to_pylist():
        assert row["image"]["bytes"] in data
        assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["sha256"]
