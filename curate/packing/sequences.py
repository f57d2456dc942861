"""Samples of one task laid into sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.packing.fit import fit, within
from curate.schema import LABEL
from curate.storage.image_places import PLACE, REFERENCES

Ints = npt.NDArray[np.int64]

IMAGE = pa.struct(
    [
        ("bytes", pa.binary()),  # as in the shard; null where packs name images only
        ("path", pa.string()),
        ("start", pa.int32()),  # the token at which its marker stands
    ]
)
GRID = pa.list_(pa.int32(), 3)  # frames, rows and columns of an image's patches, before they are merged

PACK = pa.schema(
    [
        ("task", LABEL),  # of every sample of the sequence
        ("tokens", pa.list_(pa.int32())),  # at most `seq_len`; padding is the loader's
        ("loss_mask", pa.list_(pa.bool_())),  # true for what the model is trained to say
        ("segments", pa.list_(pa.int32())),  # S + 1: sample s is tokens[segments[s]:segments[s + 1]]
        ("images", pa.list_(IMAGE)),
        ("keys", pa.list_(pa.string())),  # S: the samples' keys in their shards
    ]
)
GRIDS = pa.field(
    "image_grid_thw", pa.list_(GRID)
)  # one an image, in packs of a dialect whose images are grids

SAMPLE_IMAGE = pa.struct(
    [
        ("bytes", pa.large_binary()),  # null where the image is read from its shard later, or not at all
        ("path", pa.string()),
        ("start", pa.int32()),  # in the sample's tokens
        ("rows", pa.int32()),  # of its grid of patches; 0 without one
        ("columns", pa.int32()),
        ("file", pa.int32()),  # where it lies: the number of its shard; null where that is not known
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("sum", pa.uint32()),
    ]
)

SAMPLES = pa.schema(
    [
        ("task", pa.string()),
        ("key", pa.string()),
        ("tokens", pa.large_list(pa.int32())),
        ("loss", pa.large_list(pa.bool_())),
        ("images", pa.large_list(SAMPLE_IMAGE)),
        ("order", pa.uint64()),
    ]
)

CARRIED = 8  # of a bucket's emptiest sequences, whose samples wait for the next bucket


def pack_schema(grids: bool, references: bool) -> pa.Schema:
    """PACK, with `image_grid_thw` where the dialect's images are grids of patches, and `image_places` of references."""
    schema = PACK.append(GRIDS) if grids else PACK
    return schema.append(REFERENCES) if references else schema


class Chosen(NamedTuple):
    """Which samples share a sequence: M of N samples, those of one sequence one after another."""

    order: Ints  # the samples (M)
    bins: Ints  # the sequence of each of these (M), ascending, with gaps
    waits: npt.NDArray[np.bool_]  # which of the N wait for the next bucket


class SequenceLimits(NamedTuple):
    """What a sequence holds at most; 0: any number."""

    seq_len: int
    max_images: int = 0
    max_patches: int = 0


def choose(lengths: Ints, images: Ints, patches: Ints, limits: SequenceLimits, last: bool) -> Chosen:
    """Lay samples of one task into sequences, by their tokens, images and patches of the image encoder (N each).

    Unless this is the last bucket, the samples of the emptiest sequences wait.
    """
    bins = fit(lengths, limits.seq_len)
    if limits.max_images:
        bins = within(bins, lengths, limits.seq_len, images, limits.max_images)
    if limits.max_patches:
        bins = within(bins, lengths, limits.seq_len, patches, limits.max_patches)
    waits = np.zeros(len(bins), bool)
    if not last and len(bins):
        filled = np.bincount(bins, weights=lengths)
        emptiest = np.argsort(filled, kind="stable")[:CARRIED]
        waits = np.isin(bins, emptiest)
    order = np.argsort(bins, kind="stable")
    order = order[~waits[order]]
    return Chosen(order, bins[order], waits)


def sequences_of(
    samples: pa.Table,
    counts: Ints,
    tasks: pa.DictionaryArray,
    grids: bool,
    uris: Sequence[str] | None = None,
) -> pa.Table:
    """S sequences (PACK) of samples that lie in their order: of each its number of samples and its task (S each).

    `samples` has the columns `key`, `tokens`, `loss` and `images` of SAMPLES. With `uris`, those of the shards by their
    numbers, the sequences refer to their images.
    """
    runs = np.concatenate([[0], np.cumsum(counts)])
    first = runs[:-1]
    lengths = pc.list_value_length(samples["tokens"]).to_numpy().astype(np.int64)
    ends = np.append(0, np.cumsum(lengths))
    within_run = ends[:-1] - np.repeat(ends[first], counts)  # where each sample starts in its sequence
    images, grid = _images(samples, within_run, runs)
    columns = [
        tasks,
        _lists(samples["tokens"], ends[runs]),
        _lists(samples["loss"], ends[runs]),
        _segments(within_run, within_run + lengths, runs),
        images,
        pa.ListArray.from_arrays(pa.array(runs, pa.int32()), _one(samples["key"])),
    ]
    columns += [grid] if grids else []
    columns += [] if uris is None else [_references(samples, runs, uris)]
    return pa.table(columns, schema=pack_schema(grids, uris is not None))


def _references(samples: pa.Table, runs: Ints, uris: Sequence[str]) -> pa.Array:
    """Where the images of each run lie (REFERENCES)."""
    lists = _one(samples["images"])
    flat, sizes = lists.flatten(), pc.list_value_length(lists).to_numpy()
    uri = pa.array(uris, pa.string()).take(flat.field("file"))
    fields = [uri, *(flat.field(field.name) for field in PLACE)]
    edges = pa.array(np.append(0, np.cumsum(sizes))[runs], pa.int32())
    return pa.ListArray.from_arrays(
        edges, pa.StructArray.from_arrays(fields, fields=list(REFERENCES.type.value_type))
    )


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _lists(column: pa.ChunkedArray, edges: Ints) -> pa.Array:
    """The column's values laid end to end, cut at the edges."""
    return pa.ListArray.from_arrays(pa.array(edges, pa.int32()), _one(column).flatten())


def _segments(starts: Ints, ends: Ints, runs: Ints) -> pa.Array:
    """Each run's starts with the last end behind them."""
    values = np.insert(starts, runs[1:], ends[runs[1:] - 1])
    return pa.ListArray.from_arrays(
        pa.array(runs + np.arange(len(runs)), pa.int32()), pa.array(values, pa.int32())
    )


def _images(samples: pa.Table, within_run: Ints, runs: Ints) -> tuple[pa.Array, pa.Array]:
    """The images of each run, with the token at which each stands, and their grids."""
    lists = _one(samples["images"])
    flat = lists.flatten()
    sizes = pc.list_value_length(lists).to_numpy()
    start = flat.field("start").to_numpy() + np.repeat(within_run, sizes)
    fields = [flat.field("bytes").cast(pa.binary()), flat.field("path"), pa.array(start, pa.int32())]
    edges = pa.array(np.append(0, np.cumsum(sizes))[runs], pa.int32())
    sides = [flat.field(name).to_numpy() for name in ("rows", "columns")]
    grid = pa.array(np.stack([np.ones(len(flat), np.int32), *sides], axis=1).reshape(-1), pa.int32())
    return (
        pa.ListArray.from_arrays(edges, pa.StructArray.from_arrays(fields, fields=list(IMAGE))),
        pa.ListArray.from_arrays(edges, pa.FixedSizeListArray.from_arrays(grid, 3)),
    )
