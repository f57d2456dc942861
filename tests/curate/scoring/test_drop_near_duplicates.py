from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import filters.near_duplicate
from curate.errors import MachineError, UnitError
from curate.scorer.near_duplicate_rows import find_near_duplicates
from curate.scoring import score
from curate.storage.store import Store
from tests.curate.runs import ROOT, files
from tests.curate.scored import SCORER, asked, run_shapes

pytest.importorskip("torch")
pytest.importorskip("faiss")

ALIKE = 0.7
UNIT = 8


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scored shards of eight rows."""
    folder = run_shapes(tmp_path_factory.mktemp("whole") / "run", rows=3 * UNIT, unit=UNIT)
    score(str(folder), asked())
    return folder


def found(folder: Path, rows: dict[str, int], gone: dict[str, list[int]]) -> list[dict[str, object]]:
    tables = find_near_duplicates(Store(str(folder)), rows, gone, ALIKE)
    return [row for table in tables for row in table.to_pylist()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("shard-*"))


def test_rows_that_are_gone_or_have_no_feature_are_like_nobody(whole: Path, tmp_path: Path) -> None:
    one, two = names(whole)[:2]
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    table = pq.read_table(folder / one)
    pq.write_table(table, folder / two)
    rows = {one: UNIT, two: UNIT}
    fell = found(folder, rows, {})
    again = [row for row in fell if row["path"] == two]
    assert [row["row"] for row in again] == [*range(UNIT)]  # each is like the one it is a copy of
    stays = {*range(UNIT)} - {row["row"] for row in fell if row["path"] == one}
    keys = table["key"].to_pylist()
    for row in stays:
        assert again[row]["detail"] == f"similarity=1.0000 to {keys[row]}"
    assert found(folder, rows, {one: [*range(UNIT)], two: [*range(UNIT)]}) == []
    features = pa.array([None, *table["clip_features"].to_pylist()[1:]], table["clip_features"].type)
    pq.write_table(
        table.set_column(table.schema.get_field_index("clip_features"), "clip_features", features),
        folder / two,
    )
    without = found(folder, rows, {one: [1]})
    assert {(row["path"], row["row"]) for row in without}.isdisjoint({(two, 0), (one, 1)})
    assert len([row for row in without if row["path"] == two]) >= UNIT - 2


def test_a_shard_with_other_rows_than_it_is_said_to_have_is_refused(whole: Path) -> None:
    one = names(whole)[0]
    with pytest.raises(UnitError, match=f"{one} holds {UNIT} rows instead of 5: see curate verify"):
        found(whole, {one: 5}, {})


def test_a_full_disk_and_a_missing_library_are_said_and_nothing_is_dropped(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    before = files(folder)
    monkeypatch.setattr(filters.near_duplicate, "EXACT_ROWS", 0)
    with monkeypatch.context() as without:
        without.setattr(os, "posix_fallocate", full)
        with pytest.raises(MachineError, match=r"no 0\.0 GB for features in .*No space left.*set TMPDIR"):
            score(str(folder), asked(max_similarity=ALIKE))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "faiss", None)
        with pytest.raises(MachineError, match="comparing 24 rows needs faiss: pip install"):
            score(str(folder), asked(max_similarity=ALIKE))
    assert files(folder) == before
    assert score(str(folder), asked(max_similarity=ALIKE))["dropped"]["near_duplicate"] > 0


def test_dropping_killed_anywhere_and_resumed_leaves_what_an_unharmed_one_does(
    whole: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.curate.scoring.scorer_crash"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def dropped(folder: Path, number: int = 0) -> int:
            job = {"folder": str(folder), "number": number, "before": False, "model": SCORER.model}
            print(json.dumps(job | {"max_similarity": ALIKE}), file=process.stdin, flush=True)
            assert process.stdout is not None
            return int(process.stdout.readline())

        unharmed = Path(shutil.copytree(whole, tmp_path / "unharmed"))
        assert dropped(unharmed) == 0
        assert files(unharmed) != files(whole)
        for number in range(1, 20):
            folder = Path(shutil.copytree(whole, tmp_path / f"killed-{number}"))
            died = dropped(folder, number)
            if died == 0:
                break
            assert died == -signal.SIGKILL
            assert dropped(folder) == 0
            assert files(folder) == files(unharmed), number
        assert 8 < number < 19  # two shards lose rows
        process.stdin.close()
