"""Write rows of shards again in another dialect, from the columns that their strings were made from."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.chat import Pieces, dialogue_faults, task_pieces
from curate.tasks.coordinates import beyond_image
from curate.tasks.dialect import Dialect
from curate.tasks.dialogue_places import DialogueBoxes, region_counts
from curate.tasks.flat_regions import flatten
from curate.tasks.formats import CONVERSATION, FORMATS, QWEN_VL
from curate.tasks.image_cost import image_costs
from curate.tasks.render import render
from curate.tasks.row_faults import faults, phrase_faults
from curate.tasks.task_columns import COLUMNS, SHARD_ONLY, samples

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


NEVER_WRITTEN = r"<\|[A-Za-z0-9_]+\|>|<imgpad>"  # by Qwen-VL's formats, except that of dialogues


def is_dialogue(rows: pa.Table) -> Bools:
    """Which rows are dialogues (N)."""
    return _is(rows, CONVERSATION)


def is_text(rows: pa.Table) -> Bools:
    """Which rows are plain texts (N)."""
    return _is(rows, "text")


def shard_faults(rows: pa.Table, dialect: Dialect) -> pa.Array:
    """Why the dialect cannot write rows of a shard (N strings); null where it can."""
    rows, unknown = _known_tasks(rows)
    found = pc.if_else(unknown, "task_not_in_dialect", faults(samples(rows), dialect))
    found = pc.coalesce(found, span_faults(rows))
    return pc.if_else(pa.array(is_dialogue(rows)), talk_faults(rows, dialect), found)


def handed_faults(rows: pa.Table) -> pa.Array:
    """Why rows of a shard cannot be used with the prompts and targets that they have (N strings); null where they can.

    For dialogues, the faults are those of `dialogue_faults` in Qwen-VL's dialect. For other rows they are
    `text_missing` (the target is empty, or a task with an image has no prompt), `text_has_control_token` (a token that
    Qwen-VL's formats never write), `box_broken` (not finite, or completely outside the image), and those of
    `span_faults`.
    """
    held = [
        pc.match_substring_regex(rows[name], NEVER_WRITTEN).fill_null(False) for name in ("prompt", "target")
    ]
    held.append(pc.match_substring(rows["target"], "<img>").fill_null(False))
    held.append(pc.greater(pc.count_substring(rows["prompt"], "<img>"), 1).fill_null(False))
    shown = pc.is_in(rows["task"].cast(pa.string()), pa.array([task for task in FORMATS if task != "text"]))
    empty = pc.equal(pc.binary_length(rows["target"]), 0).fill_null(True)
    empty = pc.or_(empty, pc.and_(pc.is_null(rows["prompt"]), shown))
    boxes = pc.if_else(pa.array(_broken_boxes(rows)), "box_broken", span_faults(rows))
    others = pc.if_else(
        empty, "text_missing", pc.if_else(reduce(pc.or_, held), "text_has_control_token", boxes)
    )
    return pc.if_else(pa.array(is_dialogue(rows)), talk_faults(rows, QWEN_VL), others)


def unknown_tasks(rows: pa.Table) -> pa.Array:
    """Why no prompt can be made of rows of a shard by their task (N strings): `task_missing`, `task_not_in_dialect`."""
    task = rows["task"].cast(pa.string()).combine_chunks()
    known = pc.is_in(task, pa.array([*FORMATS, CONVERSATION]))
    return pc.if_else(pc.is_null(task), "task_missing", pc.if_else(known, None, "task_not_in_dialect"))


def span_faults(rows: pa.Table) -> pa.Array:
    """What is wrong with the phrases of grounded captions in a shard (N strings): `span_not_in_text`, `spans_overlap`.

    Dialects that write such a caption without marks would not notice.
    """
    grounded = _is(rows, "grounded_caption")
    none = pa.nulls(rows.num_rows, pa.string())
    if not grounded.any() or not {*COLUMNS, *SHARD_ONLY} <= set(rows.column_names):
        return none
    return pc.replace_with_mask(
        none, pa.array(grounded), phrase_faults(samples(rows.filter(pa.array(grounded))))
    )


def unwritten_boxes(rows: pa.Table) -> Bools:
    """Which rows are dialogues whose prompt and target have another number of boxes and quads than of regions (N)."""
    if "regions" not in rows.column_names:
        return np.zeros(rows.num_rows, bool)
    written = [
        pc.count_substring_regex(rows[name], "</(?:box|quad)>").fill_null(0).to_numpy()
        for name in ("prompt", "target")
    ]
    wanted = region_counts(rows["regions"], rows.num_rows)
    other: Bools = written[0] + written[1] != wanted
    return is_dialogue(rows) & (wanted > 0) & other


def _broken_boxes(rows: pa.Table) -> Bools:
    """Which rows have a region that is not finite or lies completely outside their image (N)."""
    broken = np.zeros(rows.num_rows, bool)
    if "regions" not in rows.column_names:
        return broken
    flat = flatten(rows["regions"].combine_chunks())
    width, height = (rows[side].fill_null(0).to_numpy()[flat.row] for side in ("width", "height"))
    sound = np.isfinite(flat.quad).all(axis=1) & ~beyond_image(flat.quad, width, height)
    broken[flat.row[~sound]] = True
    return broken


def talk_faults(rows: pa.Table, dialect: Dialect) -> pa.Array:
    """Why the dialect cannot write dialogues (N strings); null where it can, and for rows that are no dialogues."""
    talks = is_dialogue(rows)
    if not talks.any():
        return pa.nulls(rows.num_rows, pa.string())
    images = pc.list_value_length(rows["images"]).fill_null(0).to_numpy().astype(np.int64)
    return pc.if_else(
        pa.array(talks), dialogue_faults(rows["messages"], images, dialect, rows["regions"]), None
    )


def dialogue_boxes(rows: pa.Table, sides: Callable[[pa.Array], tuple[Ints, Ints]]) -> DialogueBoxes | None:
    """The boxes in the dialogues among N rows; None where there are none.

    `sides` returns width and height in pixels of a column of encoded images (null for images that are not needed).
    """
    if "regions" not in rows.column_names or "images" not in rows.column_names:
        return None
    talks = is_dialogue(rows)
    located = talks & (region_counts(rows["regions"], rows.num_rows) > 0)
    if not located.any():
        return None
    regions, lists = (rows[name].combine_chunks() for name in ("regions", "images"))
    counts = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    bodies = pc.struct_field(pc.list_flatten(lists), "bytes")
    width, height = sides(pc.if_else(pa.array(np.repeat(located, counts)), bodies, None))
    starts = np.concatenate([[0], np.cumsum(counts)])
    return DialogueBoxes(pc.if_else(pa.array(talks), regions, None), starts, width, height)


def refused_images(
    rows: pa.Table, dialect: Dialect, sides: Callable[[pa.Array], tuple[Ints, Ints]]
) -> pa.Array:
    """Why the model cannot take an image of each row (N strings): `image_too_elongated` or `not_an_image`; else null.

    A row's own image is examined only if its width or height is not known; for `sides` see `dialogue_boxes`.
    """
    found = np.full(rows.num_rows, -1)
    names = pa.array(["not_an_image", "image_too_elongated"])
    if dialect.cost.rule == "constant":
        return pa.nulls(rows.num_rows, pa.string())
    unknown = pc.or_(pc.is_null(rows["width"]), pc.is_null(rows["height"])).combine_chunks()
    own = pc.if_else(unknown, pc.struct_field(rows["image"].combine_chunks(), "bytes"), None)
    shown = [(own, np.arange(rows.num_rows), np.ones(rows.num_rows, np.int64))]
    if (talks := is_dialogue(rows)).any():
        lists = rows["images"].combine_chunks()
        counts = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        row = np.repeat(np.arange(rows.num_rows), counts)
        bodies = pc.struct_field(pc.list_flatten(lists), "bytes")
        shown.append((pc.if_else(pa.array(talks[row]), bodies, None), row, counts[row]))
    for bodies, row, counts in shown:
        width, height = sides(bodies)
        there = (width > 0) & (height > 0)
        costs = image_costs(dialect.cost, width[there], height[there], counts[there])
        found[row[there][~costs.taken]] = 1
        has_bytes = pc.greater(pc.binary_length(bodies), 0).fill_null(False).to_numpy(zero_copy_only=False)
        found[row[~there & has_bytes]] = 0
    return names.take(pa.array(found, mask=found < 0))


def rendered(rows: pa.Table, dialect: Dialect) -> tuple[pa.Array, pa.Array]:
    """Prompt and target in the dialect, as `render` returns them (N strings each); null for dialogues and faults."""
    return render(samples(_known_tasks(rows)[0]), None, dialect)


def shard_pieces(rows: pa.Table, dialect: Dialect) -> Pieces:
    """Rows of a shard, none of which may be a dialogue, as pieces in the dialect."""
    prompt, target = rendered(rows, dialect)
    return task_pieces(prompt.fill_null(""), target.fill_null(""), dialect, is_text(rows))


def _known_tasks(rows: pa.Table) -> tuple[pa.Table, pa.Array]:
    """The rows with null for tasks that no dialect has, and which rows had such a task (N)."""
    task = rows["task"].cast(pa.string()).combine_chunks()
    unknown = pc.equal(unknown_tasks(rows), "task_not_in_dialect").fill_null(False)
    if not pc.any(unknown, min_count=0).as_py():
        return rows, unknown
    place = rows.schema.get_field_index("task")
    return rows.set_column(place, "task", pc.if_else(unknown, None, task)), unknown


def _is(rows: pa.Table, task: str) -> Bools:
    found: Bools = pc.equal(rows["task"].cast(pa.string()), task).fill_null(False).to_numpy().astype(bool)
    return found
