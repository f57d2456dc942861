from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.curate.crasher import Crasher, points
from tests.curate.runs import ROOT, curate, done, files, pair, picture, write_pairs, written

UNITS = ("--set", "shard.rows=4", "--workers", "0")
KILLS = int(os.environ.get("CURATE_KILLS", "1"))  # random kills for each number of workers


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen pairs: some fall to rules, one to a picture met before, one is damaged."""
    rows = [pair(n) for n in range(16)]
    rows[2]["TEXT"] = "no"
    rows[6]["image"] = picture(6)[:800]
    rows[13] |= {"TEXT": rows[3]["TEXT"], "image": rows[3]["image"]}
    return write_pairs(tmp_path_factory.mktemp("in") / "pairs.parquet", rows)


@pytest.fixture(scope="module")
def undisturbed(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed")
    done("run", "laion", "--input", pairs, "--out", out, *UNITS)
    return files(out)


def command(pairs: Path, out: Path) -> list[Any]:
    return ["run", "laion", "--input", pairs, "--out", out, *UNITS]


@pytest.fixture(scope="module")
def calls(
    crasher: Crasher, pairs: Path, undisturbed: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, int]:
    """How often an undisturbed run calls what commits pass through."""
    found = {}
    for call in ("fsync", "replace", "link"):
        out = tmp_path_factory.mktemp(call)
        _, found[call] = crasher.run(call, 0, "none", *command(pairs, out))
        assert files(out) == undisturbed
    return found


@pytest.mark.parametrize("call", ["fsync", "replace", "link"])
@pytest.mark.parametrize("accident", ["kill before", "kill after", "ENOSPC", "EIO"])
def test_whatever_happens_at_a_step_of_the_commit_the_same_command_ends_with_the_same_bytes(
    crasher: Crasher, pairs: Path, undisturbed: dict[str, str], calls: dict[str, int], tmp_path: Path,
    call: str, accident: str,
) -> None:  # fmt: skip
    for number in points(calls[call], 6):
        out = tmp_path / str(number)
        code, _ = crasher.run(call, number, accident, *command(pairs, out))
        assert code == -signal.SIGKILL if accident.startswith("kill") else code in (0, 1, 2), (number, code)
        published = files(out)
        assert published.items() <= undisturbed.items(), "nothing half done bears a final name"
        assert crasher.run(call, 0, "none", *command(pairs, out))[0] == 0
        assert files(out) == undisturbed


def test_killed_at_every_write_a_run_without_rules_across_its_units_loses_nothing(
    crasher: Crasher, pairs: Path, tmp_path: Path
) -> None:
    across = ("duplicate_pair", "placeholder_image")
    alone = [option for name in across for option in ("--set", f"rules.{name}=false")]
    alone += ["--set", "shard.rows=8"]  # two units
    _, calls = crasher.run("replace", 0, "none", *command(pairs, tmp_path / "whole"), *alone)
    for number in range(1, calls + 1):
        out = tmp_path / str(number)
        assert (
            crasher.run("replace", number, "kill after", *command(pairs, out), *alone)[0] == -signal.SIGKILL
        )
        assert crasher.run("replace", 0, "none", *command(pairs, out), *alone)[0] == 0
        assert files(out) == files(tmp_path / "whole")


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_killed_at_random_moments_a_run_resumes_to_the_same_bytes(
    pairs: Path, undisturbed: dict[str, str], tmp_path: Path, workers: int
) -> None:
    arguments = [*command(pairs, tmp_path), "--workers", workers]
    lottery = random.Random(workers)
    for _ in range(KILLS):
        begun = written(tmp_path)
        enough = begun + lottery.randint(1, len(undisturbed))
        killed = curate(*arguments, until=lambda: written(tmp_path) >= enough)  # noqa: B023
        assert begun or killed.returncode == -signal.SIGKILL
        assert files(tmp_path).items() <= undisturbed.items()
    assert curate(*arguments).returncode == 0
    assert files(tmp_path) == undisturbed


def test_ctrl_c_stops_and_the_same_command_goes_on(
    pairs: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "curate", *map(str, command(pairs, tmp_path))],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("_run/run.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    if process.returncode != 0:  # it may have been done already
        assert process.returncode == 130
        assert "the same command goes on" in said
        assert len(said.strip().splitlines()) == 1
    assert curate(*command(pairs, tmp_path)).returncode == 0
    assert files(tmp_path) == undisturbed


def test_a_second_run_on_a_folder_is_refused(pairs: Path, tmp_path: Path) -> None:
    from curate.storage.store import Store

    holder = Store(str(tmp_path))
    holder.lock()
    refused = curate(*command(pairs, tmp_path))
    holder.unlock()
    assert refused.returncode == 2
    assert "another run is writing" in refused.stderr


def test_a_torn_record_is_a_unit_that_is_not_done(
    crasher: Crasher, pairs: Path, undisturbed: dict[str, str], calls: dict[str, int], tmp_path: Path
) -> None:
    crasher.run("link", calls["link"], "kill before", *command(pairs, tmp_path / "out"))
    torn = tmp_path / "out" / "_run" / "done" / "01" / "000001.json"
    torn.write_bytes(torn.read_bytes()[:20])
    assert curate(*command(pairs, tmp_path / "out")).returncode == 0
    assert files(tmp_path / "out") == undisturbed


def test_verdicts_and_records_of_another_run_are_not_taken(
    crasher: Crasher, pairs: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    for out, more in ((mine, ()), (other, ("--set", "rules.text_too_short.min_chars=999"))):
        assert crasher.run("link", 1, "kill before", *command(pairs, out), *more)[0] == -signal.SIGKILL
    verdict = Path("_run/seen/verdict-000000.arrow")
    own = (mine / verdict).read_bytes()
    (mine / verdict).write_bytes((other / verdict).read_bytes())
    shutil.copytree(other / "_run/journal", mine / "_run/journal", dirs_exist_ok=True)
    for record in (mine / "_run/staged").rglob("*.json"):
        record.unlink()
    ended = curate(*command(pairs, mine))
    assert ended.returncode == 1
    assert (
        f"{mine}/_run/seen: verdict-000000.arrow is damaged or of another run; delete that folder"
        in ended.stderr
    )
    (mine / verdict).write_bytes(own)
    done(*command(pairs, mine))
    assert files(mine) == undisturbed
