"""The adapter of GRIT: captions with boxes for their phrases, for three tasks.

For the task `grounded_caption` each caption is one record. For `referring` and `region_caption` each phrase of a
caption is one record, with all boxes of that phrase. Rules on text judge the whole caption, before it is split.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import filters
from curate.adapters import values
from curate.adapters.published import Published, published, sample
from curate.adapters.row_keys import keys
from curate.manifest.settings import Manifest
from curate.marking import judge
from curate.schema import REGION, set_column
from curate.tasks.flat_regions import flatten
from filters.grounding import ground
from filters.spans import distinct

Ints = npt.NDArray[np.int64]

SIDE = 1000  # pixels assumed where an image's size was not published; any number will do, as boxes are shares


def grit(batch: pa.Table, manifest: Manifest, source: str, first_row: int) -> pa.Table:
    """Turn raw rows into SAMPLE's columns: one row for each caption, or one for each phrase (N rows in, M out).

    Arguments and errors: see `pairs`. The caption is not trimmed, as its phrases are given by offsets in it. Recursive
    labels and broken boxes are left out; a caption without any box left is dropped for `no_boxes_left`.
    """
    rows = published(batch, manifest, source, first_row)
    text, broken = values.text(values.plain(rows.table[rows.there["text"]]))
    blank = pc.is_null(values.trimmed(text))
    width, height = (side.fill_null(SIDE) for side in rows.sides)
    chunks, expressions = (_labels(rows, name) for name in ("noun_chunks", "ref_exps"))
    found = ground(text, width, height, chunks, expressions)
    made = {"text": text, "regions": found, "width": width, "height": height}
    reasons = {
        "text_not_utf8": broken,
        "text_missing": blank,
        "no_boxes_left": pc.equal(pc.list_value_length(found), 0),
    }
    table = sample(rows, made, reasons)
    if not has_phrases(manifest.adapter, manifest.task):
        return table
    return _phrases(judge(table, caption_rules(manifest), "rules"))


def has_phrases(adapter: str, task: str) -> bool:
    """Whether the records of this adapter and task are single phrases of a caption."""
    return adapter == "grit" and task != "grounded_caption"


def caption_rules(manifest: Manifest) -> Mapping[str, Mapping[str, Any]]:
    """Return the switched-on rules that judge a caption before it is split into phrases: those that read only `text`.

    Where records are whole captions there are none.
    """
    if not has_phrases(manifest.adapter, manifest.task):
        return {}
    active = manifest.active_rules()
    return {name: of for name, of in active.items() if set(filters.find_rule(name, of).columns) == {"text"}}


def _labels(rows: Published, name: str) -> pa.Array:
    """Return each row's list of labels, seven numbers each (N lists); empty where the row has none."""
    if name not in rows.there:
        return pa.array([[]] * len(rows), pa.list_(pa.list_(pa.float64())))
    return values.lists_of_numbers(rows.table[rows.there[name]], rows.field(name))


def _phrases(table: pa.Table) -> pa.Table:
    """Return one row for each phrase of a caption, with the phrase's boxes (N rows in, M out); dropped rows stay."""
    alive = pc.is_null(table["dropped"]).to_numpy()
    living, dead = np.flatnonzero(alive), np.flatnonzero(~alive)
    captions = table.take(pa.array(living))
    regions = captions["regions"].combine_chunks()
    flat = flatten(regions)
    spans = distinct(flat.row, flat.start, flat.end)
    sizes = np.bincount(spans.group, minlength=len(spans.row))
    first = np.cumsum(sizes) - sizes
    boxes = pc.list_flatten(regions).take(pa.array(spans.order))
    phrases = captions.take(pa.array(spans.row))
    rank = np.arange(len(spans.row)) - np.searchsorted(spans.row, spans.row)
    made = {
        "key": keys(
            "phrase",
            [phrases["key"].combine_chunks().cast(pa.large_string()), _texts(spans.start), _texts(spans.end)],
        ),
        "source": pc.binary_join_element_wise(phrases["source"], _texts(rank).cast(pa.string()), "/"),
        "text": pc.struct_field(boxes, "text").take(pa.array(first)),
        "regions": pa.ListArray.from_arrays(pa.array(np.r_[0, np.cumsum(sizes)], pa.int32()), _whole(boxes)),
        "clip_score": pa.nulls(len(first), pa.float32()),  # the published score is that of the caption
    }
    for name, column in made.items():
        phrases = set_column(phrases, name, column)
    order = np.argsort(np.concatenate([living[spans.row], dead]), kind="stable")
    return pa.concat_tables([phrases, table.take(pa.array(dead))]).take(pa.array(order))


def _whole(boxes: pa.Array) -> pa.Array:
    """Return the regions with null offsets, as the phrase is now the whole text (R regions)."""
    fields = [
        pa.nulls(len(boxes), field.type)
        if field.name in ("start", "end")
        else pc.struct_field(boxes, field.name)
        for field in REGION
    ]
    return pa.StructArray.from_arrays(fields, fields=list(REGION))


def _texts(numbers: Ints) -> pa.Array:
    return pa.array(numbers).cast(pa.large_string())
