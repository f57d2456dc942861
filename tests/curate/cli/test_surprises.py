"""What people write first, and what they are told: each of these once failed without a word that helps."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.errors import ManifestError
from curate.manifest.load import load
from tests.curate.runs import curate, done, pair, shards, write_pairs


def test_one_name_stands_for_a_list_of_names() -> None:
    assert load("laion", ["columns.text=TEXT"]).columns["text"] == ("TEXT",)
    assert load("laion", ["image.formats=jpeg"]).image.formats == ("jpeg",)
    assert load("refcoco", ["only.split=val"]).only["split"] == ("val",)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("min_words=3", "the manifest has no key 'min_words': write rules.text_has_too_few_words.min_words"),
        ("max_redirects=3", "the manifest has no key 'max_redirects': write fetch.max_redirects"),
    ],
)
def test_a_setting_without_its_table_is_told_where_it_belongs(setting: str, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        load("laion", [setting])


def test_a_rule_that_is_ready_is_switched_on_by_true() -> None:
    assert load("laion", ["rules.unsafe=true"]).active_rules()["unsafe"]["column"] == "punsafe"


def test_a_file_in_the_place_of_the_manifest_is_told_to_be_an_input(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "rows.parquet", [pair(0)])
    refused = curate("run", source, "--out", tmp_path / "out")
    assert refused.returncode == 2
    assert f"that is an input; write `curate run MANIFEST --input {source}`" in refused.stderr


def test_a_dry_run_looks_at_all_inputs_and_keeps_to_the_limit(tmp_path: Path) -> None:
    for number in range(3):
        rows = [pair(number, TEXT=f"row {row} of file {number}") for row in range(4)]
        write_pairs(tmp_path / f"{number}.parquet", rows)
    asked = ("run", "laion", "--input", tmp_path, "--dry-run", "--out", tmp_path / "out")
    told = done(*asked)
    assert told["judged"] == 12
    assert {row["text"][-1] for row in told["first_rows"]} == {"0", "1", "2"}
    assert done(*asked, "--limit", 5)["judged"] == 5


def test_a_retry_takes_patterns_and_settings(tmp_path: Path) -> None:
    rows = [pair(0, TEXT="a text that is long"), pair(1, TEXT="short"), pair(2, TEXT="another long text")]
    source = write_pairs(tmp_path / "rows.parquet", rows)
    cut = ("--workers", 0, "--set", "rules.text_too_long.max_chars=10")
    done("run", "laion", "--input", source, "--out", tmp_path / "out", *cut)
    again = ("retry", tmp_path / "out", "--reasons", "text_too_*", "--workers", 0)
    done(*again, "--out", tmp_path / "more", "--set", "rules.text_too_long.max_chars=17")
    assert shards(tmp_path / "more")["text"].to_pylist() == ["another long text"]
    refused = curate(*again[:3], "http_*", "--out", tmp_path / "none")
    assert (refused.returncode, "dropped nothing for 'http_*'" in refused.stderr) == (2, True)


def test_a_retry_of_rows_that_were_not_written_down_is_refused(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "rows.parquet", [pair(0, TEXT="short"), pair(1, TEXT="longer than that")])
    cut = ("--workers", 0, "--set", "rules.text_too_long.max_chars=10", "--set", "drops.sample=0")
    done("run", "laion", "--input", source, "--out", tmp_path / "out", *cut)
    refused = curate("retry", tmp_path / "out", "--reasons", "text_too_long", "--out", tmp_path / "more")
    assert refused.returncode == 2
    assert "1 rows of" in refused.stderr
    assert "drops.sample = 0 wrote none of them down" in refused.stderr
