"""The images that rows show: what they cost, and where they stand among the tokens."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image as Pillow

from curate.packing.encode import Encoded
from curate.packing.sequences import SAMPLE_IMAGE
from curate.tasks.dialect import Dialect
from curate.tasks.image_cost import Costs, image_costs
from curate.tasks.shard_rows import is_dialogue

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ShownImages:
    """I images that N rows show, row by row and in their order: row n's are those from starts[n] to starts[n + 1]."""

    starts: Ints  # N + 1
    place: Ints  # of each image among all that the rows have; -1 where a row has none
    bytes: pa.Array  # of all that the rows have; null where they were not read
    path: pa.Array
    costs: Costs  # of the I images

    def lacking(self, embed: bool) -> Bools:
        """Which rows show an image that they do not have (N)."""
        there = pc.is_valid(self.bytes if embed else self.path).to_numpy(zero_copy_only=False)
        return self._any((self.place < 0) | ~np.append(there, False)[self.place])

    def refused(self) -> Bools:
        """Which rows show an image that the model does not take (N)."""
        return self._any((self.place >= 0) & ~self.costs.taken)

    def _any(self, flags: Bools) -> Bools:
        found = np.zeros(len(self.starts) - 1, bool)
        found[np.repeat(np.arange(len(found)), np.diff(self.starts))[flags]] = True
        return found


def images_of(table: pa.Table, shown: Ints, dialect: Dialect) -> ShownImages:
    """The images of N rows of a shard, of which each shows so many."""
    has, body, path, width, height = _all(table)
    row = np.repeat(np.arange(len(shown)), shown)
    starts = np.concatenate([[0], np.cumsum(shown)])
    number = np.arange(len(row)) - starts[row]
    first = np.concatenate([[0], np.cumsum(has)])[:-1]
    place = np.where(number < has[row], first[row] + number, -1)
    if dialect.cost.rule == "constant":
        width, height = np.ones(len(body), np.int64), np.ones(len(body), np.int64)
    else:
        width, height = _known_sides(body, width, height)
    width, height = np.append(width, 1)[place], np.append(height, 1)[place]
    return ShownImages(starts, place, body, path, image_costs(dialect.cost, width, height, shown[row]))


def lists(
    images: ShownImages, rows: Ints, taken: Encoded, mark: int | None, pad: int, embed: bool
) -> pa.Array:
    """The images of drawn samples, of which `rows` says the row, with the token at which each stands (M lists).

    That is its `mark`, or the first of its pads where the dialect has none.
    """
    sample, start = _starts(taken, mark, pad)
    number = np.arange(len(sample)) - np.searchsorted(sample, sample)
    which = images.starts[:-1][rows[sample]] + number
    place = pa.array(images.place[which])
    body = images.bytes.take(place) if embed else pa.nulls(len(which), pa.large_binary())
    sides = [pa.array(side[which], pa.int32()) for side in (images.costs.rows, images.costs.columns)]
    fields = [body.cast(pa.large_binary()), images.path.take(place), pa.array(start, pa.int32()), *sides]
    edges = np.concatenate([[0], np.cumsum(np.bincount(sample, minlength=len(rows)))])
    made = pa.StructArray.from_arrays(fields, fields=list(SAMPLE_IMAGE))
    return pa.LargeListArray.from_arrays(pa.array(edges, pa.int64()), made)


def _starts(taken: Encoded, mark: int | None, pad: int) -> tuple[Ints, Ints]:
    """The sample of each image, and the token in it at which the image stands."""
    found = taken.tokens == (pad if mark is None else mark)
    if mark is None:
        begins = np.zeros(len(found) + 1, bool)
        begins[taken.starts] = True
        found = found & (begins[:-1] | ~np.concatenate([[False], found[:-1]]))
    places = np.flatnonzero(found)
    sample = np.searchsorted(taken.starts, places, side="right") - 1
    return sample, places - taken.starts[sample]


def _all(table: pa.Table) -> tuple[Ints, pa.Array, pa.Array, Ints, Ints]:
    """How many images each row has; and of all of them the bytes, path, width and height (0: not known)."""
    image = table["image"].combine_chunks()
    talks = is_dialogue(table)
    names = [field.name for field in image.type]
    alone = pc.is_valid(pc.struct_field(image, "path")).to_numpy(zero_copy_only=False) & ~talks
    body = pc.struct_field(image, "bytes") if "bytes" in names else pa.nulls(len(image), pa.binary())
    zeros = pa.array(np.zeros(len(image), np.int64))
    given = [table[name] if name in table.column_names else zeros for name in ("width", "height")]
    sides = [side.fill_null(0).to_numpy().astype(np.int64) for side in given]
    has = alone.astype(np.int64)
    one = [
        values.filter(pa.array(alone))
        for values in (body.cast(pa.large_binary()), pc.struct_field(image, "path"))
    ]
    if not talks.any():
        return has, one[0], one[1], sides[0][alone], sides[1][alone]
    several = table["images"].combine_chunks()
    counts = np.where(talks, pc.list_value_length(several).fill_null(0).to_numpy(zero_copy_only=False), 0)
    flat = pc.list_flatten(several.filter(pa.array(talks)))
    row = np.concatenate([np.flatnonzero(alone), np.repeat(np.arange(len(has)), counts)])
    order = pa.array(np.argsort(row, kind="stable"))
    none = np.zeros(len(flat), np.int64)
    joined = [
        pa.chunked_array([one[0], pc.struct_field(flat, "bytes").cast(pa.large_binary())])
        .combine_chunks()
        .take(order),
        pa.chunked_array([one[1], pc.struct_field(flat, "path").cast(pa.string())])
        .combine_chunks()
        .take(order),
    ]
    both = [np.concatenate([side[alone], none])[order.to_numpy()] for side in sides]
    return has + counts, joined[0], joined[1], both[0], both[1]


def _known_sides(body: pa.Array, width: Ints, height: Ints) -> tuple[Ints, Ints]:
    """Width and height of each image, where they are not known from its header; at least 1."""
    width, height = width.copy(), height.copy()
    for place in np.flatnonzero((width < 1) | (height < 1)):
        if body[int(place)].is_valid:
            try:
                with Pillow.open(io.BytesIO(body[int(place)].as_py())) as opened:
                    width[place], height[place] = opened.size
            except (OSError, ValueError, Pillow.DecompressionBombError):
                width[place], height[place] = 1, 1_000_000  # refused
    return np.maximum(width, 1), np.maximum(height, 1)
