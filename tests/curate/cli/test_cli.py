"""What the command line says when it is used wrongly: one line, with the way out, and exit 2."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

from curate.cli.showing import export_lines, pack_lines
from curate.packing.recipe import recipe_names
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
