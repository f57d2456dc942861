from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curate.storage.selected import write_part
from curate.storage.store import Store


def encodings(path: Path) -> dict[str, bool]:
    """Whether each column of a file's first row group has a dictionary."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    return {column.path_in_schema: column.has_dictionary_page for column in columns}


def test_only_columns_whose_values_repeat_have_dictionaries(tmp_path: Path) -> None:
    table = pa.table(
        {
            "licence": ["by", "by-sa"] * 50,
            "width": pa.array([640, 480, 320, 640] * 25, pa.int32()),
            "hash": range(100),
            "title": [f"title {number}" for number in range(100)],
            "tags": [["a", "b"]] * 100,
        }
    )
    write_part(Store(str(tmp_path)), "part.parquet", [table], table.schema, 3)
    assert encodings(tmp_path / "part.parquet") == {
        "licence": True, "width": True, "hash": False, "title": False, "tags.list.element": True,
    }  # fmt: skip
    assert pq.read_table(tmp_path / "part.parquet").equals(table)


def test_a_part_without_rows_has_its_columns(tmp_path: Path) -> None:
    schema = pa.schema([("title", pa.string())])
    write_part(Store(str(tmp_path)), "part.parquet", [], schema, 3)
    assert pq.read_table(tmp_path / "part.parquet").equals(schema.empty_table())
