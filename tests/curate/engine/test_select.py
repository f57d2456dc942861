"""Selecting rows by metadata alone, and going on from there."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

import curate as package
from tests.curate.crasher import Crasher, points
from tests.curate.runs import curate, done, dropped, pair, picture, shards, write_pairs

HERE = ("--workers", "0")


def parts(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("part-*.parquet"))])


def hashes(folder: Path) -> dict[str, str]:
    names = [*folder.glob("part-*.parquet"), *folder.glob("_dropped/*.parquet")]
    return {str(n.relative_to(folder)): hashlib.sha256(n.read_bytes()).hexdigest() for n in sorted(names)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of forty rows, some for each way to fall, with columns that nobody knows."""
    folder = tmp_path_factory.mktemp("in")
    rows = [pair(n) | {"hash": n, "tags": [str(n), "x"], "meta": {"nsfw": n / 40}} for n in range(40)]
    rows[1] |= {"WIDTH": 900, "HEIGHT": 210, "image": picture(1, 900, 210)}
    rows[2] |= {"WIDTH": 120, "HEIGHT": 120, "image": picture(2, 120, 120)}
    rows[3] |= {"similarity": 0.01}
    rows[4] |= {"TEXT": "Фотография старой гавани"}
    rows[5] |= {"TEXT": "  The old <b>harbour</b> in the morning &amp; the evening "}
    rows[8] |= {"WIDTH": None, "HEIGHT": None, "image": picture(8, 90, 90)}
    rows[9] |= {"URL": rows[0]["URL"], "TEXT": rows[0]["TEXT"], "image": rows[0]["image"]}
    rows[25] |= {"URL": rows[6]["URL"], "TEXT": rows[6]["TEXT"], "image": rows[6]["image"]}
    rows[26] |= {"TEXT": rows[7]["TEXT"], "image": rows[7]["image"]}  # another address of the same image
    rows[30] |= {"TEXT": None}
    write_pairs(folder / "a.parquet", rows[:20], row_group_size=7)
    write_pairs(folder / "b.parquet", rows[20:])
    return folder


@pytest.fixture(scope="module")
def selected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("selected") / "out"
    done("select", "laion", "--input", source, "--out", out, "--set", "shard.rows=8", *HERE)
    return out


def test_the_sources_columns_stay_as_they_were(source: Path, selected: Path) -> None:
    before = pq.ParquetFile(source / "a.parquet").schema_arrow
    made = parts(selected)
    assert made.schema.names == [*before.names, "curate_key", "curate_text"]
    assert made.schema.types[: len(before)] == before.types
    rows = pa.concat_tables([pq.read_table(source / f"{name}.parquet") for name in "ab"])
    kept = rows.filter(pa.compute.is_in(rows["hash"], made["hash"].combine_chunks()))
    ours = made.drop_columns(["curate_key", "curate_text"])
    fell = {9, 25}  # their hashes are those of rows that stay away
    assert ours.to_pylist() == [row for row in kept.to_pylist() if row["hash"] not in fell]
    assert made["curate_text"][made["hash"].to_pylist().index(5)].as_py() == (
        "The old harbour in the morning & the evening"
    )


def test_each_row_that_falls_has_its_reason(selected: Path) -> None:
    assert dropped(selected) == {
        "a.parquet#1": "image_too_elongated",
        "a.parquet#2": "image_too_small",
        "a.parquet#3": "clip_score_too_low",
        "a.parquet#4": "text_has_other_script",
        "a.parquet#9": "duplicate_pair",
        "b.parquet#5": "duplicate_pair",
        "b.parquet#10": "text_missing",
    }
    told = json.loads((selected / "_manifest.json").read_text())
    assert (told["rows_in"], told["rows_out"]) == (40, 33)
    assert sum(told["dropped"].values()) == 7
    assert [stage["name"] for stage in told["stages"]] == ["read", "rules", "write", "seen"]


