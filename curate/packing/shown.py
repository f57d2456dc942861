"""The images that rows show: what they cost in tokens, and at which token each is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.images.header_sides import header_sides
from curate.packing.encode import Encoded
from curate.packing.sequences import SAMPLE_IMAGE
from curate.packing.shard_groups import IMAGE_PLACE, IMAGES_PLACE
from curate.storage.image_places import PLACE
from curate.tasks.dialect import Dialect
from curate.tasks.fault_details import elongated
from curate.tasks.image_cost import Cost, Costs, image_costs
from curate.tasks.shard_rows import is_dialogue

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ShownImages:
    """The I images that N rows show, row by row: those of row n are the images from starts[n] to before starts[n + 1].

    The rows' lists may hold more or fewer images than the rows show: these are "all that the rows have".
    """

    starts: Ints  # N + 1
    number: Ints  # index of each image (I) among all that the rows have; -1 if the row lacks it
    bytes: pa.Array  # of all that the rows have; null if they were not read
    place: pa.StructArray  # PLACE of all that the rows have; null if it is not known
    path: pa.Array
    width: Ints  # of the I images, in pixels; 1 if images of any size cost the same
    height: Ints
    headless: Bools  # which of the I images have bytes but no readable size
    costs: Costs

    def lacking(self, embed: bool) -> Bools:
        """Return which rows show an image that they do not have (N); `embed`: its bytes or place, else its path."""
        known = pc.or_(pc.is_valid(self.bytes), pc.is_valid(self.place)) if embed else pc.is_valid(self.path)
        there = known.to_numpy(zero_copy_only=False)
        return self._any((self.number < 0) | ~np.append(there, False)[self.number])

    def shortage(self, row: int) -> str:
        """Say how many images a row shows, and how many of them it has."""
        shown = self.number[self.starts[row] : self.starts[row + 1]]
        return f"shown={len(shown)} images={int((shown >= 0).sum())}"

    def refused(self) -> Bools:
        """Which rows show an image that the model's processor refuses (N)."""
        return self._any((self.number >= 0) & ~self.costs.taken)

    def unreadable(self) -> Bools:
        """Which rows show an image whose bytes are no image (N)."""
        return self._any(self.headless)

    def nonsense(self, row: int) -> str:
        """Say which image of a row is no image, and how its bytes begin."""
        first, stop = self.starts[row], self.starts[row + 1]
        at = first + int(np.argmax(self.headless[first:stop]))
        body = self.bytes[int(self.number[at])].as_py() or b""
        return f"image {at - first + 1}: begins with {body[:8]!r}"

    def refusal(self, row: int, cost: Cost) -> str:
        """Say which image of a row the model's processor refuses (its number in the row, from 1), and why."""
        first, stop = self.starts[row], self.starts[row + 1]
        at = first + int(np.argmin(self.costs.taken[first:stop]))
        where = f"image {at - first + 1}: " if stop - first > 1 else ""
        return where + elongated(int(self.width[at]), int(self.height[at]), cost)

    def _any(self, flags: Bools) -> Bools:
        found = np.zeros(len(self.starts) - 1, bool)
        found[np.repeat(np.arange(len(found)), np.diff(self.starts))[flags]] = True
        return found


def images_of(table: pa.Table, shown: Ints, dialect: Dialect) -> ShownImages:
    """Return the images of N rows of a shard; `shown` is the number of images that each row shows (N)."""
    has, there = _all(table)
    row = np.repeat(np.arange(len(shown)), shown)
    starts = np.concatenate([[0], np.cumsum(shown)])
    nth = np.arange(len(row)) - starts[row]
    first = np.concatenate([[0], np.cumsum(has)])[:-1]
    number = np.where(nth < has[row], first[row] + nth, -1)
    if dialect.cost.rule == "constant":
        width, height = (np.ones(len(there.body), np.int64) for _ in range(2))
    else:
        width, height = _known_sides(there.body, there.width, there.height)
    width, height = np.append(width, 1)[number], np.append(height, 1)[number]
    headless = (width < 1) | (height < 1)
    width, height = np.maximum(width, 1), np.maximum(height, 1)
    costs = image_costs(dialect.cost, width, height, shown[row])
    return ShownImages(starts, number, there.body, there.place, there.path, width, height, headless, costs)


