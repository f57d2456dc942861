"""Makes sequences of their samples: tokens come from the spill files, images are read by range from the shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import DamagedError
from curate.packing.sequence_layout import LAID
from curate.packing.sequences import sequences_of
from curate.packing.spill import SpillReader
from curate.schema import LABEL
from curate.storage.dataset import DataSet
from curate.storage.image_index import checksum
from curate.storage.product_notes import absolute
from curate.storage.ranges import RangeReader, Ranges
from curate.storage.store import Store

Ints = npt.NDArray[np.int64]


class Assembler:
    """Makes the sequences that a layout decided, bucket by bucket; the latest bucket stays in memory."""

    def __init__(
        self,
        data: DataSet,
        store: Store,
        heavy: SpillReader,
        tasks: Sequence[str],
        grids: bool,
        references: bool,
    ) -> None:
        """Keep what is read from.

        Args:
            data: the shards.
            store: the packs' folder.
            heavy: the samples (HEAVY) in the spill files.
            tasks: the names of all tasks, by number.
            grids: whether the dialect's images are grids of patches.
            references: whether images stay in their shards, and the sequences say where they are.
        """
        self._data, self._store, self._heavy, self._tasks, self._grids = data, store, heavy, tasks, grids
        self._images = RangeReader(lambda number: data.files[number].uri)
        self._uris = [absolute(file.uri) for file in data.files] if references else None
        self._bucket: Bucket | None = None

    def close(self) -> None:
        """End the threads that read images."""
        self._images.close()

    def group(self, parts: Sequence[tuple[int, int, int]]) -> pa.Table:
        """Return a row group (PACK): of each (bucket, start, stop) the sequences from start to before stop."""
        return pa.concat_tables([self._sequences(*part) for part in parts])

    def _sequences(self, number: int, start: int, stop: int) -> pa.Table:
        bucket = self._bucket
        if bucket is None or bucket.number != number:
            self._bucket = None  # before the next one is read
            self._bucket = bucket = Bucket(number, self._store, self._heavy)
        laid = bucket.laid.slice(start, stop - start)
        samples = bucket.samples(laid["samples"].combine_chunks().flatten())
        if self._uris is None:
            samples = self._with_images(samples)
        counts = pc.list_value_length(laid["samples"]).to_numpy().astype(np.int64)
        names = pc.take(pa.array(self._tasks, pa.string()), pa.array(bucket.tasks, pa.int32()))
        code = pc.index_in(laid["task"].combine_chunks(), pa.array(bucket.tasks, pa.int16()))
        tasks = pa.DictionaryArray.from_arrays(code.cast(pa.int32()), names).cast(LABEL)
        return sequences_of(samples, counts, tasks, self._grids, self._uris)

    def _with_images(self, samples: pa.Table) -> pa.Table:
        """Return the samples with the bytes of the images whose places in their shards are known."""
        lists = samples["images"].combine_chunks()
        flat, edges = lists.flatten(), pc.list_value_length(lists).to_numpy()
        placed = flat.field("file").is_valid()
        if not pc.any(placed).as_py():
            return samples
        bodies = self._read(flat.filter(placed))
        if pc.all(placed).as_py():
            body = bodies
        else:  # the bytes of some images came with their samples
            place = pc.subtract(pc.cumulative_sum(placed.cast(pa.int64())), 1)
            body = pc.if_else(placed, bodies.take(pc.if_else(placed, place, 0)), flat.field("bytes"))
        fields = [body, *(flat.field(n) for n in range(1, flat.type.num_fields))]
        made = pa.StructArray.from_arrays(fields, fields=list(flat.type))
        starts = pa.array(np.concatenate([[0], np.cumsum(edges)]), pa.int64())
        column = pa.LargeListArray.from_arrays(starts, made)
        return samples.set_column(samples.schema.get_field_index("images"), "images", column)

    def _read(self, images: pa.StructArray) -> pa.Array:
        """Read the bytes of images (large_binary) at their places in the shards.

        Raises:
            DamagedError: the bytes are not those that were written.
        """
        file, offset, size = (
            images.field(name).to_numpy().astype(np.int64) for name in ("file", "offset", "size")
        )
        body = self._images.read(Ranges(file, offset, size))
        ends = np.concatenate([[0], np.cumsum(size)])
        view, sums = memoryview(body), images.field("sum").to_numpy()
        for number in range(len(size)):
            if checksum(view[ends[number] : ends[number + 1]]) != sums[number]:
                raise DamagedError(
                    f"{self._data.files[int(file[number])].uri}, image {images.field('path')[number]}: its bytes are "
                    "not those that were written; `curate verify` on its folder names every damaged file"
                )
        buffers = [None, pa.py_buffer(ends.astype(np.int64)), pa.py_buffer(body)]
        return pa.Array.from_buffers(pa.large_binary(), len(size), buffers)


class Bucket:
    """The sequences (LAID) of one bucket and their samples (HEAVY), some of which waited from earlier buckets."""

    def __init__(self, number: int, store: Store, heavy: SpillReader) -> None:
        self.number, self._heavy = number, heavy
        self.laid = read_laid(store, number)
        self.tasks = sorted(pc.unique(self.laid["task"]).to_pylist())
        (parts,) = heavy.buckets(number, number + 1)
        self._parts = [parts.pop(0).combine_chunks() for _ in parts[:]]  # joined they would be there twice

    def samples(self, where: pa.StructArray) -> pa.Table:
        """Return the samples at some places (WHERE), in that order."""
        part, bucket, row = (
            where.field(name).to_numpy().astype(np.int64) for name in ("slice", "bucket", "row")
        )
        tables, numbers = list[pa.Table](), list[Ints]()
        for of, mine in _by_piece(part, bucket, np.arange(len(row))):
            piece = self._parts[of[0]] if of[1] == self.number else self._heavy.piece(*of)
            tables.append(piece.take(pa.array(row[mine])))
            numbers.append(mine)
        order = np.argsort(np.concatenate(numbers), kind="stable")
        return pa.concat_tables(tables).combine_chunks().take(pa.array(order)).combine_chunks()


def _by_piece(part: Ints, bucket: Ints, samples: Ints) -> Iterator[tuple[tuple[int, int], Ints]]:
    """Group samples by slice and bucket; yield each (slice, bucket) and the indexes of its samples."""
    order = samples[np.lexsort((bucket[samples], part[samples]))]
    changes = (np.diff(part[order]) != 0) | (np.diff(bucket[order]) != 0)
    for mine in np.split(order, np.flatnonzero(changes) + 1):
        yield (int(part[mine[0]]), int(bucket[mine[0]])), mine


def laid_name(bucket: int) -> str:
    """Name the temporary file with the sequences (LAID) of a bucket."""
    return f"_run/pack/laid/{bucket:06d}.arrow"


def write_laid(store: Store, bucket: int, sequences: pa.Table) -> None:
    """Write the sequences (LAID) of a bucket to its temporary file."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, LAID, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(sequences)
    store.write_bytes(laid_name(bucket), sink.getvalue().to_pybytes())


def read_laid(store: Store, bucket: int) -> pa.Table:
    """Read the sequences (LAID) of a bucket from its temporary file."""
    data = store.read_bytes(laid_name(bucket))
    return pa.ipc.open_file(pa.py_buffer(data or b"")).read_all()
