from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.reporting import key_lookup, row_index
from curate.reporting.key_lookup import find_rows, read_rows, run_files
from curate.storage.listing import DROPPED_FILES, SHARDS, files_table, write_files
from curate.storage.shards import Shard, dropped_name, shard_name
from curate.storage.store import Store
from tests.curate.runs import curate

FILES, ROWS = 40, 25


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with the two columns that a look-up reads, and the tables that list them."""
    folder = tmp_path_factory.mktemp("many")
    store = Store(str(folder))
    (folder / "_dropped").mkdir()
    shards, dropped = [], []
    for unit in range(FILES):
        for kind, listed in ((shard_name(unit, 0), shards), (dropped_name(unit), dropped)):
            first = unit * ROWS + (10**6 if kind.startswith("_dropped") else 0)
            keys = [f"{number:032x}" for number in range(first, first + ROWS)]
            urls = [f"https://pictures.example/{number % 997}" for number in range(first, first + ROWS)]
            sources = [f"part-{unit}.parquet#{number}" for number in range(first, first + ROWS)]
            table = pa.table({"key": keys, "url": urls, "source": sources, "text": keys})
            pq.write_table(table, folder / kind, row_group_size=10, write_page_checksum=True)
            listed.append(Shard(kind, ROWS, (folder / kind).stat().st_size, f"{first:064x}"))
    write_files(store, SHARDS, files_table(shards))
    write_files(store, DROPPED_FILES, files_table(dropped))
    return folder


def found(folder: Path, name: str) -> list[tuple[str, list[int]]]:
    return list(find_rows(Store(str(folder)), {"shards": []}, name, 21))


NAMES = [
    f"{3 * ROWS + 12:032x}",
    f"{10**6 + 7:032x}",
    "https://pictures.example/5",
    f"{10**9:032x}",
    "no such",
    "part-3.parquet#80",
    "part-3.parquet",
]


def test_an_index_finds_what_reading_every_file_finds(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    read = {name: found(copy, name) for name in NAMES}
    assert read[NAMES[0]] == [("shard-000003.parquet", [12])]
    assert read[NAMES[1]] == [("_dropped/dropped-000000.parquet", [7])]
    assert [len(places) for _, places in read[NAMES[2]]] == [1, 1]
    assert read[NAMES[3]] == read[NAMES[4]] == []
    assert read[NAMES[5]] == [("shard-000003.parquet", [5])]
    assert read[NAMES[6]][0] == ("shard-000003.parquet", list(range(21)))
    assert not (copy / "_index").exists()
    monkeypatch.setattr(key_lookup, "INDEXED_FILES", 10)
    monkeypatch.setattr(row_index, "WAITING_ENTRIES", 500)
    assert {name: found(copy, name) for name in NAMES} == read
    assert len(list((copy / "_index/rows").iterdir())) == row_index.PARTITIONS + 1


def test_a_look_up_by_an_index_opens_only_the_files_that_it_names(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    monkeypatch.setattr(key_lookup, "INDEXED_FILES", 10)
    found(copy, NAMES[0])
    for path in [*copy.glob("shard-*.parquet"), *copy.glob("_dropped/*.parquet")]:
        if path.name != "shard-000003.parquet":
            path.unlink()
    assert found(copy, NAMES[0]) == [("shard-000003.parquet", [12])]


def test_a_damaged_or_outdated_index_is_made_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    monkeypatch.setattr(key_lookup, "INDEXED_FILES", 10)
    read = {name: found(copy, name) for name in NAMES}
    rng = np.random.default_rng(0)
    for path in [*(copy / "_index/rows").iterdir()]:
        if body := bytearray(path.read_bytes()):
            body[int(rng.integers(len(body)))] ^= 4
            path.write_bytes(body)
    assert {name: found(copy, name) for name in NAMES} == read
    store = Store(str(copy))
    names, digest = run_files(store, {"shards": []})
    assert row_index.look_up(store, names, digest, NAMES[0]) == ["shard-000003.parquet"]
    assert row_index.look_up(store, names[1:], "another", NAMES[0]) == ["shard-000003.parquet"]


def test_where_no_index_can_be_kept_every_file_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "_index").write_text("a file stands where the folder would")
    monkeypatch.setenv("XDG_CACHE_HOME", str(copy / "_index"))
    monkeypatch.setattr(key_lookup, "INDEXED_FILES", 10)
    assert found(copy, NAMES[0]) == [("shard-000003.parquet", [12])]


def test_rows_are_read_by_their_places_across_row_groups(folder: Path) -> None:
    store = Store(str(folder))
    read = list(read_rows(store, "shard-000001.parquet", [0, 9, 10, 24], ["key"]))
    assert [row["row"] for row in read] == [0, 9, 10, 24]
    assert [row["key"] for row in read] == [f"{ROWS + place:032x}" for place in (0, 9, 10, 24)]


def test_what_is_not_known_ends_in_exit_1_and_is_said(tmp_path: Path) -> None:
    assert curate("run", "text", "--out", tmp_path / "out", "--workers", 0).returncode == 0
    ended = curate("explain", tmp_path / "out", "https://nowhere.example/")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "unknown: no row of this run's input has that key, URL or source" in ended.stdout
