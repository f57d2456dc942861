"""Whatever bit flips in a file that a folder lists, `verify` names the file; a repair brings back the same bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from curate.packing import PackSettings, pack
from curate.verifying.command import verify
from curate.verifying.keys import KeyPartitions, as_bytes
from curate.verifying.repair import repair
from tests.curate.made_shards import make_shards
from tests.curate.runs import done, pair, picture, write_pairs

FLIPS = 6  # in each file


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two units with dropped rows in both."""
    folder = tmp_path_factory.mktemp("flipped")
    rows = [pair(n) for n in range(3)] + [pair(3, similarity=0.1), pair(4, TEXT="no")]
    rows += [pair(5), pair(6, TEXT=pair(1)["TEXT"], image=picture(1))]
    source = write_pairs(folder / "rows.parquet", rows)
    done("run", "laion", "--input", source, "--out", folder / "out", "--workers", 0, "--set", "shard.rows=4")
    return folder / "out"


def flipped(path: Path, rng: np.random.Generator) -> bytes:
    """Flip a bit; what was there before."""
    before = path.read_bytes()
    body = bytearray(before)
    body[int(rng.integers(len(body)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(body)
    return before


def test_a_flipped_bit_in_any_listed_file_is_named(whole: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    rng = np.random.default_rng(1)
    listed = [*out.glob("shard-*.parquet"), *out.glob("_dropped/*.parquet"), *out.glob("_manifest/*.parquet")]
    assert len(listed) == 6
    for path in listed:
        name = str(path.relative_to(out))
        for _ in range(FLIPS):
            before = flipped(path, rng)
            found = verify(str(out))["damaged"]
            assert name in found
            path.write_bytes(before)
    assert verify(str(out))["damaged"] == {}


def test_a_repair_brings_back_the_bytes_of_every_flipped_file(whole: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    rng = np.random.default_rng(2)
    for path in (*out.glob("shard-*.parquet"), *out.glob("_dropped/*.parquet")):
        flipped(path, rng)
    found = repair(str(out))
    assert (len(found["repaired"]), found["damaged"]) == (4, {})
    for path in (*whole.glob("shard-*.parquet"), *whole.glob("_dropped/*.parquet")):
        assert (out / path.relative_to(whole)).read_bytes() == path.read_bytes()


def test_a_damaged_table_is_written_anew_by_the_same_command(whole: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    for name in ("shards", "dropped"):
        table = out / f"_manifest/{name}.parquet"
        table.write_bytes(b"PAR1 not at all")
        found = repair(str(out))
        assert list(found["damaged"]) == [f"_manifest/{name}.parquet"]
        assert found["repaired"] == []
        (out / "_manifest.json").unlink()
        source = whole.parent / "rows.parquet"
        done("run", "laion", "--input", source, "--out", out, "--workers", 0, "--set", "shard.rows=4")
        assert table.read_bytes() == (whole / f"_manifest/{name}.parquet").read_bytes()
    assert verify(str(out))["damaged"] == {}


def test_flipped_packs_and_their_dropped_rows_are_named(tmp_path: Path) -> None:
    pack([str(make_shards(tmp_path / "shards", rows=60))], str(tmp_path / "packs"), PackSettings(seq_len=300))
    rng = np.random.default_rng(3)
    for path, name in (
        (tmp_path / "packs/pack-000000.parquet", "pack-000000.parquet"),
        (tmp_path / "packs/_dropped/dropped-000000.parquet", "_dropped"),
        (tmp_path / "packs/_manifest/dropped.parquet", "_manifest/dropped.parquet"),
    ):
        for _ in range(15):
            before = flipped(path, rng)
            assert name in verify(str(tmp_path / "packs"))["damaged"]
            path.write_bytes(before)
    assert verify(str(tmp_path / "packs"))["damaged"] == {}


def test_a_folder_without_tables_is_verified_by_its_records(whole: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    shutil.rmtree(out / "_manifest")
    assert set(verify(str(out))["damaged"]) == {"_manifest/shards.parquet", "_manifest/dropped.parquet"}
    older = json.loads((out / "_manifest.json").read_text())
    del older["tables"]
    (out / "_manifest.json").write_text(json.dumps(older))
    assert verify(str(out))["damaged"] == {}
    (out / "_dropped/dropped-000001.parquet").unlink()
    assert "0 rows instead of" in verify(str(out))["damaged"]["_dropped/dropped-000001.parquet"][0]


def test_keys_that_occur_twice_are_counted_over_partitions_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    from curate.verifying import keys as module

    monkeypatch.setattr(module, "WAITING_BYTES", 4096)
    monkeypatch.setattr(module, "PARTITION_KEYS", 300)
    rng = np.random.default_rng(0)
    texts = [rng.bytes(16).hex() for _ in range(2000)]
    texts += texts[:7] + texts[:3] + ["no key", "no key", None, "x" * 32]
    partitions = KeyPartitions(len(texts))
    for start in range(0, len(texts), 50):
        partitions.add(as_bytes(pa.chunked_array([texts[start : start + 50]], pa.string())))
    assert partitions.duplicates() == 11
    partitions.close()


def test_what_a_run_does_not_list_is_not_its_own(whole: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    (out / "_dropped/dropped-000009.parquet").write_bytes(b"PAR1")
    found = verify(str(out))["damaged"]
    assert "it is not in _manifest/dropped.parquet" in found["_dropped/dropped-000009.parquet"][0]
