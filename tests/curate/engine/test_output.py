"""Staged files that were damaged before their unit is published: named, never taken into the output."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.engine.output import Staging
from curate.engine.record import UnitRecord
from curate.errors import DamagedStateError
from curate.manifest import load as manifests
from curate.schema import DROPPED, SHARD
from curate.storage.shards import Shard, dropped_name, shard_name, write_tables
from curate.storage.store import Store

NAMES = (shard_name(0, 0), dropped_name(0))


def staged(folder: Path) -> tuple[Staging, UnitRecord]:
    """A staged unit with two kept rows and one dropped row."""
    staging = Staging(manifests.load("laion"), Store(str(folder)))
    files = []
    for name, schema, rows in ((NAMES[0], SHARD, 2), (NAMES[1], DROPPED, 1)):
        said = [
            {"key": f"{row:032x}", "text": "a harbour " * 9, "url": "https://a.example"}
            for row in range(rows)
        ]
        table = pa.Table.from_pylist(said, schema)
        written = write_tables(staging.store, staging.place(name), [table], schema, staging.manifest.shard)
        files.append(Shard(name, rows, written.bytes, written.sha256))
    of_unit = {"unit": 0, "inputs_in": 3, "rows_in": 3, "rows_out": 2, "dropped": {"text_missing": 1}}
    return staging, UnitRecord(**of_unit, shards=(files[0],), dropped_file=files[1])


def damage(path: Path, kind: str) -> None:
    """Cut, empty or remove the file, or flip a bit in its texts."""
    data = path.read_bytes()
    group = pq.ParquetFile(path).metadata.row_group(0)
    texts = next(one for one in map(group.column, range(group.num_columns)) if one.path_in_schema == "text")
    at = texts.data_page_offset + texts.total_compressed_size - 1  # of its last page
    changed = {"cut": data[:-1], "empty": b"", "flip": data[:at] + bytes([data[at] ^ 8]) + data[at + 1 :]}
    path.unlink()
    if kind in changed:
        path.write_bytes(changed[kind])


@pytest.mark.parametrize("kind", ["cut", "empty", "gone"])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_staged_file_is_not_published(tmp_path: Path, name: str, kind: str) -> None:
    staging, record = staged(tmp_path)
    damage(tmp_path / staging.place(name), kind)
    with pytest.raises(
        DamagedStateError, match=f"{Path(name).name} is damaged or of another run; --overwrite begins"
    ):
        staging.publish(record, {}, {})
    assert not any((tmp_path / name).exists() for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_in_a_staged_file_that_is_read_is_named(tmp_path: Path, name: str) -> None:
    staging, record = staged(tmp_path)
    damage(tmp_path / staging.place(name), "flip")
    with pytest.raises(
        DamagedStateError, match=f"{Path(name).name} is damaged or of another run; --overwrite begins"
    ):
        staging.publish(record, {0: "duplicate_pair"}, {})


@pytest.mark.parametrize("kind", ["cut", "empty", "flip"])
def test_a_damaged_staged_shard_is_named_when_it_is_compared(tmp_path: Path, kind: str) -> None:
    staging, record = staged(tmp_path)
    staging.keep(record, "_run/staged")
    damage(tmp_path / staging.place(NAMES[0]), kind)
    with pytest.raises(DamagedStateError, match=r"shard-000000.parquet is damaged or of another run; --ov"):
        staging.spilled(0)
