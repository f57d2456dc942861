"""Converts regions from the published image's pixels to the stored image's pixels.

The size that a data set states and the size of the stored image may differ: images are shrunk, by curate or by the
server, and turned upright. Regions keep their shares of width and height. Published boxes are taken as boxes of the
upright image. But if the published width and height are those of the image before it was turned by 90 degrees, the
boxes are turned with the image.
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
    """Return the table (N rows) with its regions in pixels of the stored images, clipped to them.

    Regions without a finite area within the image are removed.

    Args:
        table: rows of SAMPLE; `width` and `height` are those of the stored images.
        published: the same rows with the published `width` and `height`.
        turn: the EXIF orientations that were undone (N, 1 to 8).
        decoded: whether each image was decoded (N); the regions of other rows stay as they are.
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
    """Turn quads whose image was turned by 90 degrees; return them, and the size of the image that each refers to."""
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
    """Return the axis-parallel boxes around quads, corners clockwise from the top left (R x 4 x 2)."""
    low, high = quads.min(axis=1), quads.max(axis=1)
    corners = [low, np.stack([high[:, 0], low[:, 1]], 1), high, np.stack([low[:, 0], high[:, 1]], 1)]
    return np.stack(corners, axis=1)


def with_quads(regions: pa.ListArray, quads: Floats) -> pa.Array:
    """Return lists of R regions with their quads replaced by `quads` (R x 8)."""
    row = pc.list_parent_indices(regions).to_numpy().astype(np.int64)
    made = _lists(pc.list_flatten(regions), quads.reshape(-1, 4, 2), row, len(regions))
    return pc.if_else(regions.is_valid(), made, None)


def _lists(flat: pa.Array, quads: Floats, row: Ints, rows: int) -> pa.Array:
    """Return N lists of the R regions `flat` with new quads (R x 4 x 2); `row` is the row of each region."""
    fields = [pc.struct_field(flat, field.name) for field in REGION]
    place = REGION.get_field_index("quad")
    fields[place] = pa.FixedSizeListArray.from_arrays(pa.array(quads.astype(np.float32).ravel()), 8)
    offsets = np.searchsorted(row, np.arange(rows + 1))
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.StructArray.from_arrays(fields, fields=list(REGION))
    )


def _sizes(table: pa.Table) -> Floats:
    """Return width and height (N x 2); 0 for unknown ones."""
    return np.stack([_numbers(table[name]) for name in ("width", "height")], axis=1)


def _numbers(values: pa.Array | pa.ChunkedArray) -> Floats:
    numbers: Floats = values.fill_null(0).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers
