from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.curate.runs import curate, done, dropped, files, pair, picture, shards, write_pairs

FEW = ("--set", "shard.rows=4", "--workers", "0")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty rows, one for each way to fall, the others good."""
    rows = [pair(n) for n in range(20)]
    rows[1] |= {"WIDTH": 900, "HEIGHT": 210, "image": picture(1, 900, 210)}
    rows[2] |= {"WIDTH": 120, "HEIGHT": 120, "image": picture(2, 120, 120)}
    rows[3] |= {"similarity": 0.01}
    rows[4] |= {"TEXT": "Фотография старой гавани"}
    rows[5] |= {"TEXT": "The old harbour 😀 in the morning"}
    rows[6] |= {"TEXT": "boat"}
    rows[7] |= {"TEXT": "harbour " * 400}
    rows[8] |= {"image": picture(8)[:900]}
    rows[9] |= {"URL": rows[0]["URL"], "TEXT": rows[0]["TEXT"], "image": rows[0]["image"]}
    rows[10] |= {"TEXT": rows[0]["TEXT"], "image": rows[0]["image"]}
    rows[11] |= {"WIDTH": 240, "HEIGHT": 220, "image": picture(11, 100, 90)}
    rows[12] |= {"similarity": None}
    return write_pairs(tmp_path_factory.mktemp("in") / "mixed.parquet", rows)


@pytest.fixture(scope="module")
def curated(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "curated"
    done("run", "laion", "--input", mixed, "--out", out, *FEW)
    return out


def test_each_row_ends_as_a_record_or_as_a_drop_with_the_reason_of_the_first_rule_it_falls_to(
    curated: Path,
) -> None:
    reasons = {int(source.split("#")[1]): reason for source, reason in dropped(curated).items()}
    assert reasons == {
        1: "image_too_elongated",
        2: "image_too_small",
        3: "clip_score_too_low",
        4: "text_has_other_script",
        5: "text_has_emoji",
        6: "text_too_short",
        7: "text_too_long",
        8: "damaged",
        9: "duplicate_pair",
        10: "duplicate_pair",
        11: "image_too_small",
        12: "clip_score_missing",
    }
    kept = [int(source.split("#")[1]) for source in shards(curated)["source"].to_pylist()]
    assert kept == [0, *range(13, 20)]


def test_a_drop_says_what_decided(curated: Path) -> None:
    tables = [pq.read_table(path) for path in sorted(curated.glob("_dropped/*.parquet"))]
    rows = {row["source"]: row for table in tables for row in table.to_pylist()}
    assert rows["mixed.parquet#2"]["detail"] == "width=120 height=120"
    assert "U+0424" in rows["mixed.parquet#4"]["detail"]
    assert rows["mixed.parquet#11"]["detail"] == "width=100 height=90"
    assert rows["mixed.parquet#10"]["stage"] == "across"


def test_the_manifest_adds_up_and_lists_every_shard(curated: Path) -> None:
    manifest = json.loads((curated / "_manifest.json").read_text())
    assert manifest["rows_in"] == 20 == manifest["rows_out"] + sum(manifest["dropped"].values())
    assert {shard["path"]: shard["sha256"] for shard in manifest["shards"]} == {
        name: digest for name, digest in files(curated).items() if not name.startswith("_")
    }
    assert sum(shard["rows"] for shard in manifest["shards"]) == manifest["rows_out"]
    assert manifest["inputs"][0]["rows"] == 20
    rows = 20
    for stage in manifest["stages"]:
        assert stage["rows_in"] == rows
        rows = stage["rows_out"]
    assert rows == manifest["rows_out"]


def test_a_shard_says_what_it_is_made_of(curated: Path) -> None:
    row = shards(curated).to_pylist()[0]
    assert row["image"]["bytes"] == picture(0)
    assert row["image"]["path"] == f"laion/{row['key']}.jpg"
    assert row["prompt"] == f"<img>{row['image']['path']}</img>Generate the caption in English:"
    assert row["target"] == " A photograph of the old harbour, number 0"
    assert (row["width"], row["height"], row["task"], row["language"]) == (240, 220, "caption", "en")
    assert len(row["key"]) == 32


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_bytes_come_out_whatever_the_number_of_workers(
    mixed: Path, curated: Path, tmp_path: Path, workers: int
) -> None:
    done("run", "laion", "--input", mixed, "--out", tmp_path / "out", *FEW[:2], "--workers", workers)
    assert files(tmp_path / "out") == files(curated)


def test_a_finished_run_is_not_done_again(mixed: Path, curated: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in curated.rglob("*")}
    again = curate("run", "laion", "--input", mixed, "--out", curated, *FEW)
    assert again.returncode == 0
    assert "nothing to do" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in curated.rglob("*")} == before


def test_another_manifest_is_refused_by_its_first_difference(mixed: Path, curated: Path) -> None:
    other = curate(
        "run", "laion", "--input", mixed, "--out", curated, *FEW, "--set", "rules.text_too_short.min_chars=9"
    )
    assert other.returncode == 2
    assert "manifest.rules.text_too_short.min_chars is 5 there and 9 here" in other.stderr


def test_other_inputs_are_refused(mixed: Path, curated: Path, tmp_path: Path) -> None:
    changed = write_pairs(tmp_path / "mixed.parquet", [pair(1)])
    other = curate("run", "laion", "--input", changed, "--out", curated, *FEW)
    assert other.returncode == 2
    assert "inputs[0]" in other.stderr


def test_overwrite_removes_what_an_earlier_run_wrote_and_nothing_else(mixed: Path, tmp_path: Path) -> None:
    done("run", "laion", "--input", mixed, "--out", tmp_path, *FEW)
    (tmp_path / "notes.txt").write_text("mine")
    done("run", "laion", "--input", mixed, "--out", tmp_path, "--limit", 3, *FEW, "--overwrite")
    assert [path.name for path in tmp_path.glob("shard-*")] == ["shard-000000.parquet"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_limit_takes_the_first_rows(mixed: Path, tmp_path: Path) -> None:
    result = done("run", "laion", "--input", mixed, "--out", tmp_path / "out", "--limit", 3, *FEW)
    assert (result["rows_in"], result["rows_out"]) == (3, 1)


def test_a_sample_is_the_same_rows_every_time(mixed: Path, curated: Path, tmp_path: Path) -> None:
    ones = [
        done("run", "laion", "--input", mixed, "--out", tmp_path / name, "--sample", 0.5, *FEW)
        and files(tmp_path / name)
        for name in "ab"
    ]
    assert ones[0] == ones[1]
    taken = set(shards(tmp_path / "a")["key"].to_pylist())
    assert taken < set(shards(curated)["key"].to_pylist())


def test_a_dry_run_tells_the_first_rows_fate_and_writes_nothing(mixed: Path, tmp_path: Path) -> None:
    result = done("run", "laion", "--input", mixed, "--out", tmp_path / "out", *FEW, "--dry-run")
    assert (result["rows"], result["units"]) == (20, 5)
    assert result["first_rows"][2]["dropped"] == "image_too_small"
    assert list(tmp_path.iterdir()) == []


def test_a_unit_that_outgrows_max_bytes_goes_on_in_another_shard(tmp_path: Path) -> None:
    found = write_pairs(tmp_path / "in.parquet", [pair(n) for n in range(9)])
    size = len(picture(0))
    done(
        "run",
        "laion",
        "--input",
        found,
        "--out",
        tmp_path / "out",
        "--set",
        f"shard.max_bytes={4 * size}",
        "--workers",
        0,
    )
    names = sorted(path.name for path in (tmp_path / "out").glob("shard-*"))
    assert len(names) > 2
    assert names[:2] == ["shard-000000-1.parquet", "shard-000000-2.parquet"]
    assert done("verify", tmp_path / "out")["damaged"] == {}


def test_a_picture_under_more_texts_than_allowed_is_a_placeholder_wherever_it_came_from(
    tmp_path: Path,
) -> None:
    rows = [pair(n) for n in range(12)]
    for row in rows[3:9]:
        row["image"] = picture(99)
    found = write_pairs(tmp_path / "in.parquet", rows)
    settings = ("--set", "rules.placeholder_image.max_texts=5", *FEW)
    result = done("run", "laion", "--input", found, "--out", tmp_path / "out", *settings)
    assert result["dropped"] == {"placeholder_image": 6}
    assert (tmp_path / "out" / "shard-000001.parquet").exists() is False, "all four of its rows fell"


def test_the_longest_text_of_an_image_stays_whatever_addresses_and_files_it_came_from(tmp_path: Path) -> None:
    texts = [
        "a cat",
        "a cat on a mat",
        "a cat on the old mat",
        "a cat on a mat",
        "<PERSON> and a cat on the old mat",
    ]
    for number, text in enumerate(texts):
        row = {"caption": text, "image": picture(1)} | (
            {"url": f"http://a.example/{number}"} if number else {}
        )
        write_pairs(
            tmp_path / f"{number}.parquet",
            [row, {"caption": f"other {number}", "image": picture(9 + number)}],
        )
    done("run", "cc12m", "--input", tmp_path / "*.parquet", "--out", tmp_path / "out", *FEW)
    kept = shards(tmp_path / "out")["text"].to_pylist()
    assert kept == ["other 0", "other 1", "a cat on the old mat", "other 2", "other 3", "other 4"]
    assert dropped(tmp_path / "out") == {
        "0.parquet#0": "shorter_text_of_same_image",
        "1.parquet#0": "shorter_text_of_same_image",
        "3.parquet#0": "duplicate_pair",
        "4.parquet#0": "text_has_special_tag",
    }


def test_a_rule_can_be_switched_off(mixed: Path, tmp_path: Path) -> None:
    result = done(
        "run",
        "laion",
        "--input",
        mixed,
        "--out",
        tmp_path / "o",
        "--set",
        "rules.image_too_small=false",
        *FEW,
    )
    assert "image_too_small" not in result["dropped"]


def test_a_share_of_what_rules_dropped_is_written_and_every_failure(mixed: Path, tmp_path: Path) -> None:
    result = done(
        "run", "laion", "--input", mixed, "--out", tmp_path / "o", "--set", "drops.sample=0.0", *FEW
    )
    assert set(dropped(tmp_path / "o").values()) == {"damaged"}
    assert result["dropped"]["text_has_emoji"] == 1


def test_rows_that_cannot_be_read_cost_themselves_alone(tmp_path: Path) -> None:
    found = write_pairs(
        tmp_path / "in.parquet",
        [pair(n) for n in range(12)],
        row_group_size=4,
        compression="none",
        write_page_checksum=True,
    )
    data = bytearray(found.read_bytes())
    data[data.index(b"harbour, number 5")] ^= 1
    found.write_bytes(data)
    finished = curate("run", "laion", "--input", found, "--out", tmp_path / "out", *FEW)
    assert finished.returncode == 1
    assert "4 rows could not be read" in finished.stderr
    assert set(dropped(tmp_path / "out").values()) == {"unreadable"}
    assert shards(tmp_path / "out").num_rows == 8


def test_a_missing_score_column_is_judged_later_and_said(tmp_path: Path) -> None:
    rows = [{name: value for name, value in pair(n).items() if name != "similarity"} for n in range(3)]
    found = write_pairs(tmp_path / "in.parquet", rows)
    finished = curate("run", "laion", "--input", found, "--out", tmp_path / "out", *FEW)
    assert "rule clip_score_too_low is not judged" in finished.stderr
    assert shards(tmp_path / "out")["clip_score"].null_count == 3


def bad_inputs(folder: Path) -> dict[str, Path]:
    good = write_pairs(folder / "good.parquet", [pair(1)])
    truncated = folder / "truncated.parquet"
    truncated.write_bytes(good.read_bytes()[:-200])
    empty = folder / "empty.parquet"
    empty.write_bytes(b"")
    nothing = write_pairs(folder / "nothing.parquet", [pair(1)])
    pq.write_table(pq.read_table(nothing).slice(0, 0), nothing)
    columns = folder / "columns.parquet"
    pq.write_table(pa.table({"address": ["http://a.example/1.jpg"]}), columns)
    return {path.stem: path for path in (truncated, empty, nothing, columns)} | {
        "absent": folder / "absent.parquet"
    }


@pytest.mark.parametrize("name", ["truncated", "empty", "nothing", "columns", "absent"])
def test_an_input_that_cannot_be_read_is_one_line_and_nothing_written(tmp_path: Path, name: str) -> None:
    found = bad_inputs(tmp_path)[name]
    finished = curate("run", "laion", "--input", found, "--out", tmp_path / "out")
    assert finished.returncode == 2
    assert len(finished.stderr.strip().splitlines()) == 1, finished.stderr
    assert name in finished.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("laoin",), "did you mean 'laion'?"),
        (("laion", "--set", "fetch.retires=3"), "did you mean 'retries'?"),
        (("laion", "--set", "rules.image_too_smal.min_side=3"), "did you mean 'image_too_small'?"),
        (("laion", "--set", "rules.image_too_small.minside=3"), "it has: min_side"),
        (("laion", "--set", "shard.rows=none"), "shard.rows"),
        (("laion", "--set", "shard.rows=0"), "at least 1"),
        (("laion", "--limit", "0"), "--limit"),
        (("laion", "--sample", "1.5"), "--sample"),
        (("laion", "--set", 'cleaners.patterns.use=["url"]'), "no pattern 'url'"),
        (("cc12m", "--set", "rules.text_has_special_tag.tags=[]"), "tags must be non-empty"),
        (("laion", "--set", "rules.clip_score_too_low.min_score=nan"), "must be a number"),
        (("laion", "--set", "rules.text_has_emoji=true"), "a table of its settings, or false"),
        (("laion", "--set", 'columns.txt=["alt"]'), "did you mean 'text'?"),
        (("laion", "--set", "language=fr"), "it can be: auto, en, zh"),
        (("laion", "--set", "image.folder=absent"), "'absent' is not a folder"),
        (("laion", "--limit", "many"), "--limit"),
        (("laion", "--speed", "9"), "no such option"),
        ((), "missing argument"),
    ],
)
def test_a_wrong_command_says_the_way_out_and_writes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    finished = curate("run", *arguments, "--out", tmp_path / "out")
    assert finished.returncode == 2
    assert says.lower() in finished.stderr.lower()
    assert len([line for line in finished.stderr.splitlines() if "sample that ships" not in line]) == 1
    assert not (tmp_path / "out").exists()


def test_rows_without_anything_to_know_them_by_are_known_by_their_place(tmp_path: Path) -> None:
    lines = ['{"url": "http://a.example/1.jpg"', "nonsense", "[1]"]
    (tmp_path / "broken.jsonl").write_text("\n".join(['{"url": null, "caption": null}', *lines, ""]))
    curate("run", "laion", "--input", tmp_path / "broken.jsonl", "--out", tmp_path / "out", *FEW)
    table = pq.read_table(tmp_path / "out" / "_dropped")
    assert table["reason"].to_pylist() == ["text_missing", *["row_malformed"] * 3]
    assert len(set(table["key"].to_pylist())) == 4
    assert all(len(key) == 32 for key in table["key"].to_pylist())


def test_a_folder_that_cannot_be_made_is_one_line(mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "out", tmp_path / "file"):
        finished = curate("run", "laion", "--input", mixed, "--out", out, *FEW)
        assert finished.returncode == 2
        assert "file is no folder, or lies below a file" in finished.stderr.replace("file/out", "file")
        assert len(finished.stderr.strip().splitlines()) == 1


def test_shards_of_an_unknown_run_are_not_touched(mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "shard-000000.parquet").write_bytes(b"precious")
    finished = curate("run", "laion", "--input", mixed, "--out", tmp_path, *FEW)
    assert finished.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["shard-000000.parquet"]


def test_a_rule_is_judged_without_the_columns_that_an_input_may_lack(mixed: Path, tmp_path: Path) -> None:
    long = ("--set", "rules.text_too_long=false", "--set", "rules.target_too_long.max_chars=1000")
    done("run", "laion", "--input", mixed, "--out", tmp_path / "out", *FEW, *long)
    assert dropped(tmp_path / "out")["mixed.parquet#7"] == "target_too_long"
