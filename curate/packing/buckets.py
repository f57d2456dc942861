"""A shuffle of more than memory holds: rows go into buckets on disk, then each bucket is sorted in memory.

A row's place in the whole order is a 64-bit number drawn from the seed and the row's number alone; its
highest part names the bucket. So the order is uniform, the same on every machine, and one bucket is all that
is held at once.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Words = npt.NDArray[np.uint64]


def draw(seed: int, stream: int, numbers: npt.NDArray[np.integer]) -> Words:
    """A 64-bit number for each of `numbers`, by SplitMix64; streams of one seed are independent."""
    with np.errstate(over="ignore"):
        state = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(stream)
        steps = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return _mix(_mix(np.array([state])) + steps)


def shares(words: Words) -> npt.NDArray[np.float64]:
    """The words as numbers from 0 to below 1."""
    parts: npt.NDArray[np.float64] = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return parts


def _mix(word: Words) -> Words:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Words = word ^ (word >> np.uint64(31))
    return mixed


class Buckets:
    """A folder of buckets; each is a file of Arrow streams one after another."""

    def __init__(self, folder: Path, count: int, buffer_bytes: int) -> None:
        self.folder = folder
        self.count = count
        self.buffer_bytes = buffer_bytes
        self._waiting: list[pa.Table] = []
        self._size = 0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def add(self, table: pa.Table) -> None:
        """Take rows in; their column `order` (uint64) says where they belong."""
        self._waiting.append(table)
        self._size += table.nbytes
        if self._size >= self.buffer_bytes:
            self.flush()

    def flush(self) -> None:
        """Write down what waits."""
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        self._waiting, self._size = [], 0
        number = (shares(table["order"].to_numpy()) * self.count).astype(np.int64)
        by_bucket = np.argsort(number, kind="stable")
        edges = np.searchsorted(number[by_bucket], np.arange(self.count + 1))
        for bucket in np.flatnonzero(np.diff(edges)):
            rows = table.take(pa.array(by_bucket[edges[bucket] : edges[bucket + 1]]))
            with self._path(int(bucket)).open("ab") as file, pa.ipc.new_stream(file, table.schema) as stream:
                stream.write_table(rows)

    def read(self, bucket: int, schema: pa.Schema) -> pa.Table:
        """The bucket's rows in their order; its file is removed."""
        path, tables = self._path(bucket), [schema.empty_table()]
        if path.exists():
            with pa.OSFile(str(path)) as file:
                while file.tell() < file.size():
                    tables.append(pa.ipc.open_stream(file).read_all())
            path.unlink()
        table = pa.concat_tables(tables)
        return table.take(pc.sort_indices(table["order"]))

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, bucket: int) -> Path:
        return self.folder / f"{bucket:06d}.arrow"
