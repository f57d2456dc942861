"""Write the boxes within dialogues in a dialect's notation.

If a model has marks for phrases, the phrase is written in them, and its boxes follow (`<ref>a cat</ref><box>…</box>`).
If its entries are JSON, a phrase with its boxes becomes a JSON list of entries, and neighbouring ones share one list; a
box without a phrase is written alone. For other models the phrase is written as text, then a space and the boxes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.coordinates import bounding_boxes
from curate.tasks.dialect import Dialect, PlaceNotation
from curate.tasks.flat_regions import Flat, flatten, join
from curate.tasks.image_cost import image_costs
from curate.tasks.notation import TEXT, Sides, fill, json_strings, write_boxes, write_quads
from curate.tasks.turns import BOX, IMAGE, PHRASE, Turns

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class DialogueBoxes(NamedTuple):
    """The regions of N dialogues, and the sides of their images (I): starts[n] to starts[n + 1] are dialogue n's."""

    regions: pa.Array  # N lists of REGION, in pixels of the image that each is in
    starts: Ints  # N + 1
    width: Ints  # I, in pixels
    height: Ints


class _CutAtBoxes(NamedTuple):
    """The contents of M messages, cut at their B boxes (`<bbox>`) into B + M segments."""

    segments: pa.Array
    turn: Ints  # the message of each segment
    last: Bools  # which segments end a message; each other one is followed by a box

    @property
    def before(self) -> Ints:
        """The segment before each box (B)."""
        return np.flatnonzero(~self.last)


def _cut(content: pa.Array) -> _CutAtBoxes:
    parted = pc.split_pattern(content, BOX)
    sizes = pc.list_value_length(parted).to_numpy(zero_copy_only=False)
    turn = np.repeat(np.arange(len(sizes)), sizes)
    last = np.zeros(len(turn), bool)
    last[np.cumsum(sizes) - 1] = True
    return _CutAtBoxes(pc.list_flatten(parted), turn, last)


def shown_in(turns: Turns) -> tuple[Ints, Ints]:
    """For each `<bbox>`: its dialogue, and the number of its image there, from 0 (B each); -1 if it has no image.

    A box belongs to the image that was shown last before it. But a box before the first image of its own turn belongs
    to that image.
    """
    cut = _cut(turns.content)
    shown = pc.count_substring(cut.segments, IMAGE).to_numpy(zero_copy_only=False) * turns.asks[cut.turn]
    row = turns.row[cut.turn]
    until = np.cumsum(shown)
    before = np.concatenate([[0], until])
    earlier, begin = before[np.searchsorted(row, row)], before[np.searchsorted(cut.turn, cut.turn)]
    waits = (until == begin) & (np.bincount(cut.turn, weights=shown, minlength=1)[cut.turn] > 0)
    return row[cut.before], (until - earlier - 1 + waits)[cut.before].astype(np.int64)


def region_counts(regions: pa.Array | pa.ChunkedArray | None, rows: int) -> Ints:
    """How many regions each of N dialogues has; none with `regions` None."""
    if regions is None:
        return np.zeros(rows, np.int64)
    lengths = pc.list_value_length(regions).fill_null(0)
    counts: Ints = np.asarray(lengths).astype(np.int64)
    return counts


def place_faults(turns: Turns, regions: pa.Array | pa.ChunkedArray | None) -> tuple[Bools, Bools]:
    """Which of N dialogues have another number of `<bbox>` than of regions, and which have a broken box (N each).

    A box is broken if it belongs to no image, or if its numbers are not finite.
    """
    rows = len(turns.starts) - 1
    counts = region_counts(regions, rows)
    row, image = shown_in(turns)
    other = np.bincount(row, minlength=rows) != counts
    broken = np.zeros(rows, bool)
    broken[row[image < 0]] = True
    if counts.any() and regions is not None:
        flat = flatten(regions.combine_chunks() if isinstance(regions, pa.ChunkedArray) else regions)
        broken[flat.row[~np.isfinite(flat.quad).all(axis=1)]] = True
    return other, broken & (counts > 0)


def with_places(turns: Turns, boxes: DialogueBoxes | None, dialect: Dialect) -> Turns:
    """The messages with their boxes in the dialect's notation; dialogues with faults stay as they are."""
    if boxes is None:
        return turns
    other, broken = place_faults(turns, boxes.regions)
    sound = ~other & ~broken & (region_counts(boxes.regions, len(other)) > 0) & bool(dialect.places.box)
    which = sound[turns.row]
    if not which.any():
        return turns
    flat = flatten(boxes.regions)
    kept = sound[flat.row]
    rows, images = shown_in(turns)
    row, image = rows[sound[rows]], images[sound[rows]]
    text = flat.text.filter(pa.array(kept))
    mine = Flat(flat.row[kept], text, flat.start[kept], flat.end[kept], flat.quad[kept])
    sides = _sides(boxes, row, image, dialect)
    written = _written(_cut(turns.content.filter(pa.array(which))), mine, sides, dialect.places)
    return turns._replace(content=pc.replace_with_mask(turns.content, pa.array(which), written))


