"""Decides which samples share a sequence, and which sequences a file, bucket by bucket.

It reads no tokens and no images: of each sample only its LIGHT and its place in the spill files. The size of a row
group is the `nbytes` that Arrow would report for its table, which is computed without making the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.packing.buckets import draw
from curate.packing.sequences import SequenceLimits, choose
from curate.packing.settings import PackSettings
from curate.packing.spill import LIGHT
from curate.schema import LABEL
from curate.storage.shards import MIN_GROUP_ROWS

Ints = npt.NDArray[np.int64]

WHERE = pa.struct([("slice", pa.int32()), ("bucket", pa.int32()), ("row", pa.int32())])
LAID = pa.schema(
    [("task", pa.int16()), ("samples", pa.list_(WHERE))]
)  # a sequence: task, places of its samples
PARTS = pa.schema(
    [(name, pa.int64()) for name in ("file", "group", "bucket", "start", "stop")]
)  # a row group is these sequences of these buckets
AMOUNTS = ("tokens", "samples", "images", "image_bytes", "path_bytes", "key_bytes")


class Laid(NamedTuple):
    """The S sequences of a bucket in their order."""

    sequences: pa.Table  # LAID
    before: dict[str, Ints]  # for each of AMOUNTS: the sum before each sequence, then the total (S + 1)

    def tasks(self) -> list[int]:
        """The numbers of the tasks that occur, ascending."""
        return sorted(pc.unique(self.sequences["task"]).to_pylist())


class SequenceLayout:
    """Lays the samples of one bucket after another into sequences; some samples of a bucket wait for the next one.

    `tally` counts sequences, tokens and samples by task.
    """

    def __init__(self, settings: PackSettings, tasks: Sequence[str]) -> None:
        self._limits = SequenceLimits(settings.seq_len, settings.max_images, settings.max_patches)
        self._seed, self._tasks = settings.seed, tasks
        self._waiting: dict[int, pa.Table] = {}
        self.tally: dict[str, Counter[str]] = {}

    def lay(self, bucket: int, parts: Sequence[pa.Table], last: bool) -> Laid:
        """Return the sequences of a bucket.

        Args:
            bucket: its number.
            parts: its samples (LIGHT), a table for each slice.
            last: whether it is the last bucket, so that no sample may wait.
        """
        samples = _placed(bucket, parts)
        samples = samples.take(pc.sort_indices(samples["order"]))
        found, counts = [_placed(0, []).combine_chunks()], [np.zeros(0, np.int64)]
        for task in sorted({*samples["task"].unique().to_pylist(), *self._waiting}):
            mine = samples.filter(pc.equal(samples["task"], task))
            laid, sizes = self._lay_task(task, mine, last)
            found.append(laid)
            counts.append(sizes)
        return _shuffled(pa.concat_tables(found), np.concatenate(counts), self._seed, bucket)

    def _lay_task(self, task: int, samples: pa.Table, last: bool) -> tuple[pa.Table, Ints]:
        """Return the samples of one task in the order of their sequences, and how many each sequence has."""
        if task in self._waiting:
            samples = pa.concat_tables([self._waiting.pop(task), samples])
        lengths, images, patches = (
            samples[name].to_numpy().astype(np.int64) for name in ("tokens", "images", "patches")
        )
        chosen = choose(lengths, images, patches, self._limits, last)
        if chosen.waits.any():
            self._waiting[task] = samples.filter(pa.array(chosen.waits))
        sizes = np.unique(chosen.bins, return_counts=True)[1].astype(np.int64)
        counts = self.tally.setdefault(self._tasks[task], Counter())
        tokens = int(lengths[chosen.order].sum())
        counts.update(sequences=len(sizes), tokens=tokens, samples=len(chosen.order))
        return samples.take(pa.array(chosen.order)), sizes


def _placed(bucket: int, parts: Iterable[pa.Table]) -> pa.Table:
    """Join the parts into one table, with each sample's place: slice, bucket, row in the slice's part of the bucket."""
    found = []
    for number, part in enumerate(parts):
        if part.num_rows:
            rows = np.arange(part.num_rows, dtype=np.int32)
            place = [pa.array(np.full(len(rows), n, np.int32)) for n in (number, bucket)] + [pa.array(rows)]
            found.append(part.append_column("where", pa.StructArray.from_arrays(place, fields=list(WHERE))))
    return pa.concat_tables([LIGHT.append(pa.field("where", WHERE)).empty_table(), *found]).combine_chunks()


def _shuffled(samples: pa.Table, counts: Ints, seed: int, bucket: int) -> Laid:
    """Shuffle sequences; `counts` says how many consecutive samples each has."""
    order = np.argsort(draw(seed, 2 + bucket, np.arange(len(counts))), kind="stable")
    first = (np.cumsum(counts) - counts)[order]
    sizes = counts[order]
    edges = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    taken = np.repeat(first - edges[:-1], sizes) + np.arange(edges[-1])
    samples = samples.take(pa.array(taken)).combine_chunks()
    where = samples["where"].combine_chunks()
    task = samples["task"].take(pa.array(edges[:-1]))
    sequences = pa.table([task, pa.ListArray.from_arrays(pa.array(edges, pa.int32()), where)], schema=LAID)
    before = {"samples": edges}
    for name in AMOUNTS:
        if name != "samples":
            values = samples[name].to_numpy().astype(np.int64)
            before[name] = np.concatenate([[0], np.cumsum(values)])[edges]
    return Laid(sequences, before)


class Cutter:
    """Divides sequences into row groups of about `row_group_bytes` and at least 100 rows, and these into files."""

    def __init__(self, settings: PackSettings, tasks: Sequence[str], grids: bool) -> None:
        self._settings, self._tasks, self._grids = settings, tasks, grids
        self._waiting: list[tuple[int, int, int]] = []  # bucket, start, stop
        self._rows = self._bytes = self._filled = 0
        self._file = self._group = 0

    def cut(self, bucket: int, laid: Laid) -> Iterator[pa.Table]:
        """Add the sequences of a bucket, and yield the row groups (PARTS) that become full."""
        size, total = self._settings.row_group_bytes, laid.sequences.num_rows
        label = label_bytes([self._tasks[task] for task in laid.tasks()])
        whole = table_bytes(laid.before, 0, total, label, self._grids, self._settings.images)
        rows = max(MIN_GROUP_ROWS, total * size // max(whole, 1))
        for start in range(0, total, rows):
            stop = min(start + rows, total)
            self._waiting.append((bucket, start, stop))
            self._rows += stop - start
            self._bytes += table_bytes(laid.before, start, stop, label, self._grids, self._settings.images)
            if self._rows >= MIN_GROUP_ROWS and self._bytes >= size * 0.9:
                yield self._close()

    def rest(self) -> Iterator[pa.Table]:
        """Yield the last row group, if sequences are left."""
        if self._waiting:
            yield self._close()

    def _close(self) -> pa.Table:
        rows = [(self._file, self._group, *part) for part in self._waiting]
        columns = zip(*rows, strict=True)
        group = pa.table([pa.array(values, pa.int64()) for values in columns], schema=PARTS)
        self._filled += self._bytes
        self._group += 1
        if self._filled >= self._settings.file_bytes:
            self._file, self._group, self._filled = self._file + 1, 0, 0
        self._waiting, self._rows, self._bytes = [], 0, 0
        return group


def label_bytes(tasks: Sequence[str]) -> int:
    """Return the bytes that the dictionary of the column `task` adds to `nbytes`."""
    empty = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), pa.array(tasks, pa.string()))
    return int(empty.cast(LABEL).nbytes)


def table_bytes(before: dict[str, Ints], start: int, stop: int, label: int, grids: bool, mode: str) -> int:
    """Return the `nbytes` of a table (PACK) of the sequences from `start` to before `stop`, all its lists nullable.

    Args:
        before: see `Laid.before`.
        start, stop: the sequences.
        label: see `label_bytes`.
        grids: whether the table has `image_grid_thw`.
        mode: the setting `images`. For references, the URIs of the shards are not counted.
    """
    rows = stop - start
    at = {name: (int(before[name][start]), int(before[name][stop])) for name in AMOUNTS}
    many = {name: high - low for name, (low, high) in at.items()}
    mask = bit_bytes(start, stop)
    task = 4 * rows + label
    tokens = 4 * rows + mask + 4 * many["tokens"]
    loss = 4 * rows + mask + bit_bytes(*at["tokens"])
    segments = 4 * rows + mask + 4 * (many["samples"] + rows)
    images = 4 * rows + mask + 2 * bit_bytes(*at["images"]) + 12 * many["images"] + many["path_bytes"]
    images += many["image_bytes"] if mode == "embed" else 0
    images += 4 * rows + mask + 24 * many["images"] if mode == "reference" else 0
    keys = 4 * rows + mask + bit_bytes(*at["samples"]) + 4 * many["samples"] + many["key_bytes"]
    grid = 4 * rows + mask + 12 * many["images"] if grids else 0
    return task + tokens + loss + segments + images + keys + grid


def bit_bytes(start: int, stop: int) -> int:
    """Return the number of bytes that contain the bits from `start` to before `stop`."""
    return -(-stop // 8) - start // 8
