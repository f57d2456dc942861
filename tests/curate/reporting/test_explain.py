from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curate.errors import DamagedError, InputError
from curate.reporting.explain import explain, lines
from tests.curate.made_shards import make_shards
from tests.curate.runs import curate, done, pair, picture, shards, write_pairs


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a row that falls at each kind of stage; no row is fetched."""
    folder = tmp_path_factory.mktemp("explained")
    rows = [pair(n) for n in range(4)]
    rows += [
        pair(4, similarity=0.1),
        pair(5, TEXT="no"),
        pair(6, image=picture(6)[:-500]),
        pair(7, image=picture(7, 100, 90)),
        pair(0),
        pair(9, TEXT=pair(1)["TEXT"], image=picture(1)),
        pair(10, TEXT="Two \u202e\x1b[2J lines", similarity=0.1),
    ]
    source = write_pairs(folder / "rows.parquet", rows)
    done("run", "laion", "--input", source, "--out", folder / "out", "--workers", 0, "--set", "shard.rows=6")
    return folder / "out"


def url(number: int) -> str:
    address: str = pair(number)["URL"]
    return address


def steps(told: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(step["stage"], step.get("rule", "")): step for step in told["way"]}


def test_a_kept_row_has_its_place_and_every_value_that_it_passed_by(out: Path) -> None:
    told = explain(str(out), url(1))
    assert (told["fate"], told["shard"], told["row"]) == ("kept", "shard-000000.parquet", 1)
    way = steps(told)
    assert {step["outcome"] for step in told["way"]} == {"passed"}
    assert way["rules", "clip_score_too_low"]["value"].startswith("clip_score=0.4")
    assert way["rules", "text_too_long"]["value"] == f"chars={len(told['text'])}"
    assert way["size", "image_too_small"]["value"] == "width=240 height=220"
    assert way["size", "image_too_small"]["settings"] == {"min_side": 200}
    assert ("across", "placeholder_image") in way


def test_a_key_and_a_url_name_the_same_row(out: Path) -> None:
    for row in shards(out).to_pylist():
        by_key = explain(str(out), row["key"])
        assert by_key["url"] == row["url"]
        assert by_key == explain(str(out), row["url"])


@pytest.mark.parametrize(
    ("number", "stage", "reason", "value"),
    [
        (4, "rules", "clip_score_too_low", "clip_score=0.1"),
        (5, "rules", "text_too_short", "chars=2"),
        (6, "decode", "damaged", "Corrupt JPEG data"),
        (7, "size", "image_too_small", "width=100 height=90"),
        (9, "across", "duplicate_pair", "sha256="),
    ],
)
def test_a_dropped_row_ends_where_it_fell_by_the_value_that_decided(
    out: Path, number: int, stage: str, reason: str, value: str
) -> None:
    told = explain(str(out), url(number))
    assert (told["fate"], told["reason"]) == ("dropped", reason)
    *before, last = told["way"]
    assert (last["stage"], last["rule"], last["outcome"]) == (stage, reason, "dropped")
    assert last["value"].startswith(value)
    assert {step["outcome"] for step in before} == {"passed"}


def test_more_rows_of_one_address_are_listed(out: Path) -> None:
    told = explain(str(out), url(0))
    assert told["fate"] == "kept"
    assert [(one["fate"], one["reason"]) for one in told["also"]] == [("dropped", "duplicate_pair")]
    assert explain(str(out), told["key"])["also"] == told["also"]  # the same pair has the same key


def test_a_rule_without_its_column_is_not_said_to_be_passed(tmp_path: Path) -> None:
    rows = [{name: value for name, value in pair(n).items() if name != "similarity"} for n in range(2)]
    source = write_pairs(tmp_path / "rows.parquet", rows)
    done("run", "laion", "--input", source, "--out", tmp_path / "out", "--workers", 0)
    way = steps(explain(str(tmp_path / "out"), url(0)))
    assert way["rules", "clip_score_too_low"]["outcome"] == "unjudged"


def test_what_is_not_there_is_unknown_and_why_it_may_be_is_said(out: Path, tmp_path: Path) -> None:
    assert explain(str(out), "https://elsewhere.example/") == {
        "fate": "unknown",
        "why": "no row of this run's input has that key, URL or source",
    }
    source = write_pairs(tmp_path / "rows.parquet", [pair(n, similarity=0.1) for n in range(20)])
    done(
        *("run", "laion", "--input", source, "--out", tmp_path / "out", "--workers", 0),
        *("--set", "drops.sample=0.4", "--limit", 19),
    )
    told = [explain(str(tmp_path / "out"), url(n)) for n in range(19)]
    assert {one["fate"] for one in told} == {"dropped", "unknown"}
    why = next(one["why"] for one in told if one["fate"] == "unknown")
    assert "not among the 0.4 of drops that are written down" in why
    assert "--limit" in why


def test_a_person_reads_lines_that_do_no_harm_to_a_terminal(out: Path) -> None:
    finished = curate("explain", out, url(10))
    assert finished.returncode == 0
    assert finished.stdout.startswith("dropped: clip_score_too_low (clip_score=0.1)\n")
    assert "\\u202e" in finished.stdout
    assert not any(c in finished.stdout for c in "\u202e\x1b")
    assert "  rules    clip_score_too_low             dropped  clip_score=0.1  (min_score=0.32)" in [
        *lines(explain(str(out), url(10)))
    ]


def test_packs_and_damaged_shards_are_refused_with_the_way_out(out: Path, tmp_path: Path) -> None:
    make_shards(tmp_path / "shards", rows=4, shards=1)
    assert curate("pack", tmp_path / "shards", "--out", tmp_path / "packs").returncode == 0
    with pytest.raises(InputError, match="holds packs"):
        explain(str(tmp_path / "packs"), "x")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "_manifest.json").write_bytes((out / "_manifest.json").read_bytes())
    with pytest.raises(InputError, match="curate verify"):
        explain(str(copy), "x")


def test_a_missing_shard_is_damage_said_plainly(out: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(out, tmp_path / "out"))
    key = shards(folder)["key"][0].as_py()
    (folder / "shard-000000.parquet").unlink()
    said = curate("explain", folder, key)
    assert said.returncode == 1
    assert f"No such file or directory: {folder}/shard-000000.parquet; `curate verify`" in said.stderr
    assert said.stderr.count("\n") == 1


@pytest.mark.parametrize("column", ["url", "reason", "stage", "key"])
def test_dropped_rows_that_lack_a_column_are_named(out: Path, tmp_path: Path, column: str) -> None:
    shutil.copytree(out, tmp_path / "out")
    path = next((tmp_path / "out/_dropped").glob("*.parquet"))
    table = pq.read_table(path)
    source = table["source"][0].as_py()
    names = ["other" if name == column else name for name in table.column_names]
    pq.write_table(table.rename_columns(names), path)
    with pytest.raises(DamagedError, match=rf"{path.name} lacks the column {column}; `curate verify"):
        explain(str(tmp_path / "out"), source)