def lists(images: ShownImages, rows: Ints, taken: Encoded, mark: int | None, pad: int, file: int) -> pa.Array:
    """Return the images of M drawn samples, with the token at which each stands (M lists).

    An image whose place in the shard is known comes without its bytes.

    Args:
        images: the images of the rows.
        rows: the row of each sample (M).
        taken: the tokens of the samples.
        mark: the token before each image; None: the dialect has none, so an image stands at its first pad.
        pad: the pad token of images.
        file: the number of the shard.
    """
    sample, start = _starts(taken, mark, pad)
    number = np.arange(len(sample)) - np.searchsorted(sample, sample)
    which = images.starts[:-1][rows[sample]] + number
    shown = pa.array(images.number[which])
    place = images.place.take(shown)
    known = place.is_valid()
    body = pc.if_else(known, pa.scalar(None, pa.large_binary()), images.bytes.take(shown))
    sides = [pa.array(side[which], pa.int32()) for side in (images.costs.rows, images.costs.columns)]
    number = pc.if_else(known, pa.scalar(file, pa.int32()), pa.scalar(None, pa.int32()))
    at = [pc.struct_field(place, field.name) for field in PLACE]
    fields = [body, images.path.take(shown), pa.array(start, pa.int32()), *sides, number, *at]
    edges = np.concatenate([[0], np.cumsum(np.bincount(sample, minlength=len(rows)))])
    made = pa.StructArray.from_arrays(fields, fields=list(SAMPLE_IMAGE))
    return pa.LargeListArray.from_arrays(pa.array(edges, pa.int64()), made)


def _starts(taken: Encoded, mark: int | None, pad: int) -> tuple[Ints, Ints]:
    """Return the sample of each image, and the index of the token in it at which the image stands."""
    found = taken.tokens == (pad if mark is None else mark)
    if mark is None:
        begins = np.zeros(len(found) + 1, bool)
        begins[taken.starts] = True
        found = found & (begins[:-1] | ~np.concatenate([[False], found[:-1]]))
    places = np.flatnonzero(found)
    sample = np.searchsorted(taken.starts, places, side="right") - 1
    return sample, places - taken.starts[sample]


class _HeldImages(NamedTuple):
    """All images that rows have, and what is known of each."""

    row: Ints
    body: pa.Array  # large_binary
    place: pa.StructArray
    path: pa.Array
    width: Ints  # 0: not known
    height: Ints


def _all(table: pa.Table) -> tuple[Ints, _HeldImages]:
    """Return how many images each row has, and all images, row by row."""
    talks = is_dialogue(table)
    one = _single(table, talks)
    has = np.bincount(one.row, minlength=table.num_rows).astype(np.int64)
    if not talks.any():
        return has, one
    many = _several(table, talks)
    has += np.bincount(many.row, minlength=table.num_rows)
    order = np.argsort(np.concatenate([one.row, many.row]), kind="stable")
    body, place, path = (
        pa.chunked_array(list(pair)).combine_chunks().take(pa.array(order))
        for pair in ((one.body, many.body), (one.place, many.place), (one.path, many.path))
    )
    row, width, height = (
        np.concatenate(pair)[order]
        for pair in ((one.row, many.row), (one.width, many.width), (one.height, many.height))
    )
    return has, _HeldImages(row, body, place, path, width, height)


def _single(table: pa.Table, talks: Bools) -> _HeldImages:
    """Return the images of rows that are no dialogues: at most one each."""
    image = table["image"].combine_chunks()
    alone = pc.is_valid(pc.struct_field(image, "path")).to_numpy(zero_copy_only=False) & ~talks
    zeros = pa.array(np.zeros(len(image), np.int64))
    given = [table[name] if name in table.column_names else zeros for name in ("width", "height")]
    width, height = (side.fill_null(0).to_numpy().astype(np.int64)[alone] for side in given)
    place = pa.nulls(len(image), PLACE)
    if IMAGE_PLACE in table.column_names:
        place = table[IMAGE_PLACE].combine_chunks()
    mask = pa.array(alone)
    path = pc.struct_field(image, "path").filter(mask)
    return _HeldImages(
        np.flatnonzero(alone), _bodies(image).filter(mask), place.filter(mask), path, width, height
    )


def _several(table: pa.Table, talks: Bools) -> _HeldImages:
    """Return the images of dialogues."""
    lists = table["images"].combine_chunks()
    counts = np.where(talks, pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False), 0)
    flat = pc.list_flatten(lists.filter(pa.array(talks)))
    place = pa.nulls(len(flat), PLACE)
    if IMAGES_PLACE in table.column_names:
        place = pc.list_flatten(table[IMAGES_PLACE].combine_chunks().filter(pa.array(talks)))
    none = np.zeros(len(flat), np.int64)
    row = np.repeat(np.arange(len(counts)), counts.astype(np.int64))
    return _HeldImages(row, _bodies(flat), place, pc.struct_field(flat, "path").cast(pa.string()), none, none)


def _bodies(images: pa.StructArray) -> pa.Array:
    """Return the bytes of images; null if they were not read."""
    if images.type.get_field_index("bytes") < 0:
        return pa.nulls(len(images), pa.large_binary())
    return pc.struct_field(images, "bytes").cast(pa.large_binary())


def _known_sides(body: pa.Array, width: Ints, height: Ints) -> tuple[Ints, Ints]:
    """Fill in unknown widths and heights from the images' headers; 0 for bytes that are no image, 1 without bytes."""
    width, height = width.copy(), height.copy()
    unknown = np.flatnonzero((width < 1) | (height < 1))
    bodies = body.take(pa.array(unknown))
    width[unknown], height[unknown] = header_sides(bodies)
    absent = unknown[bodies.is_null().to_numpy(zero_copy_only=False)]
    width[absent], height[absent] = 1, 1
    return width, height
