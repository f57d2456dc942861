"""Samples of one task laid into sequences."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.packing.fit import fit
from curate.schema import LABEL

Ints = npt.NDArray[np.int64]

IMAGE = pa.struct(
    [
        ("bytes", pa.binary()),  # as in the shard; null where packs name images only
        ("path", pa.string()),
        ("start", pa.int32()),  # the token at which its marker stands
    ]
)

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

SAMPLES = pa.schema(
    [
        ("task", pa.string()),
        ("key", pa.string()),
        ("tokens", pa.large_list(pa.int32())),
        ("loss", pa.large_list(pa.bool_())),
        ("image", pa.large_binary()),
        ("path", pa.string()),
        ("image_start", pa.int32()),  # in the sample's tokens; null where it has no image
        ("order", pa.uint64()),
    ]
)

CARRIED = 8  # of a bucket's emptiest sequences, whose samples wait for the next bucket


def pack_samples(samples: pa.Table, seq_len: int, last: bool) -> tuple[pa.Table, pa.Table]:
    """The sequences of SAMPLES of one task, and the samples that wait unless this is the last bucket."""
    lengths = pc.list_value_length(samples["tokens"]).to_numpy().astype(np.int64)
    bins = fit(lengths, seq_len)
    waits = np.zeros(len(bins), bool)
    if not last and len(bins):
        filled = np.bincount(bins, weights=lengths)
        emptiest = np.argsort(filled, kind="stable")[:CARRIED]
        waits = np.isin(bins, emptiest)
    order = np.argsort(bins, kind="stable")
    order = order[~waits[order]]
    laid = samples.take(pa.array(order)).combine_chunks()
    return _sequences(laid, bins[order]), samples.filter(pa.array(waits))


def _sequences(samples: pa.Table, bins: Ints) -> pa.Table:
    """One row a run of equal `bins`."""
    first = np.flatnonzero(np.r_[True, bins[1:] != bins[:-1]]) if len(bins) else np.zeros(0, np.int64)
    runs = np.append(first, len(bins))
    lengths = pc.list_value_length(samples["tokens"]).to_numpy().astype(np.int64)
    ends = np.append(0, np.cumsum(lengths))
    within = ends[:-1] - np.repeat(ends[first], np.diff(runs))  # where each sample starts in its sequence
    columns = [
        samples["task"].take(pa.array(first)).dictionary_encode().cast(LABEL),
        _lists(samples["tokens"], ends[runs]),
        _lists(samples["loss"], ends[runs]),
        _segments(within, within + lengths, runs),
        _images(samples, within, runs),
        pa.ListArray.from_arrays(pa.array(runs, pa.int32()), _one(samples["key"])),
    ]
    return pa.table(columns, schema=PACK)


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


def _images(samples: pa.Table, within: Ints, runs: Ints) -> pa.Array:
    """The images of each run, with the token at which each stands."""
    has = _one(samples["image_start"].is_valid()).to_numpy(zero_copy_only=False)
    start = samples["image_start"].fill_null(0).to_numpy() + within
    fields = [
        _one(samples["image"].filter(pa.array(has)).cast(pa.binary())),
        _one(samples["path"].filter(pa.array(has))),
        pa.array(start[has], pa.int32()),
    ]
    edges = np.append(0, np.cumsum(has))[runs]
    return pa.ListArray.from_arrays(
        pa.array(edges, pa.int32()), pa.StructArray.from_arrays(fields, fields=list(IMAGE))
    )
