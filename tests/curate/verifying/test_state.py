"""Whatever file of a folder's own memory is damaged, every command says so in one line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.curate.runs import curate, pair, write_pairs

JUNK = {"invalid byte": b'{"rows_in": "\xff"}', "cut": b'{"rows_in":', "no object": b"[1]", "empty": b""}
JUNK["deep"] = b'{"x":' + b"[" * 100_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")
    source = write_pairs(folder / "rows.parquet", [pair(0), pair(1), pair(2, similarity=0.1)])
    assert curate("run", "laion", "--input", source, "--out", folder / "out", "--workers", 0).returncode == 0
    return folder


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole / "out", tmp_path / "out"))


def commands(whole: Path, out: Path) -> dict[str, list[Any]]:
    run = ["run", "laion", "--input", whole / "rows.parquet", "--out", out, "--workers", 0]
    return {
        "run": run,
        "retry": ["retry", out, "--reasons", "clip_score_too_low", "--out", out.parent / "again"],
        "report": ["report", out],
        "explain": ["explain", out, pair(0)["URL"]],
        "verify": ["verify", out],
        "pack": ["pack", out, "--out", out.parent / "packs"],
        "export": ["export", out, "--to", "mds", "--out", out.parent / "mds"],
        "score": ["score", out],
    }


@pytest.mark.parametrize(
    "command", ["run", "retry", "report", "explain", "verify", "pack", "export", "score"]
)
def test_a_damaged_manifest_is_named_in_one_line_by_every_command(
    whole: Path, out: Path, command: str
) -> None:
    (out / "_manifest.json").write_bytes(JUNK["invalid byte"])
    ended = curate(*commands(whole, out)[command])
    said = ended.stdout.splitlines()[0] if command == "verify" else ended.stderr
    assert ended.returncode == (1 if command == "verify" else 2)
    assert "_manifest.json is damaged" in said
    assert "delete it and run the same command again" in said
    assert said.count("\n") <= 1


@pytest.mark.parametrize("junk", JUNK)
def test_any_junk_in_a_manifest_is_damage(out: Path, junk: str) -> None:
    from curate.engine.retry import finished_manifest
    from curate.storage.dataset import find
    from curate.storage.finished import DamagedManifestError

    (out / "_manifest.json").write_bytes(JUNK[junk])
    for read in (finished_manifest, lambda folder: find([folder])):
        with pytest.raises(DamagedManifestError, match=r"_manifest\.json is damaged"):
            read(str(out))


@pytest.mark.parametrize("junk", JUNK)
def test_junk_in_the_note_of_a_run_is_named_with_the_way_out(whole: Path, out: Path, junk: str) -> None:
    (out / "_manifest.json").unlink()
    (out / "_run/run.json").write_bytes(JUNK[junk])
    ended = curate(*commands(whole, out)["run"])
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "_run/run.json is damaged" in ended.stderr
    assert "--overwrite begins the run anew" in ended.stderr


@pytest.mark.parametrize("name", ["shards", "dropped"])
def test_a_damaged_table_is_named_by_the_commands_that_read_it(whole: Path, out: Path, name: str) -> None:
    (out / f"_manifest/{name}.parquet").write_bytes(b"PAR1 no table")
    for command in ("report", "explain", *(("pack", "score") if name == "shards" else ())):
        ended = curate(*commands(whole, out)[command])
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
        assert f"_manifest/{name}.parquet is damaged" in ended.stderr


@pytest.mark.parametrize("command", ["report", "score", "pack", "export"])
def test_a_missing_shard_is_never_passed_over(whole: Path, out: Path, command: str) -> None:
    (out / "shard-000000.parquet").unlink()
    ended = curate(*commands(whole, out)[command])
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
    assert "shard-000000.parquet is missing, though the manifest lists it" in ended.stderr


@pytest.mark.parametrize("name", ["_manifest.json", "_manifest/shards.parquet", "_run/run.json"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_device_in_the_place_of_a_file_is_not_read(out: Path, name: str, kind: str) -> None:
    (out / name).unlink()
    if kind == "pipe":
        os.mkfifo(out / name)
    else:
        (out / name).symlink_to("/dev/zero")
    ended = curate("verify", out, timeout=60)
    assert ended.returncode == 1
    assert "Neither a file nor a folder" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_pipe_in_the_place_of_dropped_rows_is_not_read(out: Path, tmp_path: Path) -> None:
    (out / "_dropped" / "dropped-000000.parquet").unlink()
    os.mkfifo(out / "_dropped" / "dropped-000000.parquet")
    (tmp_path / "list.txt").write_text(f"{pair(0)['URL']}\n")
    ended = curate("remove", out, "--list", tmp_path / "list.txt", "--out", tmp_path / "without", timeout=60)
    assert ended.returncode in (1, 2)
    assert len(ended.stderr.splitlines()) == 1


def test_a_file_too_many_is_no_reason_to_run_anew(out: Path) -> None:
    shutil.copy(out / "shard-000000.parquet", out / "shard-000999.parquet")
    for more in ((), ("--repair",)):
        done = curate("verify", out, *more)
        assert done.returncode == 1
        assert "shard-000999.parquet: it is not in the manifest: delete it, or move it away" in done.stdout
        assert "all that is listed is as it should be; 1 file beside it" in done.stdout
        assert "--repair" not in done.stdout
        assert "--overwrite" not in done.stdout
