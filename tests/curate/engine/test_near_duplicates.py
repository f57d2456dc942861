"""Near duplicates within a run: judged by any number of processes, to what one process says."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
import filters.near_duplicate
import filters.near_duplicate_parts
from curate.engine import near_features, run_steps
from curate.engine.across import Across
from curate.engine.near_duplicates import PLAN, NearDuplicates, codes_name, read_plan
from curate.engine.near_features import spill_features
from curate.engine.output import Staging
from curate.engine.record import UnitRecord
from curate.errors import DamagedStateError, MachineError, Stopped, UnitError
from curate.manifest import load as manifests
from curate.scorer.near_duplicate_rows import find_near_duplicates
from curate.storage.shards import Shard
from curate.storage.store import Store
from tests.curate.runs import files
from tests.curate.scored import MODEL
from tests.filters.test_near_duplicate import clustered

ALIKE = 0.9
UNITS, SLICE_UNITS = 6, 2
PHASE = Across("near", {"near_duplicate": {"max_similarity": ALIKE}}, 1, UNITS // SLICE_UNITS)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few rows that they would all be compared by one process go through the index, in several blocks."""
    pytest.importorskip("faiss")
    monkeypatch.setattr(filters.near_duplicate, "EXACT_ROWS", 0)
    monkeypatch.setattr(near_features, "BLOCK_ROWS", (1024, 1024))
    monkeypatch.setattr(run_steps, "MIN_SEARCHERS", 0)


def staged(folder: Path, rows: int) -> tuple[Staging, list[UnitRecord], dict[int, dict[int, str]]]:
    """Units with features of their own; the last but one has none left, of others some rows are null or have fallen."""
    staging, records = Staging(manifests.load("laion"), Store(str(folder))), []
    features = np.array_split(clustered(rows), UNITS)
    for unit, mine in enumerate(features):
        values = [None if row % 97 == 5 else one for row, one in enumerate(mine)]
        keys = [f"{unit:016x}{row:016x}" for row in range(len(mine))]
        table = pa.table({"key": keys, "clip_features": pa.array(values, pa.list_(pa.float16()))})
        cut, shards = len(mine) // 3, []
        for part, some in enumerate((table.slice(0, cut), table.slice(cut))):
            path = f"shard-{unit:06d}{'-1' * part}.parquet"
            Path(folder, staging.place(path)).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(some, Path(folder, staging.place(path)))
            shards.append(Shard(path, some.num_rows, 0, ""))
        records.append(
            UnitRecord(unit=unit, inputs_in=rows, rows_in=rows, rows_out=rows, shards=tuple(shards))
        )
    every = dict.fromkeys(range(len(features[-2])), "duplicate_pair")
    fallen = {
        unit: {3: "duplicate_pair", len(mine) - 1: "duplicate_pair"} for unit, mine in enumerate(features)
    }
    return staging, records, fallen | {UNITS - 2: every}


def judge(
    staging: Staging, records: list[UnitRecord], fallen: dict[int, dict[int, str]], workers: int
) -> list[dict[str, object]]:
    """Judge by so many workers, who do jobs in a random order, and none of whom outlives a step; all verdicts."""
    lottery, store = random.Random(workers), staging.store

    def each(count: int) -> list[tuple[NearDuplicates, int]]:
        hands = [NearDuplicates(store, PHASE) for _ in range(workers)]
        return [(lottery.choice(hands), number) for number in lottery.sample(range(count), count)]

    for _, number in each(PHASE.slices):
        units = range(number * SLICE_UNITS, (number + 1) * SLICE_UNITS)
        spill_features(staging, PHASE.spill_name(number), number, [(records[n], fallen[n]) for n in units])
    each(1)[0][0].plan()
    plan = read_plan(store)
    assert plan is not None
    blocks = plan.blocks if plan.indexed and workers > 1 else 0
    for worker, block in each(blocks):
        worker.encode(block)
    for worker, block in each(blocks):
        worker.search(block)
    each(1)[0][0].settle()
    return [row for number in range(PHASE.slices) for row in PHASE.verdicts(store, number).to_pylist()]


def alone(
    staging: Staging, records: list[UnitRecord], fallen: dict[int, dict[int, str]]
) -> list[dict[str, object]]:
    """What one process finds in all shards."""
    rows, gone, places = {}, {}, {}
    for record in records:
        first = 0
        for shard in record.shards:
            name = staging.place(shard.path)
            rows[name], places[name] = shard.rows, (record.unit, first)
            gone[name] = [row - first for row in fallen[record.unit] if first <= row < first + shard.rows]
            first += shard.rows
    tables = find_near_duplicates(staging.store, rows, gone, ALIKE)
    found = [row for table in tables for row in table.to_pylist()]
    return [
        {
            "unit": places[row["path"]][0],
            "row": places[row["path"]][1] + row["row"],
            "reason": "near_duplicate",
        }
        | {"detail": row["detail"]}
        for row in found
    ]


@pytest.mark.parametrize("proposed", [64, 33])
def test_any_number_of_workers_says_what_one_says(
    small_blocks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proposed: int
) -> None:
    monkeypatch.setattr(filters.near_duplicate_parts, "PROPOSED_OF_ALL", proposed)
    work = staged(tmp_path, 3000)
    said = alone(*work)
    assert len(said) > 200
    for workers in (1, 2, 5):
        assert judge(*work, workers) == said


