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
        (
            "text_too_short.min_chars=3",
            "the manifest has no key 'text_too_short': write rules.text_too_short",
        ),
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
    assert "1 row of" in refused.stderr
    assert "drops.sample = 0 wrote none of them down" in refused.stderr


@pytest.mark.parametrize(
    "setting",
    [
        "rules.image_too_small.min_side",
        "rules.text_has_too_few_words.min_words",
        "input.max_expansion",
        "seed",
    ],
)
def test_a_number_beyond_64_bits_is_refused_by_name(setting: str) -> None:
    for number in (10**20, -(2**63) - 1):
        with pytest.raises(ManifestError, match=f"^laion: {setting} is a whole number beyond 64 bits$"):
            load("laion", {setting: number})


@pytest.mark.parametrize(
    "words", [("run", "laion", "--out", ""), ("run", "laion", "--out", "X", "--input", " ")]
)
def test_an_empty_path_is_refused_and_not_taken_for_the_working_folder(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    refused = curate(*[str(tmp_path / "out") if word == "X" else word for word in words])
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("curate: an empty path names no file or folder")
    assert not (tmp_path / "out").exists()


def test_a_retry_of_no_reason_is_refused(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "rows.parquet", [pair(0)])
    done("run", "laion", "--input", source, "--out", tmp_path / "out")
    refused = curate("retry", tmp_path / "out", "--reasons", "", "--out", tmp_path / "again")
    assert refused.returncode == 2
    assert "name the reasons to run again" in refused.stderr
    assert not (tmp_path / "again").exists()


def test_packs_and_runs_do_not_take_each_others_folder(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "rows.parquet", [pair(0)])
    run, packs = tmp_path / "run", tmp_path / "packs"
    done("run", "laion", "--input", source, "--out", run)
    done("pack", run, "--out", packs)
    before = {path: path.read_bytes() for path in (run / "_manifest.json", packs / "_manifest.json")}
    for words in (("pack", run, "--out", run), ("run", "laion", "--input", source, "--out", packs)):
        for more in ((), ("--overwrite",)):
            refused = curate(*words, *more)
            assert refused.returncode == 2
            assert refused.stderr.splitlines()[-1].endswith(("of their own", "give another --out"))
    (run / "_manifest.json").unlink()
    assert (
        curate("pack", run / "shard-000000.parquet", "--out", run).returncode == 2
    )  # unfinished, and a run's
    assert (packs / "_manifest.json").read_bytes() == before[packs / "_manifest.json"]


def test_packs_with_a_damaged_manifest_are_not_sent_to_a_journal(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "rows.parquet", [pair(0)])
    done("run", "laion", "--input", source, "--out", tmp_path / "run")
    done("pack", tmp_path / "run", "--out", tmp_path / "packs")
    (tmp_path / "packs" / "_manifest.json").write_text("{")
    refused = curate("verify", tmp_path / "packs")
    assert refused.returncode == 1
    assert "make the folder anew, with --overwrite" in refused.stdout + refused.stderr
    assert "_run" not in refused.stdout + refused.stderr
    done("pack", tmp_path / "run", "--out", tmp_path / "packs", "--overwrite")


def test_a_column_of_only_that_there_is_not_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source, out = (
        write_pairs(tmp_path / "rows.parquet", [pair(0, split="a"), pair(1, split="b")]),
        tmp_path / "out",
    )
    refused = curate(
        "select", "laion", "--input", source, "--out", out, "--set", "only.splt=a", "--workers", 0
    )
    assert refused.returncode == 2
    assert not out.exists()
    assert "only.splt selects rows by a column that there is not" in refused.stderr
    assert "split" in refused.stderr
    told = done("select", "laion", "--input", source, "--out", out, "--set", "only.SPLIT=a", "--workers", 0)
    assert told["dropped"] == {"row_not_selected": 1}
