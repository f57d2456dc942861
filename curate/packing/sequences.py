"""Lays samples of one task into sequences."""

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

CARRIED = 8  # the samples of so many emptiest sequences of a bucket wait for the next bucket


def pack_schema(grids: bool, references: bool) -> pa.Schema:
    """Return the schema of packs: PACK, with `image_grid_thw` for `grids`, and with `image_places` for `references`."""
    schema = PACK.append(GRIDS) if grids else PACK
    return schema.append(REFERENCES) if references else schema


class Chosen(NamedTuple):
    """Which samples share a sequence: M of N samples; those of one sequence follow each other."""

    order: Ints  # the samples (M)
    bins: Ints  # the sequence of each of these (M), ascending, with gaps
    waits: npt.NDArray[np.bool_]  # which of the N wait for the next bucket


class SequenceLimits(NamedTuple):
    """The most that a sequence holds; 0: any number."""

    seq_len: int
    max_images: int = 0
    max_patches: int = 0


def choose(lengths: Ints, images: Ints, patches: Ints, limits: SequenceLimits, last: bool) -> Chosen:
    """Lay the samples of one task into sequences. Unless `last`, the samples of the emptiest sequences wait.

    Args:
        lengths: tokens of each sample (N).
        images: images of each sample (N).
        patches: patches of the image encoder of each sample (N).
        limits: the most that a sequence holds.
        last: whether this is the last bucket.
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
    """Make S sequences (PACK) of samples that are in the order of the sequences.

    Args:
        samples: the columns `key`, `tokens`, `loss` and `images` of SAMPLES.
        counts: number of samples of each sequence (S).
        tasks: the task of each sequence (S).
        grids: whether to add `image_grid_thw`.
        uris: the shards' URIs by number, if the sequences are to refer to their images; None: they hold these.
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
    """Return the places of the images of each sequence in their shards (REFERENCES)."""
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
    """Join the lists of a column, and cut the result into lists at `edges`."""
    return pa.ListArray.from_arrays(pa.array(edges, pa.int32()), _one(column).flatten())


def _segments(starts: Ints, ends: Ints, runs: Ints) -> pa.Array:
    """Return, for each sequence, the starts of its samples and after them the end of the last one."""
    values = np.insert(starts, runs[1:], ends[runs[1:] - 1])
    return pa.ListArray.from_arrays(
        pa.array(runs + np.arange(len(runs)), pa.int32()), pa.array(values, pa.int32())
    )


def _images(samples: pa.Table, within_run: Ints, runs: Ints) -> tuple[pa.Array, pa.Array]:
    """Return the images of each sequence, with the token at which each stands, and their grids."""
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
