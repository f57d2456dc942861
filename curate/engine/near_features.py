"""The CLIP features among which near duplicates are searched: spilled by slice, and read by the numbers of their rows.

The rows to compare are numbered from 0 through the whole run. A slice writes two files to `_run/near`: first its
features as they are stored, 2 bytes a number, each row with a checksum; then the places and keys of their rows (SPILL,
one record batch for each shard). That the second file exists means that both are complete.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curate.engine.output import Fallen, Staging
from curate.engine.record import UnitRecord
from curate.errors import UnitError
from curate.storage.batch_files import damaged, digest, read_batches, read_told, write_batches
from curate.storage.ranges import OPEN_FILES, RangeReader, Ranges
from curate.storage.store import HashingSink, Store
from filters.near_duplicate import PART_ROWS, stored_matrix
from filters.near_duplicate_index import Matrix, Rows, unit

SPILL = pa.schema(
    [("unit", pa.int32()), ("row", pa.int32()), ("key", pa.string())]
)  # `row` is the row's number among the unit's kept rows
NUMBER_BYTES = 2  # bytes of each number of a stored feature
WORD = 8  # bytes of a row's checksum; a row's features are filled up to a multiple of it
BLOCK_ROWS = (16 * PART_ROWS, 1024 * PART_ROWS)  # least and most rows of a block
BLOCKS = 256  # how many blocks there are, unless their size would be outside of BLOCK_ROWS


class SliceFeatures(msgspec.Struct, frozen=True):
    """What a slice has spilled."""

    kept: int = 0  # rows of its staged shards
    dimension: int = 0  # numbers of a feature; 0 if it has no features
    shards: list[int] = []  # for each of its shards, the rows that are compared


class NearPlan(msgspec.Struct, frozen=True, dict=True):
    """How the rows of a run are compared."""

    slices: list[SliceFeatures]
    indexed: bool  # whether an index says which rows are worth comparing

    @cached_property
    def starts(self) -> Rows:
        """The number of each slice's first row among all rows that are compared, and last the number of all rows."""
        counts = [sum(one.shards) for one in self.slices]
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)

    @property
    def rows(self) -> int:
        """The number of rows that are compared."""
        return int(self.starts[-1])

    @property
    def dimension(self) -> int:
        """The numbers of a feature; 0 if there are no features."""
        return max((one.dimension for one in self.slices), default=0)

    @property
    def block_rows(self) -> int:
        """The number of rows of a block, which one process searches for at once: a multiple of PART_ROWS."""
        low, high = BLOCK_ROWS
        return min(max(-(-self.rows // BLOCKS // PART_ROWS) * PART_ROWS, low), high)

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return -(-self.rows // self.block_rows)

    def block(self, number: int) -> range:
        """Return the numbers of the rows of a block."""
        start = number * self.block_rows
        return range(start, min(start + self.block_rows, self.rows))

    def parts(self) -> Iterator[range]:
        """Yield ranges of at most PART_ROWS rows, which are judged at once.

        With an index they lie within blocks; without one, each lies within a shard.
        """
        for number in range(self.blocks) if self.indexed else ():
            yield from parts_of(self.block(number))
        first = 0
        for rows in () if self.indexed else (rows for one in self.slices for rows in one.shards):
            yield from parts_of(range(first, first + rows))
            first += rows


def parts_of(rows: range) -> Iterator[range]:
    """Divide a range of rows into ranges of PART_ROWS; the last may be shorter."""
    return (rows[at : at + PART_ROWS] for at in range(0, len(rows), PART_ROWS))


def features_name(number: int) -> str:
    """Return the name of the file with a slice's features."""
    return f"_run/near/features-{number:06d}.bin"


def spill_features(
    staging: Staging, name: str, number: int, units: Iterable[tuple[UnitRecord, Fallen]]
) -> None:
    """Write the features of a slice, then the places and keys of their rows.

    Args:
        staging: reads the staged shards.
        name: the name of the second file.
        number: the slice's number.
        units: each unit's record, and the kept rows that other rules across the run drop; these are left out.

    Raises:
        UnitError: a shard has another number of rows than its record says.
    """
    store, places = staging.store, list[pa.Table]()
    kept = dimension = 0

    def fill(sink: HashingSink) -> None:
        nonlocal kept, dimension
        places.clear()
        kept = dimension = 0
        for record, fallen in units:
            first = 0
            for shard in record.shards:
                stored, rows = _kept_features(
                    _shard(staging, shard.path, shard.rows), record.unit, first, fallen
                )
                if len(stored):
                    dimension = stored.shape[1]
                    sink.write(sealed_rows(store, stored.astype(np.float16)).tobytes())
                places.append(rows)
                first += shard.rows
            kept += first

    store.write(features_name(number), fill)
    said = msgspec.json.encode(SliceFeatures(kept, dimension, [table.num_rows for table in places]))
    write_batches(store, name, SPILL, places, said)


def _kept_features(
    table: Mapping[str, pa.Array], number: int, first: int, fallen: Fallen
) -> tuple[npt.NDArray[Any], pa.Table]:
    """Return the features of a shard's rows that have some and have not fallen, and where these rows are.

    Args:
        table: the shard's columns.
        number: its unit's.
        first: the number of its first row in the unit.
        fallen: the rows of the unit that are left out.

    Returns:
        The features (N, D), and a table of SPILL with N rows.
    """
    there = table["clip_features"].is_valid().to_numpy(zero_copy_only=False).copy()
    there[[row - first for row in fallen if first <= row < first + len(there)]] = False
    rows = np.flatnonzero(there)
    columns = [
        pa.array(np.full(len(rows), number, np.int32)),
        pa.array(rows + first, pa.int32()),
        table["key"].take(pa.array(rows)),
    ]
    places = pa.table(columns, SPILL.names).cast(SPILL)
    return stored_matrix(table["clip_features"].filter(pa.array(there))), places


def read_spilled(store: Store, name: str) -> SliceFeatures:
    """Return what a slice has spilled, from its file `name` of places and keys."""
    return msgspec.json.decode(read_told(store, name), type=SliceFeatures)


def read_places(store: Store, name: str) -> pa.Table:
    """Return the places and keys of a slice's rows, from its file `name` (rows of SPILL)."""
    return pa.concat_tables([SPILL.empty_table(), *read_batches(store, name)])


def sealed_rows(store: Store, features: npt.NDArray[np.float16]) -> npt.NDArray[np.uint8]:
    """Return rows of features (N x D) as they are stored: N rows of bytes, each with its checksum at the end."""
    data = np.ascontiguousarray(features).view(np.uint8).reshape(len(features), -1)
    padded = np.pad(data, ((0, 0), (0, -data.shape[1] % WORD)))
    return np.concatenate([padded, _sums(store, padded)], axis=1)


def row_bytes(dimension: int) -> int:
    """Return how many bytes a stored row of so many numbers takes."""
    return -(-dimension * NUMBER_BYTES // WORD) * WORD + WORD


def _sums(store: Store, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the checksum of each row (N rows of bytes, a multiple of WORD), which differs from run to run."""
    of_zeros = np.frombuffer(digest(store, "features", b""), np.uint64)[:1]  # so zeros alone are no valid row
    words: npt.NDArray[np.uint64] = (
        np.bitwise_xor.reduce(rows.view(np.uint64), axis=1, keepdims=True) ^ of_zeros
    )
    return words.view(np.uint8)


def _shard(staging: Staging, path: str, rows: int) -> dict[str, pa.Array]:
    """Return the features and keys of a staged shard."""
    store, name = staging.store, staging.place(path)
    with store.fs.open_input_file(store.path(name)) as file:
        table = pq.read_table(file, columns=["clip_features", "key"], page_checksum_verification=True)
    if table.num_rows != rows:
        raise UnitError(f"{name} holds {table.num_rows} rows instead of {rows}: see curate verify")
    return {column: table[column].combine_chunks() for column in table.column_names}


class StoredFeatures:
    """Reads the features of rows by their numbers, as float32 vectors of unit length."""

    def __init__(self, store: Store, plan: NearPlan) -> None:
        self._store, self._plan = store, plan
        self._width = row_bytes(plan.dimension)
        self._map: Callable[[int], npt.NDArray[np.uint8]] = lru_cache(OPEN_FILES)(self._mapped)
        self._ranges = RangeReader(lambda number: f"{store.uri}/{features_name(number)}")

    def part(self, rows: range) -> Matrix:
        """Return the features of a range of rows, in order (N x D)."""
        starts, pieces = self._plan.starts, [np.zeros((0, self._plan.dimension), np.float16)]
        for number in range(int(np.searchsorted(starts, rows.start, "right")) - 1, len(starts) - 1):
            first, stop = max(rows.start, int(starts[number])), min(rows.stop, int(starts[number + 1]))
            if first < stop:
                with self._store.fs.open_input_file(self._store.path(features_name(number))) as file:
                    size = (stop - first) * self._width
                    data = file.read_at(size, (first - int(starts[number])) * self._width)
                    if len(data) < size:
                        raise damaged(self._store, features_name(number))
                    pieces.append(self._opened(np.frombuffer(data, np.uint8), number))
        return unit(np.concatenate(pieces))

    def take(self, rows: Rows) -> Matrix:
        """Return the features of any rows, in the order of `rows` (N x D)."""
        number = np.searchsorted(self._plan.starts, rows, "right") - 1
        places = rows - self._plan.starts[number]
        if not self._store.local:
            sizes = np.full(len(rows), self._width)
            body = self._ranges.read(Ranges(number, places * self._width, sizes))
            return unit(self._opened(np.frombuffer(body, np.uint8), int(number[0]) if len(rows) else 0))
        taken = np.empty((len(rows), self._plan.dimension), np.float16)
        order = np.argsort(number, kind="stable")
        for mine in np.split(order, np.flatnonzero(np.diff(number[order])) + 1) if len(rows) else ():
            file = int(number[mine[0]])
            taken[mine] = self._opened(self._map(file)[places[mine]], file)
        return unit(taken)

    def _opened(self, data: npt.NDArray[np.uint8], number: int) -> npt.NDArray[np.float16]:
        """Return the features (N x D) of rows as they are stored in slice `number`, or the first of several slices.

        Raises:
            DamagedStateError: the checksum of one is another.
        """
        stored = data.reshape(-1, self._width)
        features = np.ascontiguousarray(stored[:, :-WORD])
        if (_sums(self._store, features) != stored[:, -WORD:]).any():
            raise damaged(self._store, features_name(number))
        return features[:, : self._plan.dimension * NUMBER_BYTES].copy().view(np.float16)

    def close(self) -> None:
        """End the threads that read from an object store."""
        self._ranges.close()

    def _mapped(self, number: int) -> npt.NDArray[np.uint8]:
        """Map the file with a slice's features into memory, if it is on a disk; only what is used is read."""
        descriptor = os.open(self._store.path(features_name(number)), os.O_RDONLY)
        try:
            mapped = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
        except ValueError:  # it is empty
            raise damaged(self._store, features_name(number)) from None
        finally:
            os.close(descriptor)
        mapped.madvise(mmap.MADV_RANDOM)
        if len(mapped) != int(np.diff(self._plan.starts)[number]) * self._width:
            raise damaged(self._store, features_name(number))
        return np.frombuffer(mapped, np.uint8).reshape(-1, self._width)
