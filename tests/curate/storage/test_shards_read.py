"""Columns read from shards and files of dropped rows that may be damaged."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import DamagedError
from curate.storage.dataset import find
from curate.storage.shards import read_columns
from curate.storage.store import Store


@pytest.mark.parametrize("junk", [b"", b"PAR1", b"no Parquet file at all"])
def test_a_file_that_cannot_be_read_is_named_with_the_way_out(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "shard-000000.parquet").write_bytes(junk)
    said = rf"cannot read {tmp_path}/shard-000000.parquet: .*; `curate verify {tmp_path}`"
    with pytest.raises(DamagedError, match=said):
        read_columns(Store(str(tmp_path)), "shard-000000.parquet", ["key"])
    with pytest.raises(DamagedError, match=said):
        find([str(tmp_path)])


def test_a_file_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "shard-000000.parquet")
    with pytest.raises(DamagedError, match=r"shard-000000.parquet lacks the column text; `curate verify"):
        read_columns(Store(str(tmp_path)), "shard-000000.parquet", ["key", "text"])
