"""The encoded images of a shard's rows, those of dialogues too."""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.parquet as pq

DIALOGUE_IMAGES = "images.list.element.bytes"


def images_of_group(
    reader: pq.ParquetFile, group: int, dialogues_alone: bool = False
) -> tuple[list[int], list[bytes]]:
    """The images of a row group, and the row of the group that each belongs to; `dialogues_alone` leaves out others."""
    columns = [DIALOGUE_IMAGES] if dialogues_alone else ["image.bytes", DIALOGUE_IMAGES]
    table = reader.read_row_group(group, columns, use_threads=False)
    lists = table["images"].combine_chunks()
    rows = pc.list_parent_indices(lists).to_pylist()
    bodies = pc.struct_field(pc.list_flatten(lists), "bytes").to_pylist()
    if not dialogues_alone:
        rows += range(table.num_rows)
        bodies += pc.struct_field(table["image"], "bytes").to_pylist()
    there = [(row, body) for row, body in zip(rows, bodies, strict=True) if body is not None]
    return [row for row, _ in there], [body for _, body in there]
