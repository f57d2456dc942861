"""The images of dialogues in a unit: a row has several, and each is fetched and decoded under a number of its own.

These numbers are called slots. A dialogue is dropped for the first of its images that cannot be fetched or decoded or
that a rule drops, and for the first turn whose text a rule drops.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.acquire import AcquiredImage, Acquirer, RawImage
from curate.engine.spool import Spool
from curate.images.region_scaling import with_quads
from curate.marking import alive, drop, judge
from curate.schema import PICTURE, SAMPLE, SHARD, conform, set_column
from curate.storage.shards import RowImages
from curate.tasks.dialogue_places import place_faults, region_counts, shown_in
from curate.tasks.flat_regions import flatten
from curate.tasks.turns import IMAGE, turns_of, without_marks

FIRST_SLOT = 2**40  # smaller numbers are row numbers, for images that are a row's own
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Rules = Mapping[str, Mapping[str, Any]]

ITEM = ("width", "height", "fingerprint", "stage", "detail")  # an image's values that are judged

BEYOND = 0.01  # share of a side by which a published box may reach beyond its image; the rest is cut off


def judge_turns(table: pa.Table, rules: Rules) -> pa.Table:
    """Drop alive dialogues in which a rule drops the text of a turn; the first such turn counts, `detail` names it.

    `rules` are the settings of the rules that read only `text`, by name.
    """
    places = pc.indices_nonzero(alive(table))
    if not rules or not len(places):
        return table
    turns = turns_of(table["messages"].take(places))
    text = pc.utf8_trim_whitespace(pc.replace_substring(without_marks(turns.content), IMAGE, ""))
    said = np.flatnonzero(pc.greater(pc.binary_length(text), 0).to_numpy(zero_copy_only=False))
    judged = judge(conform(pa.table({"text": text.take(pa.array(said))})), rules, "rules")
    row = np.asarray(places)[turns.row[said]]
    number = said - turns.starts[:-1][turns.row[said]] + 1
    return _first(table, row, judged, [f"turn {n}: " for n in number.tolist()])


def numbered(table: pa.Table, first: int) -> pa.Table:
    """Return the table with the images numbered: they get the slots from FIRST_SLOT + `first` on."""
    images = table["images"].combine_chunks()
    flat = pc.list_flatten(images)
    slots = pa.array(FIRST_SLOT + first + np.arange(len(flat)), pa.int64())
    return set_column(table, "images", _relist(images, flat, slot=slots))


def bodies(
    table: pa.Table, acquirer: Acquirer, beside: Path | None, is_first: Any, wanted: dict[int, str]
) -> Iterator[tuple[int, RawImage]]:
    """Yield the images of alive dialogues that need no network, by slot; put the URLs of the others into `wanted`.

    Args:
        table: dialogues with slots.
        acquirer: reads local files.
        beside: the folder of the input, in which paths are looked up if the manifest has no image folder.
        is_first: called with a slot and a name of the image; false if an earlier slot has the same image.
        wanted: gets slot → URL.
    """
    living = table.filter(alive(table))["images"].combine_chunks()
    flat = pc.list_flatten(living)
    columns = [pc.struct_field(flat, name) for name in ("slot", "bytes", "path", "url")]
    for slot, body, path, url in zip(columns[0].to_pylist(), *columns[1:], strict=True):
        if body.is_valid:
            yield slot, RawImage(body.as_py())
        elif path.is_valid:
            if is_first(slot, f"path {path}"):
                yield slot, acquirer.local(path.as_py(), beside)
        elif url.is_valid:
            if is_first(slot, f"url {url}"):
                wanted[slot] = url.as_py()
        else:
            yield slot, RawImage(None, "read", "image_missing")


def without_bytes(table: pa.Table) -> pa.Table:
    """Return the table without the bytes of its images."""
    images = table["images"].combine_chunks()
    flat = pc.list_flatten(images)
    return set_column(table, "images", _relist(images, flat, bytes=pa.nulls(len(flat), pa.large_binary())))


def settle(
    table: pa.Table,
    outcomes: Mapping[int, AcquiredImage],
    size_rules: Rules,
    drop_known: Callable[[pa.Table], pa.Table],
) -> pa.Table:
    """Return the table with the results for the images filled in: paths and sizes, or why a dialogue is dropped.

    Args:
        table: dialogues with slots (N rows).
        outcomes: slot → what became of the image.
        size_rules: rules on the size of images.
        drop_known: takes a table of SAMPLE with one row for each image, and drops those that must not be kept.
    """
    images = table["images"].combine_chunks()
    flat = pc.list_flatten(images)
    row = np.asarray(pc.list_parent_indices(images))
    found = [outcomes.get(slot, AcquiredImage()) for slot in pc.struct_field(flat, "slot").to_pylist()]
    number = np.arange(len(row)) - np.searchsorted(row, row)
    made = {name: [getattr(one, name) for one in found] for name in ITEM}
    made["dropped"] = [one.reason for one in found]
    for side, name in enumerate(
        ("width", "height")
    ):  # rules see the size that an image had before it was shrunk
        made[name] = [one.full[side] or getattr(one, name) for one in found]
    judged = conform(
        pa.table({name: pa.array(values, SAMPLE.field(name).type) for name, values in made.items()})
    )
    missing = pa.array([one.format is None and one.reason is None for one in found], pa.bool_())
    judged = judge(drop_known(judged), size_rules, "size")
    judged = drop(judged, pc.if_else(missing, "image_missing", None), "decode")
    table = _first(table, row, judged, [f"image {n + 1}: " for n in number.tolist()])
    names = table.select(["dataset", "key"]).take(pa.array(row)).to_pylist()
    paths = [
        f"{name['dataset']}/{name['key']}-{n}.{(one.format or 'jpeg').replace('jpeg', 'jpg')}"
        for name, n, one in zip(names, number.tolist(), found, strict=True)
    ]
    sides = {
        name: pa.array([getattr(one, name) for one in found], pa.int32()) for name in ("width", "height")
    }
    table = set_column(table, "images", _relist(images, flat, path=pa.array(paths, pa.string()), **sides))
    return _in_pixels(table, np.array([one.full for one in found], np.float64).reshape(-1, 2))


def _in_pixels(table: pa.Table, full: Floats) -> pa.Table:
    """Convert the regions of dialogues to pixels of their stored images, clipped to these.

    Before, they are shares of the images' sides, or pixels of the images before they were shrunk; `full` has the width
    and height of these (I images x 2). A dialogue with a region that lies beyond its image is dropped.
    """
    regions, images = (table[name].combine_chunks() for name in ("regions", "images"))
    counts = region_counts(regions, table.num_rows)
    if not counts.any():
        return table
    turns = turns_of(table["messages"])
    other, broken = place_faults(turns, regions)
    row, image = shown_in(turns)
    first = np.concatenate([[0], np.cumsum(pc.list_value_length(images).fill_null(0).to_numpy())])
    taken = (~other & ~broken)[row]
    at = (first[row] + image)[taken]
    flat = pc.list_flatten(images)
    sides = [pc.struct_field(flat, name).fill_null(1) for name in ("width", "height")]
    side = np.stack([one.to_numpy(zero_copy_only=False) for one in sides], axis=1)[at]
    published = pc.struct_field(flat, "boxes_in_pixels").fill_null(False).to_numpy(zero_copy_only=False)[at]
    frame = np.where(published[:, None], np.maximum(full[at], 1), 1.0)
    owner = np.repeat(np.arange(table.num_rows), counts)
    moves = np.flatnonzero((~other & ~broken)[owner])
    quads = flatten(regions).quad.astype(np.float64)
    shares = quads[moves] / np.tile(frame, 4)
    quads[moves] = np.clip(shares, 0, 1) * np.tile(side, 4)
    spread = [np.ptp(quads[moves, axis::2], axis=1) for axis in (0, 1)]
    is_beyond = np.maximum(-shares, shares - 1).max(axis=1, initial=0) > BEYOND
    lost = moves[published & (is_beyond | (np.minimum(*spread) <= 0))]
    table = set_column(table, "regions", with_quads(regions, quads))
    return _drop_beyond(table, owner, lost)


def _drop_beyond(table: pa.Table, owner: Ints, lost: Ints) -> pa.Table:
    """Drop the rows of the regions numbered in `lost`, which lie beyond their images; `owner` is each region's row."""
    reason, detail = (dict[int, str]() for _ in range(2))
    for region in reversed(lost.tolist()):
        row = int(owner[region])
        reason[row] = "box_broken"
        detail[row] = f"box {region - int(np.searchsorted(owner, row)) + 1} lies beyond its image"
    rows = range(table.num_rows)
    said = (pa.array([told.get(row) for row in rows], pa.string()) for told in (reason, detail))
    reasons, details = said
    return drop(table, reasons, "decode", details)


