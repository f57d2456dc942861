from __future__ import annotations

import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import CurateError, InputError, UnitError
from curate.manifest.settings import InputSettings
from curate.sources import DETAIL, PROBLEM, Source, expand, open_source


def opened(path: Path) -> Source:
    return open_source(expand([str(path)])[0], InputSettings(), path.parent / "work")


def values(source: Source, start: int, stop: int, name: str = "n") -> list[Any]:
    return [value for batch in source.batches(start, stop) for value in batch.column(name).to_pylist()]


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "n.parquet"
    table = pa.table({"n": range(20_000), "text": [f"row {i}" for i in range(20_000)]})
    pq.write_table(table, path, row_group_size=7_000, write_page_checksum=True, data_page_size=4096)
    return path


def test_any_range_is_read_exactly_and_in_order(numbers: Path) -> None:
    source = opened(numbers)
    assert source.rows == 20_000
    draw = random.Random(1)
    for _ in range(40):
        start = draw.randrange(20_000)
        stop = min(20_000, start + draw.randrange(6_000))
        assert values(source, start, stop) == list(range(start, stop))


def test_ranges_in_order_go_on_where_the_last_one_stopped(numbers: Path) -> None:
    source = opened(numbers)
    assert values(source, 0, 10) == list(range(10))
    position = source._standing  # type: ignore[attr-defined]
    assert position.at == 10
    assert values(source, 10, 6_000) == list(range(10, 6_000))
    assert values(source, 5_000, 5_002) == [5_000, 5_001]


def test_a_reader_left_half_way_does_not_spoil_the_next(numbers: Path) -> None:
    source = opened(numbers)
    next(source.batches(0, 20_000))
    assert values(source, 0, 3) == [0, 1, 2]


def test_a_truncated_file_is_refused_before_any_row(numbers: Path) -> None:
    whole = numbers.read_bytes()
    for size in (3, len(whole) // 2, len(whole) - 1):
        numbers.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"n\.parquet is not a whole Parquet file"):
            opened(numbers)


def test_a_flipped_bit_in_a_page_is_noticed(numbers: Path) -> None:
    whole = bytearray(numbers.read_bytes())
    whole[5_000] ^= 1
    numbers.write_bytes(whole)
    with pytest.raises(UnitError, match=r"cannot read rows 0 to 20000 of .*n\.parquet"):
        values(opened(numbers), 0, 20_000)


def test_mutated_files_read_as_they_were_or_fail_with_one_line(numbers: Path) -> None:
    whole = numbers.read_bytes()
    draw = random.Random(3)
    failed = 0
    for _ in range(60):
        broken = bytearray(whole)
        broken[draw.randrange(4, len(whole) - 8)] ^= 1 << draw.randrange(8)
        numbers.write_bytes(broken)
        try:
            read = values(opened(numbers), 0, 20_000)
        except CurateError:
            failed += 1
        else:
            assert read == list(range(20_000))
    assert failed > 20


class Pickled(pa.ExtensionType):
    """A type like the one that Ray reads back by unpickling."""

    def __init__(self) -> None:
        super().__init__(pa.binary(), "ray.data.arrow_pickled_object")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> Pickled:
        return cls()


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("wrap", ["plain", "list", "struct", "deep"])
def test_extension_types_are_refused_at_any_depth(tmp_path: Path, wrap: str, registered: bool) -> None:
    array = pa.ExtensionArray.from_storage(Pickled(), pa.array([b"cos\nsystem"]))
    one = pa.array([0, 1], pa.int32())
    wrapped = {
        "plain": array,
        "list": pa.ListArray.from_arrays(one, array),
        "struct": pa.StructArray.from_arrays([array], ["x"]),
        "deep": pa.ListArray.from_arrays(one, pa.StructArray.from_arrays([array], ["x"])),
    }[wrap]
    path = tmp_path / "evil.parquet"
    if registered:
        with suppress(pa.ArrowKeyError):  # by Ray itself, where a test used ray.data
            pa.register_extension_type(Pickled())
    try:
        pq.write_table(pa.table({"text": ["a"], "evil": wrapped}), path)
        with pytest.raises(InputError, match=r"'evil.*ray\.data\.arrow_pickled_object.*can run code"):
            opened(path)
    finally:
        if registered:
            pa.unregister_extension_type("ray.data.arrow_pickled_object")


def test_arrows_own_extension_types_read_as_what_they_store(tmp_path: Path) -> None:
    path = tmp_path / "json.parquet"
    array = pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(['{"a":1}']))
    pq.write_table(pa.table({"n": array}), path)
    assert values(opened(path), 0, 1) == ['{"a":1}']


def test_broken_utf8_does_not_stop_the_rows_around_it(tmp_path: Path) -> None:
    path = tmp_path / "utf8.parquet"
    texts = pa.array([b"good", b"caf\xe9", b"fine"], pa.binary()).cast(
        options=pa.compute.CastOptions(pa.string(), allow_invalid_utf8=True)
    )
    pq.write_table(pa.table({"text": texts}), path)
    batch = next(opened(path).batches(0, 3))
    assert batch.column("text").cast(pa.binary()).to_pylist() == [b"good", b"caf\xe9", b"fine"]


def test_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "twice.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["n", "n"]), path)
    source = opened(path)
    assert source.schema.names == ["n", "n_2", PROBLEM, DETAIL]
    assert values(source, 0, 1, "n_2") == [2]


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.parquet"
    pq.write_table(pa.table({"n": pa.array([], pa.int64())}), path)
    with pytest.raises(InputError, match="holds no row"):
        opened(path)


MEMORY = """
import resource, sys
from contextlib import suppress
from pathlib import Path
from curate.manifest.settings import InputSettings
from curate.sources import expand, open_source
source = open_source(expand([sys.argv[1]])[0], InputSettings(), Path(sys.argv[2]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = 0
for start in range(0, source.rows, 10_000):
    rows += sum(batch.num_rows for batch in source.batches(start, start + 10_000))
assert rows == source.rows
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_stays_flat_over_one_huge_row_group(tmp_path: Path) -> None:
    grown = {}
    for rows in (50_000, 400_000):
        path = tmp_path / f"{rows}.parquet"
        schema = pa.schema([("n", pa.int64()), ("text", pa.string())])
        with pq.ParquetWriter(path, schema, use_dictionary=False, compression="none") as writer:
            texts = [random.Random(i).randbytes(150).hex() for i in range(1000)]
            chunk = pa.table({"n": range(rows), "text": (texts * (rows // 1000 + 1))[:rows]}, schema)
            writer.write_table(chunk, row_group_size=rows)
        assert pq.read_metadata(path).num_row_groups == 1
        done = subprocess.run([sys.executable, "-c", MEMORY, path, tmp_path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        grown[rows] = int(done.stdout) // 1024
    size = path.stat().st_size // 2**20
    assert size > 100
    assert grown[400_000] < grown[50_000] + 40, f"{grown} MiB for a file of {size} MiB"