def test_rows_whose_proposals_fell_are_searched_for_again(small_blocks: None, tmp_path: Path) -> None:
    staging, records, fallen = staged(tmp_path, 3000)
    rng = np.random.default_rng(0)
    for record in records:  # copies of two rows, each a little different: more than are proposed fall
        for shard in record.shards:
            path = tmp_path / staging.place(shard.path)
            table = pq.read_table(path)
            made = np.eye(2, 64)[rng.integers(2, size=len(table))] + rng.normal(size=(len(table), 64)) * 0.01
            column = pa.array(list(made.astype(np.float16)), pa.list_(pa.float16()))
            pq.write_table(table.set_column(1, "clip_features", column), path)
    said = alone(staging, records, fallen)
    assert len(said) > 2400
    assert judge(staging, records, fallen, 2) == said


def test_few_rows_are_compared_in_one_piece_to_the_same(tmp_path: Path) -> None:
    work = staged(tmp_path, 2500)
    assert judge(*work, 2) == alone(*work)
    assert not Path(tmp_path, codes_name(0)).exists()


def test_no_features_at_all_are_no_duplicates(small_blocks: None, tmp_path: Path) -> None:
    staging, records, fallen = staged(tmp_path, 600)
    gone = {unit: dict.fromkeys(range(100), "duplicate_pair") for unit in fallen}
    assert judge(staging, records, gone, 2) == []


def test_a_shard_with_other_rows_than_its_record_says_is_refused(tmp_path: Path) -> None:
    staging, records, fallen = staged(tmp_path, 600)
    shard = records[0].shards[0]
    pq.write_table(
        pq.read_table(tmp_path / staging.place(shard.path)).slice(1), tmp_path / staging.place(shard.path)
    )
    with pytest.raises(UnitError, match="holds 32 rows instead of 33: see curate verify"):
        spill_features(staging, PHASE.spill_name(0), 0, [(records[0], fallen[0])])


def test_a_run_stopped_in_any_step_of_the_search_goes_on_to_the_same_bytes(
    small_blocks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from tests.curate.engine.test_scorer_run import pairs

    source = pairs(tmp_path)
    settings = {"shard.rows": 10, "scorer.model": MODEL, "scorer.device": "cpu"}
    settings |= {"rules.near_duplicate.max_similarity": ALIKE}

    def run(out: Path) -> curate.RunResult:
        result = curate.run("laion", out, source, settings=settings, workers=0, progress=False)
        assert isinstance(result, curate.RunResult)
        return result

    assert run(tmp_path / "whole").dropped["near_duplicate"] > 5
    for step in ("plan", "encode", "search", "settle"):
        with monkeypatch.context() as patched:
            patched.setattr(NearDuplicates, step, stopped)
            with pytest.raises(Stopped):
                run(tmp_path / "stopped")
        assert (tmp_path / "stopped" / PLAN).exists() == (step != "plan")
    run(tmp_path / "stopped")
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


def stopped(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("version", ["1.13.2", None])
def test_a_missing_or_old_faiss_is_said(
    small_blocks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    import faiss

    if version is None:
        monkeypatch.setitem(sys.modules, "faiss", None)
    else:
        monkeypatch.setattr(faiss, "__version__", version)
    with pytest.raises(
        MachineError, match=r"comparing \d+ rows needs faiss 1.14 or later: pip install 'curate"
    ):
        judge(*staged(tmp_path, 600), 1)


@pytest.mark.parametrize("kind", ["flip", "cut", "empty", "other's"])
@pytest.mark.parametrize("stem", ["features", "codes", "clusters", "plan", "spill", "partition"])
def test_a_damaged_file_of_the_search_is_named(
    small_blocks: None, tmp_path: Path, stem: str, kind: str
) -> None:
    staging, records, fallen = staged(tmp_path, 2100)
    judge(staging, records, fallen, 2)
    path = min((tmp_path / "_run/near").glob(f"{stem}*"))
    other = next(one for one in path.parent.iterdir() if not one.name.startswith(stem))
    data = path.read_bytes()
    flipped = bytes([*data[:-9], data[-9] ^ 4, *data[-8:]])
    path.write_bytes({"flip": flipped, "cut": data[:-8], "empty": b"", "other's": other.read_bytes()}[kind])
    worker = NearDuplicates(staging.store, PHASE)
    reads = {"features": lambda: worker.encode(0), "spill": worker.plan, "partition": worker.settle}
    with pytest.raises(
        DamagedStateError,
        match=rf"_run/near: {stem}[-0-9]*\.\w+ is damaged or of another run; delete that folder",
    ):
        reads.get(stem, lambda: worker.search(0))()


def test_features_of_another_run_are_refused(small_blocks: None, tmp_path: Path) -> None:
    staging, records, fallen = staged(tmp_path, 2100)
    staging.store.run = "a"
    judge(staging, records, fallen, 1)
    path, mine = tmp_path / "_run/near/features-000001.bin", Store(str(tmp_path))
    data, mine.run = path.read_bytes(), "a"
    staging.store.run = "b"
    units = range(SLICE_UNITS, 2 * SLICE_UNITS)
    spill_features(staging, PHASE.spill_name(1), 1, [(records[n], fallen[n]) for n in units])
    plan = read_plan(mine)
    assert plan is not None
    assert len(path.read_bytes()) == len(data)
    stored = near_features.StoredFeatures(mine, plan)
    with pytest.raises(DamagedStateError, match=r"features-000001\.bin is damaged or of another run"):
        stored.take(np.arange(plan.rows))


def test_a_flipped_bit_in_features_that_are_taken_one_by_one_is_found(
    small_blocks: None, tmp_path: Path
) -> None:
    staging, records, fallen = staged(tmp_path, 2100)
    judge(staging, records, fallen, 1)
    plan = read_plan(staging.store)
    assert plan is not None
    path = tmp_path / "_run/near/features-000001.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    stored = near_features.StoredFeatures(staging.store, plan)
    assert len(stored.take(np.arange(3))) == 3
    with pytest.raises(DamagedStateError, match=r"features-000001\.bin is damaged"):
        stored.take(np.arange(plan.rows))
