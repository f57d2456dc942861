"""Altered copies within a run: the first in source order stays, whatever the cut of the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import curate
from curate.engine import similar
from tests.curate.engine.test_evaluation import NAMES, photo
from tests.curate.runs import dropped, files, pair, write_pairs

RULE = {"rules.similar_image.max_distance": 56, "shard.rows": 2}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        photo(NAMES[0]),
        photo(NAMES[1], 0.04),
        photo(NAMES[0], 0.05, 50),
        pair(7),
        photo(NAMES[2]),
        photo(NAMES[1], quality=60),
        photo(NAMES[0], quality=40),
        pair(8),
    ]
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.parquet", rows)


def run(source: Path, out: Path, **settings: Any) -> curate.RunResult:
    result = curate.run("laion", out, source, settings=RULE | settings, workers=0, progress=False)
    assert isinstance(result, curate.RunResult)
    return result


def test_the_first_of_several_copies_stays(source: Path, tmp_path: Path) -> None:
    result = run(source, tmp_path / "out")
    assert result.dropped == {"similar_image": 3}
    rows = [row for path in (tmp_path / "out").glob("_dropped/*") for row in pq.read_table(path).to_pylist()]
    assert sorted(row["source"].rpartition("#")[2] for row in rows) == ["2", "5", "6"]
    kept = {
        row["source"].rpartition("#")[2]: row["key"]
        for path in (tmp_path / "out").glob("shard-*.parquet")
        for row in pq.read_table(path, columns=["source", "key"]).to_pylist()
    }
    witness = {row["source"].rpartition("#")[2]: row["detail"].rpartition(" to ")[2] for row in rows}
    assert witness == {"2": kept["0"], "5": kept["1"], "6": kept["0"]}
    assert curate.verify(tmp_path / "out").damaged == {}
    told = curate.explain(tmp_path / "out", rows[0]["key"])
    assert told.reason == "similar_image"


def test_how_the_work_is_cut_changes_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(source, tmp_path / "one")
    monkeypatch.setattr(similar, "PARTITION_ENTRIES", 50)
    monkeypatch.setattr(similar, "GROUP_ROWS", 1)
    monkeypatch.setattr("curate.engine.plan.SLICE_ROWS", 2)
    run(source, tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert dropped(tmp_path / "one") == dropped(tmp_path / "two")


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(source, tmp_path / "whole")
    for step in ("spill", "resolve", "settle"):

        def stop(*_: object) -> None:
            raise OSError("stopped")

        with monkeypatch.context() as broken:
            broken.setattr(similar.SimilarImages, step, stop)
            with pytest.raises(curate.CurateError):
                run(source, tmp_path / "stopped")
    run(source, tmp_path / "stopped")
    assert files(tmp_path / "whole") == files(tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "_run" / "similar").exists()


def test_exact_duplicates_fall_to_their_own_rule_first(tmp_path: Path) -> None:
    rows = [
        photo(NAMES[0]),
        photo(NAMES[0]) | {"URL": "https://pictures.example/other.jpg"},
        photo(NAMES[0], quality=60),
    ]
    source = write_pairs(tmp_path / "pairs.parquet", rows)
    assert run(source, tmp_path / "out").dropped == {"duplicate_pair": 1, "similar_image": 1}


def test_a_run_without_images_that_show_anything_is_fine(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "pairs.parquet", [pair(1, image=b"no image"), pair(2, image=None)])
    assert run(source, tmp_path / "out").rows_out == 0


def test_rows_about_one_image_stay_or_fall_together(tmp_path: Path) -> None:
    first, copy = photo(NAMES[0]), photo(NAMES[0], 0.05)
    texts = ("A first text about this picture", "A second text about this picture")
    rows = [one | {"TEXT": text} for one in (first, copy) for text in texts]
    source = write_pairs(tmp_path / "pairs.parquet", rows)
    assert run(source, tmp_path / "out").dropped == {"similar_image": 2}
    assert set(dropped(tmp_path / "out")) == {"pairs.parquet#2", "pairs.parquet#3"}


def test_a_folder_with_the_rule_is_not_grown(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    more = write_pairs(tmp_path / "zz.parquet", [pair(9)])
    with pytest.raises(curate.CurateError, match="similar_image compares images of the whole run"):
        curate.run("laion", tmp_path / "out", [source, more], settings=RULE, workers=0, progress=False)
