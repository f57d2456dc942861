"""Faults, prompts and targets of rows of SAMPLE of any task, including dialogues."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.chat import dialogue_faults, dialogue_strings
from curate.tasks.dialogue_places import DialogueBoxes
from curate.tasks.formats import CONVERSATION
from curate.tasks.render import render
from curate.tasks.row_faults import faults


def row_faults(table: pa.Table) -> pa.Array:
    """The first fault of each row (N strings); null where it can be rendered. See `faults` and `dialogue_faults`."""
    found = faults(table)
    talks = _talks(table)
    if not pc.any(talks, min_count=0).as_py():
        return found
    images = pc.list_value_length(table["images"]).fill_null(0).to_numpy().astype(np.int64)
    return pc.if_else(talks, dialogue_faults(table["messages"], images, regions=table["regions"]), found)


def row_strings(table: pa.Table, path: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """Prompt and target of each row of SAMPLE (N strings each); `path` (N) is the path of its image. See `render`.

    A dialogue's prompt is its text up to the last answer, which is the target; its images' paths are in `images`.

    Raises:
        ValueError: the rows are a shard's, which already have prompt and target.
    """
    if "prompt" in table.column_names:
        raise ValueError("rows of a shard have their prompt and target: row_strings writes those of SAMPLE")
    prompt, target = render(table, path)
    talks = _talks(table)
    if not pc.any(talks, min_count=0).as_py():
        return prompt, target
    images = table["images"].combine_chunks()
    sizes = pc.list_value_length(images).fill_null(0).to_numpy(zero_copy_only=False)
    edges = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int32())
    flat = pc.list_flatten(images)
    paths = pa.ListArray.from_arrays(edges, pc.struct_field(flat, "path"))
    sides = (
        pc.struct_field(flat, name).fill_null(1).to_numpy(zero_copy_only=False)
        for name in ("width", "height")
    )
    boxes = DialogueBoxes(table["regions"].combine_chunks(), edges.to_numpy().astype(np.int64), *sides)
    before, answer = dialogue_strings(table["messages"], paths, boxes=boxes)
    return pc.if_else(talks, before, prompt), pc.if_else(talks, answer, target)


def _talks(table: pa.Table) -> pa.Array:
    return pc.equal(table["task"].cast(pa.string()), CONVERSATION).fill_null(False).combine_chunks()
