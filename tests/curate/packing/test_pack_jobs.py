"""Packing as jobs: the same bytes however it is cut, whoever does it, and wherever it was killed."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curate.errors import DamagedError
from curate.packing import PackSettings, pack, packer, spill
from curate.packing.sequence_layout import AMOUNTS, label_bytes, table_bytes
from curate.storage.image_index import KEY
from tests.curate.crasher import Crasher
from tests.curate.made_shards import make_shards

SMALL = {"bucket_bytes": 2**18, "row_group_bytes": 2**16, "file_bytes": 2**17, "seq_len": 600}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards, and packs of them."""
    folder = tmp_path_factory.mktemp("made")
    make_shards(folder / "shards", rows=100, shards=6)
    pack([str(folder / "shards")], str(folder / "packs"), PackSettings(**SMALL))
    return folder


def hashes(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.rglob("*.parquet")}


def images(out: Path) -> dict[str, bytes]:
    packs = pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("pack-*.parquet"))])
    found = pc.list_flatten(packs["images"]).to_pylist()
    return {image["path"]: image["bytes"] for image in found}


def test_slices_are_runs_of_neighbouring_files() -> None:
    found = packer.slices(np.array([3000, 3000, 0, 9000, 10, 10]))
    assert [number for one in found for number in one] == list(range(6))
    assert found == [range(2), range(2, 4), range(4, 6)]


def test_the_packs_do_not_depend_on_how_the_shards_are_sliced_and_spilled(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packer, "SLICE_ROWS", (100, 100))
    monkeypatch.setattr(spill.SpillWriter.__init__, "__defaults__", (2**14,))
    pack([str(made / "shards")], str(tmp_path), PackSettings(**SMALL))
    assert hashes(tmp_path) == hashes(made / "packs")


@pytest.mark.usefixtures("one_ray")
def test_the_packs_do_not_depend_on_the_number_of_workers(made: Path, tmp_path: Path) -> None:
    pack([str(made / "shards")], str(tmp_path), PackSettings(**SMALL), workers=2)
    assert hashes(tmp_path) == hashes(made / "packs")


@pytest.mark.parametrize(("number", "accident"), [(3, "kill after"), (9, "kill before")])
def test_a_killed_packing_goes_on_to_the_same_bytes(
    made: Path, tmp_path: Path, crasher: Crasher, number: int, accident: str
) -> None:
    asked = ("pack", made / "shards", "--out", tmp_path / "killed", "--workers", "0", "--seq-len", "600")
    code, _ = crasher.run("fsync", number, accident, *asked)
    assert code < 0
    assert not (tmp_path / "killed" / "_manifest.json").exists()
    assert crasher.run("fsync", 0, "none", *asked)[0] == 0
    pack([str(made / "shards")], str(tmp_path / "whole"), PackSettings(seq_len=600))
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
    assert not (tmp_path / "killed" / "_run").exists()


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    made: Path, tmp_path: Path, crasher: Crasher
) -> None:
    asked = ("pack", made / "shards", "--out", tmp_path, "--workers", "0")
    assert crasher.run("fsync", 5, "ENOSPC", *asked)[0] == 1
    assert crasher.run("fsync", 0, "none", *asked)[0] == 0


def test_what_was_packed_before_a_kill_is_not_packed_again(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shards"
    shutil.copytree(made / "shards", folder)
    written = packer.write_pack

    def broken(store: object, number: int, *more: object) -> object:
        if number == 1:
            raise OSError("the line went dead")
        return written(store, number, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(packer, "write_pack", broken)
    with pytest.raises(Exception, match="the line went dead"):
        pack([str(folder)], str(tmp_path / "out"), PackSettings(**SMALL))
    monkeypatch.undo()
    first = (tmp_path / "out" / "pack-000000.parquet").stat().st_mtime_ns
    pack([str(folder)], str(tmp_path / "out"), PackSettings(**SMALL))
    assert (tmp_path / "out" / "pack-000000.parquet").stat().st_mtime_ns == first
    assert hashes(tmp_path / "out") == hashes(made / "packs")


def rewrite(folder: Path, **options: object) -> None:
    """The shards as another writer would write them, without the index of their images."""
    for path in folder.glob("shard-*.parquet"):
        table = pq.read_table(path)
        told = {name: value for name, value in table.schema.metadata.items() if name != KEY}
        pq.write_table(table.replace_schema_metadata(told), path, row_group_size=100, **options)
    (folder / "_manifest.json").unlink()


@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_shards_of_other_writers_are_packed_to_the_same_images(
    made: Path, tmp_path: Path, compression: str
) -> None:
    shutil.copytree(made / "shards", tmp_path / "shards")
    rewrite(tmp_path / "shards", compression=compression, use_dictionary=False)
    pack([str(tmp_path / "shards")], str(tmp_path / "out"), PackSettings())
    assert images(tmp_path / "out") == images(made / "packs")


def test_an_image_that_changed_is_named(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "shards", tmp_path / "shards")
    path = tmp_path / "shards" / "shard-000002.parquet"
    body = next(body for body in pq.read_table(path)["image"].to_pylist() if body is not None)["bytes"]
    data = path.read_bytes()
    at = data.index(body) + len(body) // 2
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(DamagedError, match=r"shard-000002.parquet, image .*not those that were written"):
        pack([str(tmp_path / "shards")], str(tmp_path / "out"), PackSettings())


def test_the_size_of_a_row_group_by_arithmetic_is_what_arrow_says(made: Path) -> None:
    table = pq.read_table(made / "packs" / "pack-000000.parquet")
    table = table.take(pa.array(np.arange(table.num_rows))).combine_chunks()
    column = {name: table[name].combine_chunks() for name in table.column_names}
    image = column["images"].flatten()
    flat = {
        "tokens": column["tokens"],
        "samples": column["keys"],
        "images": column["images"],
    }
    before = {name: cumulated(pc.list_value_length(lists)) for name, lists in flat.items()}
    for name, values, of in (
        ("image_bytes", image.field("bytes"), "images"),
        ("path_bytes", image.field("path"), "images"),
        ("key_bytes", column["keys"].flatten(), "samples"),
    ):
        before[name] = cumulated(pc.binary_length(values))[before[of]]
    label = label_bytes(table["task"].chunk(0).dictionary.to_pylist())
    rng = np.random.default_rng(0)
    assert set(before) == set(AMOUNTS)
    for start, stop in np.sort(rng.integers(0, table.num_rows + 1, (50, 2))).tolist():
        if start < stop:
            real = table.slice(start, stop - start).nbytes
            assert table_bytes(before, start, stop, label, False, "embed") == real


def cumulated(values: pa.Array) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(values.to_numpy().astype(np.int64))])