def _sides(boxes: DialogueBoxes, row: Ints, image: Ints, dialect: Dialect) -> Sides:
    """The sides of the image that each box belongs to."""
    at = boxes.starts[row] + image
    width, height = np.maximum(boxes.width[at], 1), np.maximum(boxes.height[at], 1)
    costs = image_costs(dialect.cost, width, height, np.diff(boxes.starts)[row])
    return Sides(width, height, costs.width, costs.height)


def _written(cut: _CutAtBoxes, flat: Flat, sides: Sides, places: PlaceNotation) -> pa.Array:
    """The contents with each box written; boxes that directly follow one another are written as one list."""
    as_entries = "{label}" in places.entry and not places.ref
    named = pc.is_valid(flat.text).to_numpy(zero_copy_only=False) & as_entries
    segments = _without_phrases(cut, named) if as_entries else cut.segments
    empty = pc.equal(pc.binary_length(segments), 0).to_numpy(zero_copy_only=False)
    before = cut.before
    follows = np.zeros(len(before), bool)  # the box before it directly, and in the same way
    follows[1:] = (np.diff(before) == 1) & empty[before[1:]] & (named[1:] == named[:-1])
    ends = np.append(~follows[1:], True)
    marks = [pa.array([*pair], TEXT) for pair in zip(places.boxes, places.entries, strict=True)]
    opening, between, closing = (mark.take(pa.array(named.astype(np.int64))) for mark in marks)
    nothing = pa.scalar("", TEXT)
    pieces = pc.binary_join_element_wise(
        pc.if_else(pa.array(follows), between, opening),
        pc.if_else(pa.array(named), _entries(places, flat, sides, named), _places(places, flat, sides)),
        pc.if_else(pa.array(ends), closing, nothing),
        nothing,
    )
    segments = _phrases(segments, cut.last, places)
    order = np.empty(len(segments) + len(pieces), np.int64)
    at = before + np.arange(len(before)) + 1
    is_segment = np.ones(len(order), bool)
    is_segment[at] = False
    order[is_segment], order[at] = np.arange(len(segments)), len(segments) + np.arange(len(pieces))
    whole = pa.chunked_array([segments, pieces], TEXT).combine_chunks().take(pa.array(order))
    return join(whole, 2 * np.bincount(cut.turn) - 1, "")


def _entries(places: PlaceNotation, flat: Flat, sides: Sides, named: Bools) -> pa.Array:
    """Each box with its phrase as a JSON entry; null where it has no phrase."""
    if not named.any():
        return pa.nulls(len(named), TEXT)
    box = write_boxes(places, flat.quad, sides)
    return fill(places.entry, {"label": lambda: json_strings(flat.text), "box": lambda: box}, len(named))


def _places(places: PlaceNotation, flat: Flat, sides: Sides) -> pa.Array:
    """Each region's box, or its quad where it is turned and the model has a form for it."""
    boxes = write_boxes(places, flat.quad, sides)
    upright = (flat.quad == bounding_boxes(flat.quad)[:, [0, 1, 2, 1, 2, 3, 0, 3]]).all(axis=1)
    if upright.all() or not places.quad:
        return boxes
    return pc.if_else(pa.array(upright), boxes, write_quads(places, flat.quad, sides))


def _without_phrases(cut: _CutAtBoxes, named: Bools) -> pa.Array:
    """The segments without the phrase at their end that becomes an entry's label.

    A segment between two entries of one message becomes empty if only white space is left.
    """
    followed = np.zeros(len(cut.last), bool)
    followed[cut.before] = named
    bare = pc.replace_substring_regex(cut.segments, PHRASE + "$", "")
    blank = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(bare)), 0)
    inner = np.concatenate([[False], (followed[1:] & followed[:-1])])  # between two entries of one message
    bare = pc.if_else(pc.and_(pa.array(inner), blank), "", bare)
    return pc.if_else(pa.array(followed), bare, cut.segments)


def _phrases(segments: pa.Array, last: Bools, places: PlaceNotation) -> pa.Array:
    """The segments with their phrases in the dialect's marks, or as plain text where it has none."""
    if places.ref:
        opening, closing = (mark.replace("\\", "\\\\") for mark in places.ref)
        return pc.replace_substring_regex(segments, PHRASE, rf"{opening}\1{closing}")
    located = pc.replace_substring_regex(segments, PHRASE + "$", r"\1 ")
    segments = pc.if_else(pa.array(last), segments, located)
    return pc.replace_substring_regex(segments, PHRASE, r"\1")