def shown(kept: pa.Table, places: Ints, spool: Spool) -> RowImages:
    """Return which images in the spool each row shows: its own, by its number in `places`, or a dialogue's (N rows)."""
    images = kept["images"].combine_chunks()
    slots = pc.struct_field(pc.list_flatten(images), "slot").to_numpy(zero_copy_only=False).astype(np.int64)
    row = np.concatenate([np.arange(len(places)), np.asarray(pc.list_parent_indices(images), np.int64)])
    place = np.concatenate([places, slots])
    identity, size = spool.identities(place), np.array(spool.lengths(place), np.int64)
    there = np.flatnonzero(identity >= 0)
    order = there[np.argsort(row[there], kind="stable")]
    return RowImages(identity[order], size[order], np.searchsorted(row[order], np.arange(len(places) + 1)))


def taken(sample: pa.Table, spool: Spool) -> pa.Array | None:
    """Return the dialogues' images as in SHARD's column `images` (N lists); None if no row is a dialogue."""
    images = sample["images"].combine_chunks()
    if images.null_count == len(images):
        return None
    flat = pc.list_flatten(images)
    slots = pc.struct_field(flat, "slot").to_numpy(zero_copy_only=False).astype(np.int64)
    fields = [spool.take(slots), pc.struct_field(flat, "path")]
    kind = SHARD.field("images").type
    return _listed(images, pa.StructArray.from_arrays(fields, fields=list(kind.value_type)))