def test_a_run_on_a_selection_gives_what_a_direct_run_gives(
    source: Path, selected: Path, tmp_path: Path
) -> None:
    direct, later = tmp_path / "direct", tmp_path / "later"
    done("run", "laion", "--input", source, "--out", direct, *HERE)
    done("run", "laion", "--input", selected, "--out", later, *HERE)
    one, other = shards(direct).drop_columns(["source"]), shards(later).drop_columns(["source"])
    assert one.equals(other)
    assert set(dropped(later).values()) == {
        "image_too_small",
        "duplicate_pair",
    }  # of images: seen by no metadata
    assert "curate_key" not in one["extra"][0].as_py()


def test_a_run_drops_nothing_for_a_rule_that_select_has_judged(source: Path, tmp_path: Path) -> None:
    out, later = tmp_path / "out", tmp_path / "later"
    mild = ("--set", "rules.clip_score_too_low.min_score=0.001")
    done("select", "laion", "--input", source, "--out", out, *mild, *HERE)
    moved = (out / "part-000000.parquet").rename(tmp_path / "elsewhere.parquet")
    finished = curate("run", "laion", "--input", moved, "--out", later, "--json", *HERE)
    assert "clip_score_too_low" not in json.loads(finished.stdout)["dropped"]
    assert "rule clip_score_too_low is not judged again" in finished.stderr
    assert "min_score=0.001" in finished.stderr


def test_a_selection_can_be_selected_from(selected: Path, tmp_path: Path) -> None:
    strict = ("--set", "rules.unsafe.column=meta.nsfw", "--set", "rules.unsafe.on=true")
    told = done("select", "laion", "--input", selected, "--out", tmp_path / "out", *strict, *HERE)
    assert told["dropped"]["unsafe"] > 0
    made = parts(tmp_path / "out")
    assert made.schema.names == parts(selected).schema.names
    assert set(made["curate_key"].to_pylist()) < set(parts(selected)["curate_key"].to_pylist())


def test_the_output_does_not_depend_on_who_makes_it(source: Path, selected: Path, tmp_path: Path) -> None:
    of_ray = tmp_path / "ray"
    done("select", "laion", "--input", source, "--out", of_ray, "--set", "shard.rows=8", "--workers", 2)
    assert hashes(of_ray) == hashes(selected)


def test_select_is_a_function_too(source: Path, selected: Path, tmp_path: Path) -> None:
    made = package.select(
        "laion", tmp_path / "out", source, settings={"shard.rows": 8}, workers=0, progress=False
    )
    assert made.rows_out == 33
    assert hashes(tmp_path / "out") == hashes(selected)


def test_other_readers_take_the_folder(selected: Path) -> None:
    assert pyarrow.dataset.dataset(selected).count_rows() == 33
    datasets = pytest.importorskip("datasets")
    assert datasets.load_dataset(str(selected), split="train").num_rows == 33


@pytest.mark.parametrize("manifest", ["pdf", "synthdog-en"])
def test_what_is_no_row_of_a_table_is_refused(manifest: str, tmp_path: Path) -> None:
    refused = curate("select", manifest, "--out", tmp_path / "out")
    assert refused.returncode == 2
    assert "`curate select` keeps rows of tables: use `curate run`" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_a_row_that_makes_several_records_is_refused(tmp_path: Path) -> None:
    refused = curate("select", "visual-genome", "--out", tmp_path / "out")
    assert (refused.returncode, "several records of a row (regions)" in refused.stderr) == (2, True)


def test_a_column_of_our_name_is_refused(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "rows.parquet", [pair(0) | {"curate_key": "mine"}])
    refused = curate("select", "laion", "--input", source, "--out", tmp_path / "out")
    assert (refused.returncode, "has a column 'curate_key'" in refused.stderr) == (2, True)


