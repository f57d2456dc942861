"""The adapter of phrases and their boxes: Visual Genome's regions, RefCOCO's references.

A record is a phrase with its box, for the tasks `referring` (from the phrase to the box) and `region_caption` (from
the box to the phrase). Boxes are in pixels of the published image.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.adapters import values
from curate.adapters.published import Published, published, sample
from curate.manifest.settings import Manifest
from curate.schema import REGION
from filters.grounding import clip_boxes, quads

CORNER = ("x", "y", "box_width", "box_height")
UNKNOWN_SIDE = 2.0**31  # pixels: without a published size, boxes are not clipped before the image is decoded

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def regions(batch: pa.Table, manifest: Manifest, source: str, first_row: int) -> pa.Table:
    """Turn raw rows into SAMPLE's columns, one phrase with its box a row.

    Arguments and errors: see `pairs`. Rows that hold several phrases are unfolded (N rows in, M out). A row whose box
    is not four finite numbers, or has no area in the image, is dropped for `no_boxes_left`.
    """
    rows = published(batch, manifest, source, first_row)
    text, broken = rows.text("text")
    box, sound = _boxes(rows)
    given = pa.array([" ".join(f"{side:g}" for side in one) for one in box.tolist()], pa.large_string())
    reasons = {
        "text_not_utf8": broken,
        "text_missing": pc.is_null(text),
        "no_boxes_left": pa.array(~sound),
    }
    made = {"text": text, "regions": single(text, box, sound)}
    table = sample(rows, made, reasons, identity=[given])
    place, lost = table.schema.get_field_index("detail"), pc.equal(table["dropped"], "no_boxes_left")
    detail = pc.if_else(lost.fill_null(False), given, table["detail"])
    return table.set_column(place, table.schema.field(place), detail)


def single(text: pa.Array, box: Floats, sound: Bools) -> pa.Array:
    """Return the boxes as lists of one region each, or empty lists where a box is not sound (N lists).

    Args:
        text: the phrases (N).
        box: x0, y0, x1, y1 in pixels (N x 4).
        sound: whether a row's box can be used (N).
    """
    rows = pa.array(np.flatnonzero(sound))
    none = pa.nulls(len(rows), pa.int32())
    fields = [
        text.take(rows).cast(pa.string()),
        none,  # the phrase is the whole text
        none,
        pa.FixedSizeListArray.from_arrays(pa.array(quads(box[sound]).ravel()), 8),
        pa.nulls(len(rows), pa.float32()),
    ]
    flat = pa.StructArray.from_arrays(fields, fields=list(REGION))
    offsets = pa.array(np.r_[0, np.cumsum(sound)], pa.int32())
    return pa.ListArray.from_arrays(offsets, flat)


def _boxes(rows: Published) -> tuple[Floats, Bools]:
    """Return each row's box as x0, y0, x1, y1 in pixels of the published image (N x 4), and whether it is sound (N).

    All four are NaN where a box is not four finite numbers.
    """
    if "box" in rows.there:
        box = values.numbers(rows.table[rows.there["box"]], rows.field("box"), 4)
    else:
        sides = [values.number(rows.raw(name), len(rows)) for name in CORNER]
        box = np.stack(sides, axis=1)
    sound: Bools = np.logical_and.reduce(np.isfinite(box), axis=1)
    box = np.where(sound[:, None], box, 0.0)
    box[:, 2:] += box[:, :2]
    sizes = np.stack([values.number(side, len(rows)) for side in rows.sides] * 2, axis=1)
    box, area = clip_boxes(box, np.where(np.isfinite(sizes), sizes, UNKNOWN_SIDE))
    return np.where(sound[:, None], box, np.nan), sound & area
