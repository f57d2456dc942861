from __future__ import annotations

import io
import random
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pytest

from curate.engine import records
from curate.engine.ledger import DONE_STATE, STAGED_STATE, Ledger
from curate.engine.output import Staging
from curate.engine.record import Stage, UnitRecord
from curate.engine.records import (
    DONE,
    STAGED,
    every_record,
    read_marks,
    read_segments,
    record_name,
    segment_names,
    write_segment,
)
from curate.engine.request import Begun
from curate.errors import UnitError
from curate.manifest import load as manifests
from curate.storage.shards import Shard
from curate.storage.store import Store


def record(unit: int) -> UnitRecord:
    return UnitRecord(
        unit=unit, inputs_in=3, rows_in=3, rows_out=2, dropped={"text_too_short": 1},
        stages=(Stage("read", 3, 2, 0.5),), shards=(Shard(f"shard-{unit:06d}.parquet", 2, 99, "ab" * 32),),
    )  # fmt: skip


def test_segments_give_back_what_was_written(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    entries = [(STAGED_STATE, record(5)), (DONE_STATE, record(5)), (DONE_STATE, record(300))]
    write_segment(store, 0, entries[:1])
    write_segment(store, 1, entries[1:])
    assert list(read_segments(store, segment_names(store))) == entries


def test_only_the_records_that_no_segment_has_are_read(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for unit in (1, 2, 257, 400):
        records.write_record(store, DONE, record(unit))
    known = np.zeros(500, np.uint8)
    known[[1, 400]] = DONE_STATE
    assert [one.unit for one in read_marks(store, DONE_STATE, known)] == [2, 257]


def test_torn_files_of_the_journal_count_for_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write_segment(store, 0, [(DONE_STATE, record(1))])
    records.write_record(store, DONE, record(1))
    records.write_record(store, DONE, record(2))
    segment = tmp_path / segment_names(store)[0]
    segment.write_bytes(segment.read_bytes()[:40])
    torn = tmp_path / records.record_name(DONE, 2)
    torn.write_bytes(torn.read_bytes()[:9])
    assert [one.unit for one in every_record(store)] == [1]


def test_records_and_segments_of_another_run_count_for_nothing(tmp_path: Path) -> None:
    store, other, anyone = (Store(str(tmp_path)) for _ in range(3))
    store.run, other.run = "a", "b"
    write_segment(other, 0, [(DONE_STATE, record(1))])
    write_segment(store, 1, [(DONE_STATE, record(2))])
    records.write_record(other, DONE, record(3))
    records.write_record(store, DONE, record(4))
    assert list(every_record(store)) == [record(2), record(4)]
    assert list(every_record(anyone)) == [record(1), record(2), record(3), record(4)]


def test_a_record_of_another_unit_counts_for_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    records.write_record(store, DONE, record(3))
    store.write_bytes(record_name(DONE, 4), store.read_bytes(record_name(DONE, 3)) or b"")
    assert [one.unit for one in every_record(store)] == [3]


def test_a_run_that_goes_on_has_the_same_name_and_a_new_one_another() -> None:
    begun = Begun({"limit": None, "sample": 1.0}, (3, 4), "2026-12-01T11:40:00+00:00")
    again = msgspec.json.decode(msgspec.json.encode(begun), type=Begun)
    assert again.digest() == begun.digest()
    assert msgspec.structs.replace(begun, started="2026-12-01T11:40:01+00:00").digest() != begun.digest()


@pytest.mark.parametrize("seed", range(8))
def test_a_segment_with_a_flipped_bit_says_nothing_or_what_it_said(tmp_path: Path, seed: int) -> None:
    store, chance = Store(str(tmp_path)), random.Random(seed)
    entries = [(DONE_STATE, record(unit)) for unit in range(40)]
    write_segment(store, 0, entries)
    segment = tmp_path / segment_names(store)[0]
    whole = segment.read_bytes()
    for _ in range(40):
        flipped = bytearray(whole)
        flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        segment.write_bytes(flipped)
        assert list(read_segments(store, segment_names(store))) in ([], entries)


def other_table(**columns: pa.Array) -> bytes:
    sink = io.BytesIO()
    table = pa.table(columns)
    with ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


JUNK = {
    "nothing": b"",
    "zeros": bytes(4096),
    "text": b"{}\n" * 100,
    "another table": other_table(x=pa.array([1])),
    "a record that is none": other_table(
        unit=pa.array([1]), state=pa.array([2], pa.uint8()), record=pa.array([b"junk"])
    ),
    "nulls": other_table(
        unit=pa.nulls(1, pa.int64()), state=pa.nulls(1, pa.uint8()), record=pa.nulls(1, pa.binary())
    ),
}


@pytest.mark.parametrize("junk", JUNK)
def test_junk_in_the_place_of_a_segment_counts_for_nothing(tmp_path: Path, junk: str) -> None:
    store = Store(str(tmp_path))
    write_segment(store, 0, [(DONE_STATE, record(1))])
    records.write_record(store, DONE, record(1))
    (tmp_path / segment_names(store)[0]).write_bytes(JUNK[junk])
    assert list(read_segments(store, segment_names(store))) == []
    assert [one.unit for one in every_record(store)] == [1]


def test_a_unit_that_is_told_of_twice_counts_once() -> None:
    ledger = Ledger(3)
    assert ledger.add(record(2), STAGED_STATE)
    for known in (False, True):
        assert ledger.add(record(2), DONE_STATE) is not known
    assert not ledger.add(record(2), STAGED_STATE)
    assert ledger.add(record(0), DONE_STATE)
    assert ledger.below(DONE_STATE).tolist() == [1]
    assert ledger.sums()["rows_in"] == 6
    assert ledger.sums()["dropped"] == {"text_too_short": 2}
    assert ledger.shards()["unit"].to_pylist() == [0, 2]


@pytest.mark.parametrize("junk", [b"", b'{"a":' * 5000, b"\xff\xfe"])
def test_a_staged_units_damaged_record_is_read_from_the_journal(tmp_path: Path, junk: bytes) -> None:
    store = Store(str(tmp_path))
    write_segment(store, 0, [(STAGED_STATE, record(unit)) for unit in range(3)])
    store.write_bytes(record_name(STAGED, 1), junk)
    staging = Staging(manifests.load("laion"), store)
    assert staging.record(1, STAGED) == record(1)
    with pytest.raises(UnitError, match="unit 7 has no record"):
        staging.record(7, STAGED)
