"""What differs between two runs."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import InputError
from curate.lineage import diff as comparing
from tests.curate.runs import curate as command
from tests.curate.runs import pair, picture, shards, write_pairs


def run(folder: Path, name: str, rows: list[dict[str, object]], **settings: object) -> Path:
    source = write_pairs(folder / f"{name}.parquet", rows)
    source.rename(folder / "rows.parquet")
    curate.run(
        "laion", folder / name, folder / "rows.parquet", settings={"shard.rows": 4, **settings}, workers=0,
        progress=False,
    )  # fmt: skip
    return folder / name


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: in the second one a picture is another one, a row fell to a new threshold, one is new."""
    folder = tmp_path_factory.mktemp("versions")
    rows = [pair(n) for n in range(12)]
    run(folder, "before", rows)
    rows[5]["image"] = picture(55)
    rows[6]["TEXT"] = "Old harbour"
    rows.append(pair(12))
    run(folder, "after", rows, **{"rules.text_too_short.min_chars": 12})
    return folder


def test_settings_counts_and_keys(versions: Path) -> None:
    found = curate.diff(versions / "before", versions / "after")
    assert found.settings == {"rules.text_too_short.min_chars": [5, 12]}
    assert found.counts["rows_in"] == [12, 13]
    assert found.counts["text_too_short"] == [0, 1]
    assert (found.added, found.removed, found.changed) == (1, 1, 1)
    before, after = (shards(versions / name).to_pylist() for name in ("before", "after"))
    assert found.examples == {
        "added": [after[-1]["key"]],
        "removed": [before[6]["key"]],
        "changed": [before[5]["key"]],
    }


def test_the_partitions_make_no_difference(versions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = curate.diff(versions / "before", versions / "after")
    monkeypatch.setattr(comparing, "PARTITION_ROWS", 2)
    in_parts = curate.diff(versions / "before", versions / "after")
    assert {k: sorted(v) for k, v in in_parts.examples.items()} == at_once.examples
    assert (in_parts.added, in_parts.removed, in_parts.changed) == (1, 1, 1)


def test_all_keys_can_be_had_as_a_table(versions: Path, tmp_path: Path) -> None:
    told = command("diff", versions / "before", versions / "after", "--keys", tmp_path / "keys.parquet")
    assert told.returncode == 0, told.stderr
    assert "rules.text_too_short.min_chars: 5 → 12" in told.stdout
    assert sorted(pq.read_table(tmp_path / "keys.parquet")["fate"].to_pylist()) == [
        "added",
        "changed",
        "removed",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["keys.parquet"]


def test_a_run_does_not_differ_from_itself_and_no_shard_is_opened(
    versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "_of_shard", lambda *_: pytest.fail("a shard was read"))
    found = curate.diff(versions / "before", versions / "before")
    assert (found.settings, found.added, found.removed, found.changed, found.same) == ({}, 0, 0, 0, 3)


def test_what_is_no_run_is_one_line(versions: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no complete run"):
        curate.diff(versions / "before", tmp_path)
