"""Exports as jobs: the same bytes whoever writes them, and wherever they were killed."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import OutputError
from curate.exporting import FORMATS, TRAINING, export, exporter
from curate.manifest.settings import ShardSettings
from curate.storage.shards import write_tables
from curate.storage.store import Store
from tests.curate.crasher import Crasher
from tests.curate.made_shards import make_shards

SHARDS = 4


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards, the last of which shows an image of the first."""
    folder = tmp_path_factory.mktemp("shards")
    make_shards(folder, rows=20, shards=SHARDS)
    first, last = (folder / f"shard-{number:06d}.parquet" for number in (0, SHARDS - 1))
    shown = next(row["image"]["bytes"] for row in pq.read_table(first).to_pylist() if row["image"])
    table = pq.read_table(last)
    rows = table.to_pylist()
    next(row for row in rows if row["image"])["image"]["bytes"] = shown
    changed = pa.Table.from_pylist(rows, schema=table.schema)
    write_tables(Store(str(folder)), last.name, [changed], table.schema, ShardSettings())
    (folder / "_manifest.json").write_text('{"shards": []}')
    return folder


def hashes(out: Path) -> dict[str, str]:
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "index.sqlite")
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.usefixtures("one_ray")
@pytest.mark.parametrize("to", ["energon", "mds", "qwen-vl", "ms-swift"])
def test_the_export_does_not_depend_on_the_number_of_workers(to: str, shards: Path, tmp_path: Path) -> None:
    export(str(shards), to, str(tmp_path / "one"), workers=0)
    export(str(shards), to, str(tmp_path / "two"), workers=2)
    assert hashes(tmp_path / "two") == hashes(tmp_path / "one")


@pytest.mark.parametrize("to", ["qwen-vl", "llava"])
def test_an_image_that_two_shards_show_is_one_file_under_the_first_ones_path(
    to: str, shards: Path, tmp_path: Path
) -> None:
    export(str(shards), to, str(tmp_path / "out"), workers=0)
    images = [path.read_bytes() for path in (tmp_path / "out" / "images").rglob("*") if path.is_file()]
    assert len(set(images)) == len(images)
    listed = (tmp_path / "out" / "conversations.json").read_text()
    shown = [
        row for row in pq.read_table(shards / f"shard-{SHARDS - 1:06d}.parquet").to_pylist() if row["image"]
    ]
    first = next(row for row in pq.read_table(shards / "shard-000000.parquet").to_pylist() if row["image"])
    assert shown[0]["image"]["path"] not in listed
    assert listed.count(first["image"]["path"]) == 2


@pytest.mark.parametrize("to", ["webdataset", "qwen3-vl"])
def test_a_killed_export_goes_on_to_the_same_bytes(
    to: str, shards: Path, tmp_path: Path, crasher: Crasher
) -> None:
    asked = ("export", shards, "--to", to, "--out", tmp_path / "killed", "--workers", "0")
    code, _ = crasher.run("fsync", 9, "kill after", *asked)
    assert code < 0
    assert not (tmp_path / "killed" / "_manifest.json").exists()
    assert crasher.run("fsync", 0, "none", *asked)[0] == 0
    export(str(shards), to, str(tmp_path / "whole"), workers=0)
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")


def test_what_was_written_before_a_failure_is_not_written_again(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = exporter.Exporter.write

    def broken(self: exporter.Exporter, number: int) -> object:
        if number == 2:
            raise OSError("the line went dead")
        return written(self, number)

    monkeypatch.setattr(exporter.Exporter, "write", broken)
    with pytest.raises(Exception, match="the line went dead"):
        export(str(shards), "webdataset", str(tmp_path / "out"), workers=0)
    monkeypatch.undo()
    first = (tmp_path / "out" / "shard-000000.tar").stat().st_mtime_ns
    export(str(shards), "webdataset", str(tmp_path / "out"), workers=0)
    assert (tmp_path / "out" / "shard-000000.tar").stat().st_mtime_ns == first
    assert not (tmp_path / "out" / "_run").exists()
    export(str(shards), "webdataset", str(tmp_path / "whole"), workers=0)
    assert hashes(tmp_path / "out") == hashes(tmp_path / "whole")


def test_an_unfinished_export_of_something_else_is_left_alone(shards: Path, tmp_path: Path) -> None:
    export(str(shards), "mds", str(tmp_path / "out"), workers=0)
    (tmp_path / "out" / "_manifest.json").unlink()
    (tmp_path / "out" / "_run" / "export").mkdir(parents=True)
    (tmp_path / "out" / "_run" / "export" / "plan").write_text("of another one")
    with pytest.raises(OutputError, match="holds another export, which is unfinished"):
        export(str(shards), "webdataset", str(tmp_path / "out"), workers=0)


def test_mds_has_a_file_a_shard(shards: Path, tmp_path: Path) -> None:
    export(str(shards), "mds", str(tmp_path / "out"), workers=0)
    index = json.loads((tmp_path / "out" / "index.json").read_text())["shards"]
    assert [one["raw_data"]["basename"] for one in index] == [f"shard.{n:05d}.mds" for n in range(SHARDS)]
    rows = [pq.ParquetFile(path).metadata.num_rows for path in sorted(shards.glob("shard-*.parquet"))]
    assert [one["samples"] for one in index] == rows


@pytest.mark.parametrize("to", sorted({*FORMATS, *TRAINING}))
def test_a_data_set_without_rows_gives_an_export_without_samples(
    to: str, shards: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    shutil.copytree(shards, folder)
    for path in folder.glob("shard-*.parquet"):
        table = pq.read_table(path).slice(0, 0)
        write_tables(Store(str(folder)), path.name, [table], table.schema, ShardSettings())
    made = export(str(folder), to, str(tmp_path / "out"), workers=0)
    assert (made["rows_in"], made["rows_out"]) == (0, 0)
    for path in (tmp_path / "out").glob("conversations.json"):
        assert json.loads(path.read_text()) == []


def test_what_an_export_killed_in_its_last_moment_left_goes_with_the_next_call(
    shards: Path, tmp_path: Path
) -> None:
    done = export(str(shards), "llava", str(tmp_path), workers=0)
    before = hashes(tmp_path)
    (tmp_path / "_run/export").mkdir(parents=True)
    (tmp_path / "_run/export/left").write_text("x")
    assert export(str(shards), "llava", str(tmp_path), workers=0) == done
    assert hashes(tmp_path) == before
