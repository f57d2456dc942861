"""Images on a user's own lists of hashes never reach a shard."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import ManifestError
from tests.curate.engine.test_evaluation import NAMES, photo
from tests.curate.runs import curate as command
from tests.curate.runs import shards, write_pairs

RULE = "rules.image_on_list.against"


def rows() -> list[dict[str, Any]]:
    return [photo(name) for name in NAMES]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.parquet", rows())


@pytest.fixture(scope="module")
def hashed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The PDQ hash of each row's image, as the column `fingerprint` has it."""
    out = tmp_path_factory.mktemp("hashed") / "out"
    curate.run("laion", out, source, settings={"image.fingerprints": True}, workers=0, progress=False)
    column: list[str] = shards(out)["fingerprint"].to_pylist()
    return column


def near(pdq: str) -> str:
    """The hash with 12 bits changed."""
    return f"{int(pdq, 16) ^ 0x111111111111:064x}"


def test_images_on_a_list_are_dropped(source: Path, hashed: list[str], tmp_path: Path) -> None:
    bodies = [row["image"] for row in rows()]
    md5, sha256 = hashlib.md5(bodies[0]).hexdigest(), hashlib.sha256(bodies[1]).hexdigest()
    (tmp_path / "ours.txt").write_text(f"{md5}\nsha256:{sha256}\n# and by looks\npdq:{near(hashed[2])}\n")
    (tmp_path / "theirs.pdq").write_text(f"{hashed[3]},100\n")
    settings = {RULE: [str(tmp_path / "ours.txt"), str(tmp_path / "theirs.pdq")]}
    result = curate.run("laion", tmp_path / "out", source, settings=settings, workers=0, progress=False)
    assert isinstance(result, curate.RunResult)
    assert (result.rows_out, result.dropped) == (1, {"image_on_list": 4})
    (file,) = (tmp_path / "out" / "_dropped").glob("*.parquet")
    dropped = {row["url"]: row for row in pq.read_table(file).to_pylist()}
    said = [dropped[row["URL"]]["detail"] for row in rows()[:4]]
    assert said == [
        "md5 in ours:1",
        "sha256 in ours:2",
        "pdq distance=12 to ours:4",
        "pdq distance=0 to theirs:1",
    ]
    assert {row["stage"] for row in dropped.values()} == {"listed"}
    stages = {stage["name"]: (stage["rows_in"], stage["rows_out"]) for stage in result.raw["stages"]}
    assert stages["listed"] == (5, 1)
    assert curate.verify(tmp_path / "out", workers=0).damaged == {}
    told = curate.explain(tmp_path / "out", rows()[2]["URL"])
    assert (told.reason, told.way[-1]["stage"]) == ("image_on_list", "listed")
    assert "fingerprint" not in shards(tmp_path / "out").column_names


def test_a_bad_list_stops_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("not a hash\n")
    with pytest.raises(ManifestError, match="line 1"):
        curate.run(
            "laion", tmp_path / "out", source, settings={RULE: str(tmp_path / "bad.txt")}, progress=False
        )
    assert not (tmp_path / "out").exists()
    for given in (f"{RULE}={tmp_path / 'missing'}", "rules.image_on_list.max_distance=40"):
        said = command("run", "laion", "--out", tmp_path / "out", "--set", given)
        assert (said.returncode, said.stderr.count("\n")) == (2, 1), said.stderr


def test_an_image_is_removed_by_its_pdq_hash_and_stays_out(
    source: Path, hashed: list[str], tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(f"pdq:{near(hashed[1])},97\n")
    for form, settings in {"with": {"image.fingerprints": True}, "without": {}}.items():
        whole, new = tmp_path / form, tmp_path / f"{form}-new"
        asked: dict[str, Any] = {"settings": settings, "workers": 0, "progress": False}
        curate.run("laion", whole, source, **asked)
        found = curate.remove(whole, tmp_path / "list.txt", new)
        assert (found.rows_removed, found.rows_out) == (1, 4)
        assert curate.verify(new, workers=0).damaged == {}
        again = write_pairs(tmp_path / "pairs-2.parquet", [photo(NAMES[1], quality=70)])
        grown = curate.run("laion", new, [source, again], **asked)
        assert isinstance(grown, curate.RunResult)
        assert (grown.rows_out, grown.dropped) == (4, {"removed_on_request": 2})


def test_a_pdq_line_that_is_none_is_refused(source: Path, tmp_path: Path) -> None:
    curate.run("laion", tmp_path / "out", source, workers=0, progress=False)
    (tmp_path / "list.txt").write_text("pdq:abc\n")
    said = command("remove", tmp_path / "out", "--list", tmp_path / "list.txt", "--out", tmp_path / "new")
    assert (said.returncode, said.stderr.count("\n")) == (2, 1), said.stderr
    assert "line 1: 'abc' is no PDQ hash" in said.stderr
