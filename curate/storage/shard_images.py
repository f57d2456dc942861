"""Read the encoded images of a shard's rows, including those of dialogues."""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.parquet as pq

DIALOGUE_IMAGES = "images.list.element.bytes"


def images_of_group(
    reader: pq.ParquetFile, group: int, dialogues_alone: bool = False
) -> tuple[list[int], list[bytes]]:
    """For each image of a row group: the number of its row in the group, and its bytes (two lists of one length).

    With `dialogues_alone` only the images of dialogues are read.
    """
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
