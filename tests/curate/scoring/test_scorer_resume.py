from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.curate.runs import ROOT, curate, files
from tests.curate.scored import SCORER, run_shapes

pytest.importorskip("torch")

THRESHOLD = 0.5  # some rows of each shard fall
# Publications: the request; of two shards each the dropped rows, the shard, the record; two tables; the manifest.
LAST = 10


def test_a_scoring_killed_anywhere_and_resumed_writes_what_an_unharmed_one_does(tmp_path: Path) -> None:
    plain = run_shapes(tmp_path / "plain")
    command = [sys.executable, "-m", "tests.curate.scoring.scorer_crash"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def scored(folder: Path, number: int = 0, before: bool = False) -> int:
            job = {"folder": str(folder), "number": number, "before": before, "threshold": THRESHOLD}
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(job | {"model": SCORER.model}) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        unharmed = Path(shutil.copytree(plain, tmp_path / "unharmed"))
        assert scored(unharmed) == 0
        for number in range(1, LAST + 1):
            folder = Path(shutil.copytree(plain, tmp_path / f"killed-{number}"))
            assert scored(folder, number, before=number % 2 == 0) == -signal.SIGKILL
            if number == 5:
                assert scored(folder, 1) == -signal.SIGKILL  # and once more, early on
            assert scored(folder) == 0
            assert files(folder) == files(unharmed), number
            assert manifest(folder) == manifest(unharmed)
        assert scored(Path(shutil.copytree(plain, tmp_path / "whole")), LAST + 1) == 0  # there is no other
        process.stdin.close()  # type: ignore[union-attr]
    found = curate("verify", folder, "--json")
    assert json.loads(found.stdout)["damaged"] == {}


def manifest(folder: Path) -> dict[str, object]:
    """`_manifest.json` without what time it was."""
    read = json.loads((folder / "_manifest.json").read_text())
    read["scored"].pop("finished")
    for stage in read["stages"]:
        stage.pop("seconds")
    return dict(read)