def hashes(sample: pa.Table, places: Ints, spool: Spool) -> list[list[str]]:
    """Return the SHA-256 (hex) of each row's images, its own and those of a dialogue (N lists).

    `places` are the rows' numbers in the unit.
    """
    found = [_sha256(body) for body in spool.take(places)]
    lists = taken(sample, spool)
    if lists is not None:
        bodies = pc.struct_field(pc.list_flatten(lists), "bytes")
        for row, body in zip(pc.list_parent_indices(lists).to_pylist(), bodies, strict=True):
            found[row] += _sha256(body)
    return found


def _sha256(body: pa.BinaryScalar) -> list[str]:
    return [hashlib.sha256(body.as_buffer()).hexdigest()] if body.is_valid else []


def _first(table: pa.Table, row: Ints, judged: pa.Table, where: list[str]) -> pa.Table:
    """Drop each row for the first of its items (turns or images) that was dropped.

    Args:
        table: N rows.
        row: each item's row.
        judged: the items, with `dropped`, `stage` and `detail`.
        where: which item it is, to begin the detail with.
    """
    fell = np.flatnonzero(pc.is_valid(judged["dropped"]).to_numpy())
    rows, at = np.unique(row[fell], return_index=True)
    items = judged.take(pa.array(fell[at])).select(["dropped", "stage", "detail"]).to_pylist()
    values: dict[str, list[str | None]] = {
        name: [None] * table.num_rows for name in ("dropped", "stage", "detail")
    }
    for place, item, index in zip(rows.tolist(), items, fell[at].tolist(), strict=True):
        values["dropped"][place], values["stage"][place] = item["dropped"], item["stage"]
        values["detail"][place] = where[index] + (item["detail"] or "")
    for stage in sorted({stage for stage in values["stage"] if stage is not None}):
        reason = [
            why if at == stage else None for why, at in zip(values["dropped"], values["stage"], strict=True)
        ]
        table = drop(
            table, pa.array(reason, pa.string()), stage, pa.array(values["detail"], pa.large_string())
        )
    return table


def _relist(images: pa.ListArray, flat: pa.StructArray, **changed: pa.Array) -> pa.Array:
    fields = [changed.get(field.name, pc.struct_field(flat, field.name)) for field in PICTURE]
    return _listed(images, pa.StructArray.from_arrays(fields, fields=list(PICTURE)))


def _listed(images: pa.ListArray, values: pa.StructArray) -> pa.Array:
    """Return `values` in lists as long as those of `images`, null in the same rows."""
    counts = pc.list_value_length(images).fill_null(0).to_numpy(zero_copy_only=False)
    edges = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.ListArray.from_arrays(edges, values, mask=images.is_null())
