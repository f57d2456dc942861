from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import CurateError
from curate.storage.listing import (
    DROPPED_FILES,
    FILES,
    SHARDS,
    files_table,
    listed_shards,
    read_files,
    write_files,
)
from curate.storage.shards import Shard, unit_of
from curate.storage.store import Store
from tests.curate.runs import done, files, pair, write_pairs


def run_over_pairs(folder: Path) -> dict:
    rows = [pair(n) for n in range(12)]
    rows[3]["TEXT"] = rows[7]["TEXT"] = "no"
    rows[9] |= {"TEXT": rows[0]["TEXT"], "image": rows[0]["image"]}
    pairs = write_pairs(folder / "pairs.parquet", rows)
    return done(
        "run", "laion", "--input", pairs, "--out", folder / "out", "--set", "shard.rows=3", "--workers", "0"
    )


def test_the_tables_list_every_file_with_its_rows_bytes_and_hash(tmp_path: Path) -> None:
    manifest = run_over_pairs(tmp_path)
    out = Store(str(tmp_path / "out"))
    listed: dict[str, str] = {}
    for name in (SHARDS, DROPPED_FILES):
        table = read_files(out, name)
        assert table is not None
        assert table.schema.equals(FILES)
        for row in table.to_pylist():
            path = tmp_path / "out" / row["path"]
            assert row["bytes"] == path.stat().st_size
            assert row["rows"] == pq.read_metadata(path).num_rows
            assert row["unit"] == unit_of(row["path"])
            listed[row["path"]] = row["sha256"]
    assert listed == files(tmp_path / "out")
    assert [one.path for one in listed_shards(out, manifest)] == [one["path"] for one in manifest["shards"]]


def test_a_folder_of_an_older_version_is_read_from_its_manifest(tmp_path: Path) -> None:
    manifest = run_over_pairs(tmp_path)
    out = Store(str(tmp_path / "out"))
    with_table = listed_shards(out, manifest)
    out.delete_folder("_manifest")
    assert listed_shards(out, manifest) == with_table
    assert hashlib.sha256((tmp_path / "out" / with_table[0].path).read_bytes()).hexdigest() == (
        with_table[0].sha256
    )


@pytest.mark.parametrize(
    "path",
    ["../other/shard-000000.parquet", "/etc/shard-000000.parquet", "a/../../b", "..", "s3://a/b", "a\\b"],
)
def test_a_table_that_lists_a_file_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    store = Store(str(tmp_path))
    write_files(store, SHARDS, files_table([Shard("shard-000000.parquet", 1, 1, ""), Shard(path, 1, 1, "")]))
    with pytest.raises(ValueError, match="no file of the folder"):
        read_files(store, SHARDS)


def test_no_command_takes_a_shard_from_another_folder(tmp_path: Path) -> None:
    manifest = run_over_pairs(tmp_path)
    out, path = tmp_path / "out", manifest["shards"][1]["path"]
    (tmp_path / "elsewhere").mkdir()
    (out / path).rename(tmp_path / "elsewhere" / path)
    table = read_files(Store(str(out)), SHARDS)
    listed = [
        Shard(
            f"../elsewhere/{path}" if one["path"] == path else one["path"],
            one["rows"],
            one["bytes"],
            one["sha256"],
        )
        for one in table.to_pylist()
    ]
    write_files(Store(str(out)), SHARDS, files_table(listed))
    assert SHARDS in curate.verify(out, workers=0).damaged
    with pytest.raises(CurateError, match="no file of the folder"):
        curate.pack(out, tmp_path / "packs", seq_len=1024)
