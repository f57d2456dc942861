"""Near duplicates among a scored run's rows: found by their features, and dropped from the shards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import MachineError, ManifestError
from curate.manifest import ShardSettings
from curate.scorer.books import Asked, Books
from curate.scorer.identity import from_plain
from curate.scorer.meter import Meter
from curate.scorer.shard import Terms, stored, write
from curate.store import Store
from filters.near import NOBODY, Matrix, feature_matrix, witnesses

Alike = dict[str, dict[int, str]]  # shard to row to what it is like


def drop_alike(store: Store, manifest: dict[str, Any], max_similarity: float, watch: Meter) -> dict[str, Any]:
    """Drop the rows of a scored run that are too much like an earlier one; its new `_manifest.json`.

    What was dropped before a kill changes nothing in who falls: those are compared with rows that stay.

    Raises:
        ManifestError: the run was not scored, or its features were not kept.
        MachineError: faiss is needed and missing.
    """
    if manifest["scorer"] is None:
        raise ManifestError(f"near duplicates are found by their features: score {store.uri} first")
    identity, books = from_plain(manifest["scorer"]), Books(store, "")
    asked = Asked(
        scorer=identity.plain(), features=True, threshold=None, name="", max_similarity=max_similarity
    )
    manifest, done = books.open(manifest, asked, rescore=False)
    terms = Terms(
        name="",
        features=True,
        threshold=None,
        drops_sample=manifest["manifest"]["drops"]["sample"],
        shard=msgspec.convert(manifest["manifest"]["shard"], ShardSettings),
        alike=find_alike(store, {one["path"]: () for one in manifest["shards"]}, max_similarity),
    )
    watch.say(f"{sum(map(len, terms.alike.values()))} rows are like an earlier one: dropping them")
    for path in terms.alike:
        scored = stored(store, path, identity, features=True)
        if scored is None:
            raise ManifestError(f"{path} holds no features of {identity}: score it again, with --features")
        done[path] = books.keep(write(store, path, scored, identity, terms))
    return books.close_alike(manifest, done)


def find_alike(store: Store, shards: Mapping[str, Collection[int]], max_similarity: float) -> Alike:
    """The rows of these shards, in their order, that are too much like an earlier one that stays.

    `shards` gives for each path the rows that are left out.

    Raises:
        MachineError: faiss is needed and missing.
    """
    columns = _Columns(store, {path: gone for path, gone in shards.items() if store.exists(path)})
    try:
        judged = list(witnesses(columns.blocks(), columns.total(), max_similarity))
    except ImportError:
        raise MachineError(
            f"comparing {columns.total()} rows needs faiss: pip install 'curate[dedup]' -c constraints.txt"
        ) from None
    witness = np.concatenate([np.zeros(0, np.int64), *(found for found, _ in judged)])
    similarity = np.concatenate([np.zeros(0, np.float32), *(found for _, found in judged)])
    alike: Alike = {}
    for row in np.flatnonzero(witness != NOBODY).tolist():
        path, place, _ = columns.place(row)
        like = f"similarity={similarity[row]:.4f} to {columns.place(int(witness[row]))[2]}"
        alike.setdefault(path, {})[place] = like
    return alike


class _Columns:
    """The features of many shards, one after the other, and where each of them stands."""

    def __init__(self, store: Store, shards: Mapping[str, Collection[int]]) -> None:
        self._store, self._shards, self._paths = store, shards, list(shards)
        self._rows: list[np.ndarray] = []  # of each shard's features
        self._keys: list[pa.Array] = []  # of each shard's rows
        self._starts = [0]

    def total(self) -> int:
        """Rows, with and without features."""
        return sum(self._open(path, lambda reader: int(reader.metadata.num_rows)) for path in self._paths)

    def blocks(self) -> Iterator[Matrix]:
        """Each shard's features; rows without any are left out."""
        for path in self._paths:
            table = self._open(path, lambda reader: reader.read(columns=["key", "clip_features"]))
            features = table["clip_features"].combine_chunks()
            there = features.is_valid().to_numpy(zero_copy_only=False).copy()
            there[list(self._shards[path])] = False
            self._rows.append(np.flatnonzero(there))
            self._keys.append(table["key"].combine_chunks())
            self._starts.append(self._starts[-1] + len(self._rows[-1]))
            if len(self._rows[-1]):
                yield feature_matrix(features.filter(pa.array(there)))

    def place(self, row: int) -> tuple[str, int, str]:
        """The shard, the row in it and the key of the feature number `row`."""
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        place = int(self._rows[shard][row - self._starts[shard]])
        return self._paths[shard], place, self._keys[shard][place].as_py()

    def _open(self, path: str, read: Callable[[pq.ParquetFile], Any]) -> Any:
        with self._store.fs.open_input_file(self._store.path(path)) as file:
            return read(pq.ParquetFile(file, page_checksum_verification=True))
