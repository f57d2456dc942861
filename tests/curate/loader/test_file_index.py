from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from curate.errors import InputError
from curate.loader.file_index import open_index
from curate.loader.source import ShardSource
from curate.storage.dataset import find
from curate.storage.parquet_pages import chunk_range, value_places
from tests.curate.made_shards import make_shards

OPTIONS: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return make_shards(tmp_path / "shards", rows=120, shards=2, tasks=("caption", "text"))


def places_of(values: pa.Array, levels: int, **options: Any) -> tuple[bytes, list[bytes]]:
    """A column written as Parquet, and the values found in the file's bytes."""
    out = io.BytesIO()
    pq.write_table(pa.table({"v": values}), out, **OPTIONS | options)
    data, found = out.getvalue(), []
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    for group in range(metadata.num_row_groups):
        path = metadata.row_group(group).column(0).path_in_schema
        column, start, size = chunk_range(metadata.row_group(group), path)
        places = value_places(memoryview(data)[start : start + size], column, levels)
        found += [data[o : o + s] for o, s in zip(places.offset, places.size, strict=True)]
    return data, found


bodies = st.lists(st.one_of(st.none(), st.binary(max_size=300)), max_size=60)


@settings(max_examples=100, deadline=None)
@given(bodies, st.sampled_from(["1.0", "2.0"]), st.sampled_from([64, 2**20]), st.booleans())
def test_every_value_is_found_where_it_lies(
    values: list[Any], version: str, page: int, checksum: bool
) -> None:
    options = {"data_page_version": version, "data_page_size": page, "write_page_checksum": checksum}
    _, found = places_of(pa.array(values, pa.binary()), 1, **options, row_group_size=25)
    assert found == [value for value in values if value is not None]


@settings(max_examples=60, deadline=None)
@given(st.lists(bodies, max_size=20), st.sampled_from(["1.0", "2.0"]))
def test_values_in_lists_are_found_too(values: list[Any], version: str) -> None:
    _, found = places_of(pa.array(values, pa.list_(pa.binary())), 2, data_page_version=version)
    assert found == [value for some in values for value in some if value is not None]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"compression": "zstd"}, "is compressed"), ({"use_dictionary": True}, "has a dictionary")],
)
def test_columns_that_cannot_be_read_in_place_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        places_of(pa.array([b"x" * 100] * 50), 1, **options)
    with pytest.raises(ValueError, match="not plain"):
        places_of(pa.array([b"x" * 100] * 50), 1, column_encoding={"v": "DELTA_BYTE_ARRAY"})


def test_mangled_pages_are_refused_and_never_loop() -> None:
    rng = np.random.default_rng(0)
    data, _ = places_of(pa.array([b"abc" * 50] * 200), 1, data_page_size=500)
    column, start, size = chunk_range(pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0), "v")
    refused = 0
    for _ in range(400):
        chunk = bytearray(data[start : start + size])
        for place in rng.integers(0, size, 4):
            chunk[place] = rng.integers(256)
        try:
            places = value_places(memoryview(chunk), column, 1)
            assert (places.offset + places.size <= start + size).all()
        except ValueError:
            refused += 1
    assert refused > 20


def test_the_index_is_made_once_and_mapped_from_beside_the_shards(shards: Path) -> None:
    file = find([str(shards)]).files[0]
    first = open_index(file, ("key",))
    (kept,) = (shards / "_index").iterdir()
    made = kept.stat().st_mtime_ns
    assert open_index(file, ("key",)).equals(first)
    assert kept.stat().st_mtime_ns == made
    assert first.column_names == ["key", "place"]
    assert pq.read_table(shards).num_rows == 240  # readers of the folder do not see it


def test_a_shard_that_was_written_anew_is_indexed_anew(shards: Path) -> None:
    path = shards / "shard-000000.parquet"
    before = open_index(find([str(path)]).files[0], ("key",))
    shutil.copyfile(shards / "shard-000001.parquet", path)
    after = open_index(find([str(path)]).files[0], ("key",))
    assert before["key"] != after["key"]


def test_where_nothing_can_be_written_the_index_stays_in_memory(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = find([str(shards)]).files[0]
    (shards / "_index").write_text("a file stands where the folder would")
    monkeypatch.setenv("XDG_CACHE_HOME", str(shards / "_index"))
    assert open_index(file, ("key",)).num_rows == 120
    monkeypatch.setenv("XDG_CACHE_HOME", str(shards.parent / "cache"))
    assert open_index(file, ("key",)).num_rows == 120
    assert list((shards.parent / "cache").rglob("*.arrow"))


def test_a_damaged_index_is_made_again(shards: Path) -> None:
    file = find([str(shards)]).files[0]
    first = open_index(file, ("key",)).to_pylist()
    (kept,) = (shards / "_index").iterdir()
    kept.unlink()
    kept.write_bytes(b"ARROW1 not at all")
    assert open_index(file, ("key",)).to_pylist() == first
    assert kept.stat().st_size > 1000


def test_a_shard_cut_short_behind_our_back_is_an_error_that_names_it(shards: Path) -> None:
    source = ShardSource([str(shards)], "shard", ("key",))
    assert source.read(np.array([0]))[0]["image"]
    other = ShardSource([str(shards)], "shard", ("key",))
    os.truncate(shards / "shard-000000.parquet", 100)
    with pytest.raises(InputError, match=r"shard-000000\.parquet"):
        other.read(np.array([0]))


def test_unknown_columns_and_compressed_images_are_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no column captions"):
        ShardSource([str(shards)], "shard", ("captions",))
    (tmp_path / "zstd").mkdir()
    pq.write_table(pq.read_table(shards / "shard-000000.parquet"), tmp_path / "zstd" / "shard-000000.parquet")
    with pytest.raises(InputError, match=r"cannot index .*: image.bytes (is compressed|has a dictionary)"):
        ShardSource([str(tmp_path / "zstd")], "shard", ("key",)).read(np.array([0]))
