"""What the command line says when it is used wrongly: one line, with the way out, and exit 2."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from curate.cli.showing import export_lines, finish_export, finish_pack, pack_lines
from curate.errors import CurateError
from curate.packing.recipe import recipe_names
from tests.curate.made_shards import make_shards
from tests.curate.runs import curate


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["run", "laion"], "Missing option '--out'"),
        (["explain", "somewhere"], "Missing argument 'key_or_url'"),
        (["verify", "somewhere", "--bogus"], "No such option: --bogus"),
        (["bogus"], "No such command 'bogus'"),
        (["run", "laion", "--out", "x", "--workers", "many"], "Invalid value for '--workers'"),
        (["report", "nowhere"], "nowhere holds no complete run"),
        (["show", "laoin"], "did you mean 'laion'?"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(command: list[str], said: str, tmp_path: Path) -> None:
    finished = curate(*command, cwd=tmp_path)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith("curate: ")
    assert finished.stderr.count("\n") == 1
    assert said in finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_command_at_all_shows_the_help() -> None:
    finished = curate()
    assert finished.returncode == 2
    assert "Turn raw public data into training shards" in finished.stderr
    assert curate("--help").returncode == 0
    assert curate("--version").stdout.count(".") == 2


def test_an_unfinished_run_is_told_from_none(tmp_path: Path) -> None:
    (tmp_path / "_run").mkdir()
    (tmp_path / "_run/run.json").write_text("{}")
    for command in ("report", "verify"):
        assert "the same command goes on" in curate(command, tmp_path).stderr


def test_what_a_run_would_do_is_told_in_lines_that_a_person_reads(tmp_path: Path) -> None:
    finished = curate("run", "laion", "--out", tmp_path / "out", "--dry-run")
    assert finished.returncode == 0
    assert finished.stdout.startswith("laion: 97 rows of 1 input in 1 unit; nothing is written\n")
    assert "  clip_score_too_low             -5\n" in finished.stdout
    assert max(map(len, finished.stdout.splitlines())) <= 90
    assert not (tmp_path / "out").exists()


def test_synthetic_pages_say_that_no_photographs_lie_behind_them(tmp_path: Path) -> None:
    if importlib.util.find_spec("synthtiger") is None:
        pytest.skip("needs synthtiger")
    said = curate("run", "synthdog-en", "--dry-run", "--out", "x", "--limit", "1", cwd=tmp_path).stderr
    assert "render.background.image.paths" in said.splitlines()[0]
    picture = tmp_path / "photograph.jpg"
    Image.new("RGB", (64, 64), "navy").save(picture)
    chosen = f'render.background.image.paths=["{tmp_path}"]'
    command = ("run", "synthdog-en", "--dry-run", "--out", "x", "--limit", "1", "--set", chosen)
    assert "procedural" not in curate(*command, cwd=tmp_path).stderr
    assert "render.background.image.paths" in curate("doctor").stdout


def test_what_a_person_is_told_goes_to_standard_error_beside_json_too(tmp_path: Path) -> None:
    finished = curate("run", "text", "--out", tmp_path / "texts", "--workers", "0", "--json")
    assert "text runs on the small sample that ships with curate" in finished.stderr
    assert json.loads(finished.stdout)["rows_out"] == 3
    found = curate("calibrate", "laion", "--json")
    assert "laion runs on the small sample" in found.stderr
    (tmp_path / "file").touch()
    refused = curate("run", "text", "--out", tmp_path / "file", "--workers", "0")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1), refused.stderr
    assert json.loads(found.stdout)["sample"]["whole"]


def test_recipes_are_listed_apart_from_manifests() -> None:
    manifests, recipes = curate("list"), curate("list", "--recipes")
    assert "curate list --recipes" in manifests.stderr
    assert {line.split()[0] for line in recipes.stdout.splitlines()} == set(recipe_names())
    assert [one["name"] for one in json.loads(curate("list", "--recipes", "--json").stdout)] == recipe_names()


def test_one_is_told_in_the_singular() -> None:
    packed = {"tasks": {"vqa": {"samples": 1, "sequences": 1, "padding": 0.5}}, "dropped": {}}
    counts = {"rows_out": 1, "rows_in": 1, "dropped": {}}
    lines = [*pack_lines(packed | counts | {"shards": [{}]}, "packs"), *export_lines(counts, "mds", "out")]
    assert lines == [
        "vqa: 1 sample in 1 sequence, 50.0% padding",
        "1 of 1 sample in 1 pack in packs",
        "1 of 1 row as mds in out",
    ]


def packed_of(rows_out: int, too_long: int, by_seq_len: dict[str, int], longest: int) -> dict[str, Any]:
    return {
        "tasks": {},
        "rows_in": rows_out + too_long,
        "rows_out": rows_out,
        "dropped": {"sample_too_long": too_long},
        "too_long": {"longest": longest, "by_seq_len": by_seq_len},
        "settings": {"seq_len": 2048, "truncate": False},
        "shards": [],
    }


@pytest.mark.parametrize(
    ("packed", "hint"),
    [
        (packed_of(98, 2, {"4096": 2}, 2300), "--seq-len 2300 takes them all"),
        (packed_of(0, 10, {"4096": 6, "8192": 4}, 7911), "--seq-len 4096 takes 6 of them, 7911 all"),
        (packed_of(5, 10, {"4096": 1, "8192": 3, "16384": 6}, 9000), "--seq-len 9000 takes them all"),
        (packed_of(999, 1, {"4096": 1}, 2300), None),
    ],
)
def test_where_many_samples_are_too_long_the_length_that_takes_them_is_told(
    packed: dict[str, Any], hint: str | None
) -> None:
    lines = "\n".join(pack_lines(packed, "packs"))
    if not packed["rows_out"]:
        with pytest.raises(CurateError) as refused:
            finish_pack(packed)
        assert refused.value.exit_code == 1
        lines = str(refused.value)
        assert lines.startswith(
            "nothing was packed of 10 samples (sample_too_long 10); 10 of 10 samples longer "
        )
    else:
        finish_pack(packed)
    assert (hint in lines) if hint else "--seq-len" not in lines


def test_a_packing_that_packs_nothing_ends_with_exit_1_and_what_would_help(tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards", rows=6, shards=1)
    asked = (
        "pack",
        shards,
        "--seq-len",
        40,
        "--out",
        tmp_path / "packs",
        "--workers",
        0,
        "--long-texts",
        "drop",
    )
    for _ in range(2):  # the same command again says the same
        finished = curate(*asked)
        assert finished.returncode == 1
        (line,) = finished.stderr.splitlines()
        assert line.startswith("curate: nothing was packed of 6 samples (sample_too_long ")
        assert "6 of 6 samples longer than 40 tokens: --seq-len 351 takes them all" in line


def test_an_export_of_nothing_ends_with_exit_1_and_the_reasons() -> None:
    made = {"rows_in": 2, "rows_out": 0, "dropped": {"too_many_images": 2}}
    with pytest.raises(CurateError, match=r"nothing was exported of 2 rows \(too_many_images 2\)") as refused:
        finish_export(made)
    assert refused.value.exit_code == 1
    finish_export(made | {"rows_out": 1})