def test_an_input_is_never_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    source = write_pairs(folder / "part-000000.parquet", [pair(0)])
    before = source.read_bytes()
    for command in ("select", "run"):
        for more in ((), ("--overwrite",)):
            refused = curate(command, "laion", "--input", folder, "--out", folder, *more, *HERE)
            assert (refused.returncode, "give another --out" in refused.stderr) == (2, True)
    done("run", "laion", "--out", folder, "--overwrite", *HERE)
    assert source.read_bytes() == before


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_text_formats_keep_their_columns(suffix: str, tmp_path: Path) -> None:
    rows = [
        {"URL": f"https://a.example/{n}", "TEXT": f"The old harbour {n}", "more": f"n{n}"} for n in range(5)
    ]
    source = tmp_path / f"rows.{suffix}"
    if suffix == "jsonl":
        rows[2]["more"] = {"deep": [1, "two"]}  # type: ignore[assignment]
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
        source.write_text("\n".join(lines) + "\n")
    done("select", "laion", "--input", source, "--out", tmp_path / "out", *HERE)
    assert parts(tmp_path / "out")["TEXT"].to_pylist() == [row["TEXT"] for row in rows]
    # that it cannot be fetched tells what a run makes of it
    for name, given in (("direct", source), ("later", tmp_path / "out")):
        done("run", "laion", "--input", given, "--out", tmp_path / name, "--dry-run")


def test_a_selection_is_explained_by_key_by_url_and_by_its_spelling(source: Path, selected: Path) -> None:
    kept = parts(selected).slice(0, 1).to_pylist()[0]
    for name in (kept["curate_key"], kept["URL"]):
        told = done("explain", selected, name)
        assert (told["fate"], told["shard"], told["row"]) == ("kept", "part-000000.parquet", 0)
        assert (told["key"], told["url"], told["width"]) == (kept["curate_key"], kept["URL"], 240)
    assert [step["stage"] for step in told["way"]][:2] == ["read", "rules"]
    assert done("explain", selected, "a.parquet#3")["reason"] == "clip_score_too_low"
    assert curate("explain", selected, "https://nowhere.example/").returncode == 1


def test_a_selection_is_verified_and_repaired(source: Path, selected: Path, tmp_path: Path) -> None:
    assert done("verify", selected) == {"shards": 6, "rows": 33, "damaged": {}}
    before = (selected / "part-000001.parquet").read_bytes()
    (selected / "part-000001.parquet").write_bytes(before[:-40] + b"x" * 36 + before[-4:])
    (selected / "part-000009.parquet").write_bytes(before)
    assert list(json.loads(curate("verify", selected, "--json").stdout)["damaged"]) == [
        "part-000001.parquet",
        "part-000009.parquet",
    ]
    (selected / "part-000009.parquet").unlink()
    assert done("verify", selected, "--repair")["repaired"] == ["part-000001.parquet"]
    assert (selected / "part-000001.parquet").read_bytes() == before


def test_a_selection_is_retried_and_reported(selected: Path, tmp_path: Path) -> None:
    mild = ("--set", "rules.clip_score_too_low.min_score=0.001")
    reasons = ("--reasons", "clip_score_too_low")
    again = done("retry", selected, *reasons, "--out", tmp_path / "again", *mild, *HERE)
    assert (again["kind"], again["rows_out"]) == ("selection", 1)
    assert parts(tmp_path / "again")["hash"].to_pylist() == [3]
    assert done("report", tmp_path / "again")["wrote"] == ["report.html"]
    assert "the old harbour, number 3" in (tmp_path / "again" / "report.html").read_text()


def test_what_wants_shards_says_how_to_make_them(selected: Path, tmp_path: Path) -> None:
    for command in (("pack", selected, "--out", tmp_path / "p"), ("score", selected)):
        refused = curate(*command)
        assert refused.returncode == 2
        assert f"`curate run MANIFEST --input {selected}` makes shards of it" in refused.stderr


@pytest.mark.parametrize("call", ["replace", "link"])
def test_killed_at_any_step_the_same_command_ends_with_the_same_bytes(
    call: str, source: Path, selected: Path, tmp_path: Path, crasher: Crasher
) -> None:
    asked = ["select", "laion", "--input", source, "--set", "shard.rows=8", *HERE, "--out"]
    _, calls = crasher.run(call, 0, "none", *asked, tmp_path / "whole")
    assert hashes(tmp_path / "whole") == hashes(selected)
    for number in points(calls, 3):
        out = tmp_path / str(number)
        assert crasher.run(call, number, "kill after", *asked, out)[0] == -signal.SIGKILL
        assert hashes(out).items() <= hashes(selected).items()
        assert crasher.run(call, 0, "none", *asked, out)[0] == 0
        assert hashes(out) == hashes(selected)
