"""The spill files: the samples of each slice of the shards, in two files that are sorted by bucket.

The file `light` has what is needed to choose which samples share a sequence (LIGHT, 40 bytes a sample). The file
`heavy` has what is needed to write them (HEAVY: tokens, and the places of their images). Each file is an Arrow stream
whose record batches are sorted by bucket, followed by the offset of each bucket. So one bucket of one slice is one
range of bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.records import in_parallel
from curate.packing.buckets import shares
from curate.packing.sequences import SAMPLE_IMAGE
from curate.storage.scratch import ScratchFolder
from curate.storage.store import HashingSink, Store

Ints = npt.NDArray[np.int64]

HEAVY = pa.schema(
    [
        ("key", pa.string()),
        ("tokens", pa.large_list(pa.int32())),
        ("loss", pa.large_list(pa.bool_())),
        ("images", pa.large_list(SAMPLE_IMAGE)),
    ]
)
LIGHT = pa.schema(
    [
        ("order", pa.uint64()),  # the sample's place in the shuffle
        ("task", pa.int16()),  # its number among all tasks in alphabetical order
        ("tokens", pa.int32()),
        ("images", pa.int32()),
        ("patches", pa.int64()),  # of its images, for the encoder
        ("image_bytes", pa.int64()),
        ("path_bytes", pa.int32()),
        ("key_bytes", pa.int32()),
    ]
)
KINDS = {"heavy": HEAVY, "light": LIGHT}
COMPRESSION = {"heavy": "zstd", "light": None}
RUN_BYTES = 128 << 20  # of samples that wait in memory before they are sorted and written
COPY_BYTES = 8 << 20


def light_of(samples: pa.Table, tasks: Sequence[str]) -> pa.Table:
    """Return the LIGHT of samples (N rows of SAMPLES); `tasks` are the names of all tasks, by number."""
    images = samples["images"].combine_chunks()
    flat, counts = images.flatten(), pc.list_value_length(images).to_numpy().astype(np.int64)
    edges = np.concatenate([[0], np.cumsum(counts)])

    def summed(values: Any) -> Ints:
        ends = np.concatenate([[0], np.cumsum(values.fill_null(0).to_numpy().astype(np.int64))])
        total: Ints = ends[edges[1:]] - ends[edges[:-1]]
        return total

    size = pc.coalesce(flat.field("size"), pc.binary_length(flat.field("bytes")))
    code = pc.index_in(samples["task"].combine_chunks(), pa.array(tasks, pa.string()))
    columns = {
        "order": samples["order"],
        "task": code,
        "tokens": pc.list_value_length(samples["tokens"]),
        "images": counts,
        "patches": summed(pc.multiply(flat.field("rows").cast(pa.int64()), flat.field("columns"))),
        "image_bytes": summed(size),
        "path_bytes": summed(pc.binary_length(flat.field("path"))),
        "key_bytes": pc.binary_length(samples["key"]),
    }
    return pa.table(columns).cast(LIGHT)


class SpillWriter:
    """Writes the samples of one slice to its two files; samples beyond `run_bytes` wait in sorted runs on disk."""

    def __init__(self, buckets: int, tasks: Sequence[str], run_bytes: int = RUN_BYTES) -> None:
        self._buckets, self._tasks, self._run_bytes = buckets, tasks, run_bytes
        self._folder = ScratchFolder()
        self._waiting: list[pa.Table] = []
        self._size = 0
        self._runs: dict[str, list[SortedRun]] = {kind: [] for kind in KINDS}

    def add(self, samples: pa.Table) -> None:
        """Add samples (rows of SAMPLES); their column `order` decides the bucket of each."""
        self._waiting.append(samples)
        self._size += samples.nbytes
        if self._size >= self._run_bytes:
            self._flush()

    def publish(self, store: Store, names: dict[str, str]) -> None:
        """Write the two files; `names` maps kind (`light`, `heavy`) -> name in the store."""
        self._flush()
        for kind, name in names.items():
            store.write(name, partial(_merge, runs=self._runs[kind], buckets=self._buckets))

    def close(self) -> None:
        """Delete the runs on disk."""
        self._folder.close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        samples = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting, self._size = [], 0
        number = (shares(samples["order"].to_numpy()) * self._buckets).astype(np.int64)
        by_bucket = np.argsort(number, kind="stable")
        edges = np.searchsorted(number[by_bucket], np.arange(self._buckets + 1))
        samples = samples.take(pa.array(by_bucket))
        for kind, table in (
            ("heavy", samples.select(HEAVY.names)),
            ("light", light_of(samples, self._tasks)),
        ):
            path = self._folder.path / f"{kind}-{len(self._runs[kind])}"
            self._runs[kind].append(_write_run(path, table.cast(KINDS[kind]), edges, COMPRESSION[kind]))


class SortedRun(NamedTuple):
    """Sorted samples in a file; `offsets[b]` is the offset (bytes) of bucket b."""

    path: Path
    offsets: Ints  # buckets + 1


def _write_run(path: Path, table: pa.Table, edges: Ints, compression: str | None) -> SortedRun:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    offsets = np.zeros(len(edges), np.int64)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema, options=options) as stream:
        stream.write_batch(
            pa.RecordBatch.from_pylist([], table.schema)
        )  # behind the schema, which goes first
        offsets[0] = sink.tell()
        for bucket in np.flatnonzero(np.diff(edges)).tolist():
            stream.write_table(table.slice(edges[bucket], edges[bucket + 1] - edges[bucket]))
            offsets[bucket + 1] = sink.tell()
    return SortedRun(path, np.maximum.accumulate(offsets))


def _merge(sink: HashingSink, runs: Sequence[SortedRun], buckets: int) -> None:
    """Write the buckets in order, each with its part of every run, and after them the offset of each bucket."""
    offsets = np.zeros(buckets + 1, "<i8")
    with ExitStack() as held:
        files = [held.enter_context(run.path.open("rb")) for run in runs]
        if len(runs) == 1:
            _copy(files[0], int(runs[0].offsets[0]), int(runs[0].offsets[-1]), sink)
            offsets[:] = runs[0].offsets - runs[0].offsets[0]
        else:
            for bucket in range(buckets if runs else 0):
                for run, file in zip(runs, files, strict=True):
                    _copy(file, int(run.offsets[bucket]), int(run.offsets[bucket + 1]), sink)
                offsets[bucket + 1] = sink.size
    sink.write(offsets.tobytes())


def _copy(file: IO[bytes], start: int, stop: int, sink: HashingSink) -> None:
    file.seek(start)
    while start < stop:
        block = file.read(min(COPY_BYTES, stop - start))
        sink.write(block)
        start += len(block)


class SpillReader:
    """Reads the spill files of one kind, of all slices, by bucket."""

    def __init__(self, store: Store, names: Sequence[str], kind: str, buckets: int) -> None:
        self._store, self._names, self._schema = store, names, KINDS[kind]
        offsets = [*in_parallel(lambda name: self._offsets(name, buckets), names)]
        self.offsets = np.stack(offsets) if names else np.zeros((0, buckets + 1), np.int64)

    def buckets(self, first: int, stop: int) -> list[list[pa.Table]]:
        """Read the buckets from `first` to before `stop`; each is a list of its parts, one for each slice."""
        pieces = list(in_parallel(lambda number: self._range(number, first, stop), range(len(self._names))))
        found = []
        for bucket in range(first, stop):
            starts, stops = (self.offsets[:, at] - self.offsets[:, first] for at in (bucket, bucket + 1))
            found.append(
                [
                    read_batches(piece[start:end], self._schema)
                    for piece, start, end in zip(pieces, starts.tolist(), stops.tolist(), strict=True)
                ]
            )
        return found

    def piece(self, number: int, bucket: int) -> pa.Table:
        """Read the part of one bucket in slice `number`."""
        return read_batches(self._range(number, bucket, bucket + 1), self._schema)

    def _range(self, number: int, first: int, stop: int) -> memoryview:
        start, end = int(self.offsets[number, first]), int(self.offsets[number, stop])
        if start == end:
            return memoryview(b"")
        with self._store.fs.open_input_file(self._store.path(self._names[number])) as file:
            return memoryview(file.read_at(end - start, start))

    def _offsets(self, name: str, buckets: int) -> Ints:
        with self._store.fs.open_input_file(self._store.path(name)) as file:
            size = 8 * (buckets + 1)
            return np.frombuffer(file.read_at(size, file.size() - size), "<i8")


def read_batches(data: memoryview, schema: pa.Schema) -> pa.Table:
    """Read the consecutive record batches in `data` as one table."""
    batches, source = [], pa.BufferReader(data)
    while source.tell() < len(data):
        batches.append(pa.ipc.read_record_batch(pa.ipc.read_message(source), schema))
    return pa.Table.from_batches(batches, schema)
