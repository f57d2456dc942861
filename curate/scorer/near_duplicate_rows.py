"""Find near duplicates: rows of scored shards whose image is too similar to the image of an earlier row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import MachineError, UnitError
from curate.storage.store import Store
from filters.near_duplicate import NOBODY, stored_matrix, witnesses
from filters.near_duplicate_index import Matrix, NoRoomError, Rows

# One record batch for each shard: its near duplicates, and in `detail` the similarity to which row's key.
NEAR_DUPLICATES = pa.schema([("path", pa.string()), ("row", pa.int64()), ("detail", pa.string())])


def find_near_duplicates(
    store: Store, rows: Mapping[str, int], gone: Mapping[str, Collection[int]], max_similarity: float
) -> Iterator[pa.Table]:
    """Yield, for each shard with near duplicates, in order, a table of NEAR_DUPLICATES with those rows.

    `rows` maps each shard to its number of rows, `gone` shards to the numbers of rows that are not compared. A row is a
    near duplicate if the cosine of its feature with that of an earlier row that stays is above `max_similarity`.

    Raises:
        UnitError: a shard holds another number of rows than `rows` says.
        MachineError: faiss is needed and missing, or the disk for temporary files is full.
    """
    features = _Features(store, rows, gone)
    try:
        fell, witness, similarity = _fallen(features, sum(rows.values()), max_similarity)
    except ImportError:
        raise MachineError(
            f"comparing {sum(rows.values())} rows needs faiss: pip install 'curate[dedup]' -c constraints.txt"
        ) from None
    except NoRoomError as error:
        raise MachineError(f"{error}: set TMPDIR to a folder of a disk that has it") from None
    stays = np.unique(witness)
    keys = features.keys(stays)
    for path, places, first, stop in features.shards(fell):
        near = keys.take(pa.array(np.searchsorted(stays, witness[first:stop]))).to_pylist()
        told = zip(similarity[first:stop].tolist(), near, strict=True)
        detail = [f"similarity={cosine:.4f} to {key}" for cosine, key in told]
        yield pa.table([[path] * len(places), places, detail], schema=NEAR_DUPLICATES)


def _fallen(features: _Features, rows: int, max_similarity: float) -> tuple[Rows, Rows, Matrix]:
    """The numbers of the features that are near duplicates, the earlier feature that each resembles, their cosine."""
    first, found = 0, [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
    for witness, similarity in witnesses(features.blocks(), rows, max_similarity):
        fell = np.flatnonzero(witness != NOBODY)
        found.append((fell + first, witness[fell], similarity[fell]))
        first += len(witness)
    rows_, witness, similarity = map(np.concatenate, zip(*found, strict=True))
    return rows_, witness, similarity


class _Features:
    """The features of many shards, numbered consecutively, with the shard and row of each."""

    def __init__(self, store: Store, rows: Mapping[str, int], gone: Mapping[str, Collection[int]]) -> None:
        self._store, self._rows, self._gone = store, rows, gone
        self._there: list[np.ndarray] = []  # for each shard, one bit a row: whether its feature is compared
        self._starts = [0]  # for each shard: the number of its first feature

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield each shard's features (rows x dimension); rows without a feature are left out."""
        for path, rows in self._rows.items():
            features = self._read(path, "clip_features")
            if len(features) != rows:
                raise UnitError(f"{path} holds {len(features)} rows instead of {rows}: see curate verify")
            there = features.is_valid().to_numpy(zero_copy_only=False).copy()
            there[list(self._gone.get(path, ()))] = False
            self._there.append(np.packbits(there))
            self._starts.append(self._starts[-1] + int(there.sum()))
            if there.any():
                yield stored_matrix(features.filter(pa.array(there)))

    def shards(self, numbers: Rows) -> Iterator[tuple[str, Rows, int, int]]:
        """Group feature numbers (ascending) by shard: yield path, row numbers, and start and stop in `numbers`."""
        bounds = np.searchsorted(numbers, self._starts).tolist()
        for shard, (path, (first, stop)) in enumerate(zip(self._rows, pairwise(bounds), strict=True)):
            if first < stop:
                there = np.flatnonzero(np.unpackbits(self._there[shard]))
                yield path, there[numbers[first:stop] - self._starts[shard]], first, stop

    def keys(self, numbers: Rows) -> pa.LargeStringArray:
        """The keys of the rows with these feature numbers."""
        kept = [pa.array([], pa.large_string())]
        for path, places, *_ in self.shards(numbers):
            kept.append(self._read(path, "key").take(pa.array(places)).cast(pa.large_string()))
        return pa.concat_arrays(kept)

    def _read(self, path: str, column: str) -> pa.Array:
        with self._store.fs.open_input_file(self._store.path(path)) as file:
            table = pq.read_table(file, columns=[column], page_checksum_verification=True)
        return table[column].combine_chunks()
