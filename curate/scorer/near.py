"""Near duplicates among a scored run's rows: found by their features, and dropped from the shards."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from curate.engine.across import write_batches
from curate.errors import MachineError, ManifestError, UnitError
from curate.manifest.settings import ShardSettings
from curate.scorer.books import FOLDER, Asked, Books
from curate.scorer.identity import from_plain
from curate.scorer.meter import Meter
from curate.scorer.shard import Terms, stored, write
from curate.storage.store import Store
from filters.near import NOBODY, stored_matrix, witnesses
from filters.near_index import Matrix, NoRoomError, Rows

VERDICT = f"{FOLDER}/alike.arrow"
ALIKE = pa.schema([("path", pa.string()), ("row", pa.int64()), ("detail", pa.string())])  # a batch a shard


def drop_alike(store: Store, manifest: dict[str, Any], max_similarity: float, watch: Meter) -> dict[str, Any]:
    """Drop the rows of a scored run that are too much like an earlier one; its new `_manifest.json`.

    Who falls is written down before any of them is dropped, so that a kill changes nothing in it.

    Raises:
        ManifestError: the run was not scored, or its features were not kept.
        MachineError: faiss is needed and missing, or the disk for temporary files is full.
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
    )
    if not store.exists(VERDICT):
        rows = {one["path"]: one["rows"] for one in manifest["shards"]}
        write_batches(store, VERDICT, ALIKE, find_alike(store, rows, {}, max_similarity))
    watch.say("dropping the rows that are like an earlier one")
    for path, alike in _verdicts(store):
        if path in done:
            continue
        scored = stored(store, path, identity, features=True)
        if scored is None:
            raise ManifestError(f"{path} holds no features of {identity}: score it again, with --features")
        mine = msgspec.structs.replace(terms, alike={path: alike})
        done[path] = books.keep(write(store, path, scored, identity, mine))
    return books.close_alike(manifest, done)


def _verdicts(store: Store) -> Iterator[tuple[str, dict[int, str]]]:
    """Of each shard that loses rows, which fall and what they are like, as written down."""
    with store.fs.open_input_file(store.path(VERDICT)) as file:
        reader = ipc.open_file(file)
        for number in range(reader.num_record_batches):
            fell = reader.get_batch(number).to_pydict()
            yield fell["path"][0], dict(zip(fell["row"], fell["detail"], strict=True))


def find_alike(
    store: Store, rows: Mapping[str, int], gone: Mapping[str, Collection[int]], max_similarity: float
) -> Iterator[pa.Table]:
    """The rows of these shards, in order, that are too much like an earlier one: a table of ALIKE a shard.

    `rows` says how many each shard holds, `gone` which of these (by place) are not judged.

    Raises:
        UnitError: a shard does not hold so many rows.
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
        yield pa.table([[path] * len(places), places, detail], schema=ALIKE)


def _fallen(features: _Features, rows: int, max_similarity: float) -> tuple[Rows, Rows, Matrix]:
    """Which of the features fall, which earlier one each is like, and how similar it is."""
    first, found = 0, [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
    for witness, similarity in witnesses(features.blocks(), rows, max_similarity):
        fell = np.flatnonzero(witness != NOBODY)
        found.append((fell + first, witness[fell], similarity[fell]))
        first += len(witness)
    rows_, witness, similarity = map(np.concatenate, zip(*found, strict=True))
    return rows_, witness, similarity


class _Features:
    """The features of many shards, one after the other, and where each of them stands."""

    def __init__(self, store: Store, rows: Mapping[str, int], gone: Mapping[str, Collection[int]]) -> None:
        self._store, self._rows, self._gone = store, rows, gone
        self._there: list[np.ndarray] = []  # of each shard: a bit a row, whether its feature is judged
        self._starts = [0]  # of each shard's features

    def blocks(self) -> Iterator[np.ndarray]:
        """Each shard's features; rows without any are left out."""
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
        """Of these features (ascending) each shard's: path, places in it, bounds among `numbers`."""
        bounds = np.searchsorted(numbers, self._starts).tolist()
        for shard, (path, (first, stop)) in enumerate(zip(self._rows, pairwise(bounds), strict=True)):
            if first < stop:
                there = np.flatnonzero(np.unpackbits(self._there[shard]))
                yield path, there[numbers[first:stop] - self._starts[shard]], first, stop

    def keys(self, numbers: Rows) -> pa.LargeStringArray:
        """The keys of these rows."""
        kept = [pa.array([], pa.large_string())]
        for path, places, *_ in self.shards(numbers):
            kept.append(self._read(path, "key").take(pa.array(places)).cast(pa.large_string()))
        return pa.concat_arrays(kept)

    def _read(self, path: str, column: str) -> pa.Array:
        with self._store.fs.open_input_file(self._store.path(path)) as file:
            table = pq.read_table(file, columns=[column], page_checksum_verification=True)
        return table[column].combine_chunks()
