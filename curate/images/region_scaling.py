"""Regions of published pixels become regions of the image that is stored.

What a data set says of an image's size and what was decoded may differ: images are shrunk, on request or by
whoever serves them, and turned upright. Regions keep their shares of width and height. Published boxes are
taken to be of the upright picture, unless the published width and height are those of the picture lying on
its side: then they are turned with it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.schema import REGION, set_column

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ON_ITS_SIDE = 5  # EXIF orientations from here on swap width and height


def fit(table: pa.Table, published: pa.Table, turn: pa.Array, decoded: pa.Array) -> pa.Table:
    """The table with its regions in pixels of the stored images, cut off at the edges (N rows).

    `published` has the widths and heights before they were decoded, `turn` the EXIF orientations that were
    undone; rows where `decoded` is false stay as they are. Regions without a finite area in the image go.
    """
    regions = table["regions"].combine_chunks()
    if not pc.any(pc.and_(decoded, pc.greater(pc.list_value_length(regions), 0))).as_py():
        return table
    regions = regions.fill_null([])
    row = pc.list_parent_indices(regions).to_numpy().astype(np.int64)
    flat = pc.list_flatten(regions)
    quads = pc.list_flatten(pc.struct_field(flat, "quad")).to_numpy().astype(np.float64).reshape(-1, 4, 2)
    stored = _sizes(table)[row]
    quads, frame = _upright(quads, _sizes(published)[row], stored, _numbers(turn)[row])
    scale = np.where(frame > 0, stored / np.maximum(frame, 1), 1.0)
    placed = np.clip(quads * scale[:, None, :], 0, stored[:, None, :])
    moves = decoded.fill_null(False).to_numpy(zero_copy_only=False)[row]
    sides = placed.max(axis=1) - placed.min(axis=1)
    sound = ~moves | (np.isfinite(quads).all(axis=(1, 2)) & (sides > 0).all(axis=1))
    placed = np.where(moves[:, None, None], placed, quads)[sound]
    return set_column(table, "regions", _lists(flat.filter(pa.array(sound)), placed, row[sound], len(table)))


def _upright(quads: Floats, published: Floats, stored: Floats, turn: Floats) -> tuple[Floats, Floats]:
    """The quads turned as their images were, and the sizes of the frames that they then are in."""
    lies = (turn >= ON_ITS_SIDE) & (np.prod([p[:, 0] - p[:, 1] for p in (published, stored)], axis=0) < 0)
    if not lies.any():
        return quads, published
    width, height = published[:, :1], published[:, 1:]
    x, y = quads[..., 0], quads[..., 1]
    turned = {5: (y, x), 6: (height - y, x), 7: (height - y, width - x), 8: (y, width - x)}
    out, frame = quads.copy(), published.copy()
    for orientation, points in turned.items():
        which = lies & (turn == orientation)
        out[which] = _boxes(np.stack(points, axis=-1)[which])
    frame[lies] = published[lies][:, ::-1]
    return out, frame


def _boxes(quads: Floats) -> Floats:
    """The upright boxes around quads, corners clockwise from the top left (R x 4 x 2)."""
    low, high = quads.min(axis=1), quads.max(axis=1)
    corners = [low, np.stack([high[:, 0], low[:, 1]], 1), high, np.stack([low[:, 0], high[:, 1]], 1)]
    return np.stack(corners, axis=1)


def with_quads(regions: pa.ListArray, quads: Floats) -> pa.Array:
    """Lists of regions with other quads (R x 8)."""
    row = pc.list_parent_indices(regions).to_numpy().astype(np.int64)
    made = _lists(pc.list_flatten(regions), quads.reshape(-1, 4, 2), row, len(regions))
    return pc.if_else(regions.is_valid(), made, None)


def _lists(flat: pa.Array, quads: Floats, row: Ints, rows: int) -> pa.Array:
    """Regions with new quads (R), as the lists of their rows (N lists)."""
    fields = [pc.struct_field(flat, field.name) for field in REGION]
    place = REGION.get_field_index("quad")
    fields[place] = pa.FixedSizeListArray.from_arrays(pa.array(quads.astype(np.float32).ravel()), 8)
    offsets = np.searchsorted(row, np.arange(rows + 1))
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.StructArray.from_arrays(fields, fields=list(REGION))
    )


def _sizes(table: pa.Table) -> Floats:
    """Width and height (N x 2); 0 where unknown."""
    return np.stack([_numbers(table[name]) for name in ("width", "height")], axis=1)


def _numbers(values: pa.Array | pa.ChunkedArray) -> Floats:
    numbers: Floats = values.fill_null(0).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers
