"""Files that an unfinished run goes on from: whatever damages them, they are named, and nothing of them is parsed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from curate.errors import DamagedStateError
from curate.storage.batch_files import (
    TAIL,
    batches_of,
    read_batch,
    read_batches,
    read_sealed,
    read_told,
    write_batches,
    write_sealed,
)
from curate.storage.store import Store

NUMBERS = pa.schema([("number", pa.int64())])
NAME = "_run/seen/spill-000000.arrow"
TABLES = [pa.table([list(range(many))], schema=NUMBERS) for many in (3, 0, 500)]


def test_batches_are_read_alone_and_together(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write_batches(store, NAME, NUMBERS, TABLES, b"said")
    assert [read_batch(store, NAME, number) for number in range(3)] == TABLES
    assert read_batches(store, NAME) == TABLES
    assert (batches_of(store, NAME), read_told(store, NAME)) == (3, b"said")


def test_a_footer_longer_than_what_is_read_first_is_read(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write_batches(store, NAME, NUMBERS, TABLES, bytes(TAIL))
    assert read_batch(store, NAME, 0) == TABLES[0]


def test_a_file_without_batches_has_none(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write_batches(store, NAME, NUMBERS, [])
    assert read_batches(store, NAME) == []


@pytest.mark.parametrize("seal", [True, False])
def test_a_flipped_bit_or_a_cut_anywhere_is_found(tmp_path: Path, seal: bool) -> None:
    store = Store(str(tmp_path))
    read: Callable[[], object]
    if seal:
        write_sealed(store, NAME, b"what was found")
        read = lambda: read_sealed(store, NAME)  # noqa: E731
    else:
        write_batches(store, NAME, NUMBERS, TABLES[:1], b"said")
        read = lambda: read_batches(store, NAME)  # noqa: E731
    path = tmp_path / NAME
    whole, lottery = path.read_bytes(), random.Random(0)
    flips = [
        bytes([*whole[:at], whole[at] ^ 1 << lottery.randrange(8), *whole[at + 1 :]])
        for at in range(len(whole))
    ]
    cuts = [whole[:length] for length in range(0, len(whole), 7)]
    for bad in [*flips, *cuts, bytes(len(whole)), lottery.randbytes(len(whole)), b"\xff" * 400]:
        path.write_bytes(bad)
        with pytest.raises(
            DamagedStateError,
            match=r"_run/seen: spill-000000\.arrow is damaged or of another run; delete that folder",
        ):
            read()


def test_one_file_is_not_taken_for_another(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write_batches(store, NAME, NUMBERS, TABLES)
    other = NAME.replace("000000", "000001")
    Path(tmp_path, NAME).rename(tmp_path / other)
    with pytest.raises(DamagedStateError):
        read_batch(store, other, 0)


@pytest.mark.parametrize("run", ["", "b"])
def test_a_file_of_another_run_is_refused(tmp_path: Path, run: str) -> None:
    store, other = Store(str(tmp_path)), Store(str(tmp_path))
    store.run, other.run = "a", run
    write_batches(other, NAME, NUMBERS, TABLES)
    write_sealed(other, "_run/near/plan.json", b"{}")
    for read in (read_batches, read_told, batches_of):
        with pytest.raises(DamagedStateError, match=r"spill-000000\.arrow is damaged or of another run"):
            read(store, NAME)
    with pytest.raises(DamagedStateError, match=r"plan\.json is damaged or of another run"):
        read_sealed(store, "_run/near/plan.json")
    assert read_batches(other, NAME) == TABLES


def test_fingerprints_are_read_after_their_run(tmp_path: Path) -> None:
    store, later = Store(str(tmp_path)), Store(str(tmp_path))
    store.run = "a"
    write_batches(store, "_run/prints/unit-000000.arrow", NUMBERS, TABLES)
    assert read_batches(later, "_run/prints/unit-000000.arrow") == TABLES


@pytest.mark.parametrize("name", ["_run/prints/unit-000000.arrow", "_run/staged/kept-000000.arrow"])
def test_what_units_left_is_not_advised_to_be_deleted(tmp_path: Path, name: str) -> None:
    store = Store(str(tmp_path))
    store.write_bytes(name, b"junk")
    with pytest.raises(
        DamagedStateError, match="is damaged or of another run; --overwrite begins the run anew"
    ):
        read_batch(store, name, 0)
