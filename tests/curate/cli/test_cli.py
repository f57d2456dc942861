"""What the command line says when it is used wrongly: one line, with the way out, and exit 2."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from PIL import Image

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
