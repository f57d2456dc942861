"""Near duplicates by feature: of images that look alike, the first stays.

Rows are taken in their order. A row falls if a row that stayed before it is more similar than is allowed
(cosine of the features, to six decimals), so that what stays is pairwise dissimilar and what falls has a
witness. Up to EXACT_ROWS all pairs are compared; beyond that an inverted-file index (faiss) compares each row
with the clusters nearest to it, which may miss a few pairs close to the threshold.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.rule import rule

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

EXACT_ROWS = 50_000
BLOCK_ROWS = 1024
CLUSTER_ROWS = 2048  # rows a cluster, about
PROBES = 16  # clusters that a row is compared with
TRAINING_ROWS = 64  # a cluster
DECIMALS = 6  # of a similarity: beyond them it depends on the order of additions
NOBODY = -1


@rule("near_duplicate")
def unlike_all_before(clip_features: pa.ListArray, *, max_similarity: float) -> pa.BooleanArray:
    """Keep rows at most `max_similarity` (cosine) like every row kept before; null without a feature."""
    there = clip_features.is_valid()
    features = feature_matrix(clip_features.drop_null())
    witness = np.concatenate(
        [[], *(found for found, _ in witnesses([features], len(features), max_similarity))]
    )
    keep = np.zeros(len(clip_features), bool)
    keep[there.to_numpy(zero_copy_only=False)] = witness == NOBODY
    return pa.array(keep, mask=~there.to_numpy(zero_copy_only=False))


def witnesses(blocks: Iterable[Matrix], rows: int, max_similarity: float) -> Iterator[tuple[Rows, Matrix]]:
    """For each block of features: which earlier row each is too similar to (NOBODY if none), and how similar.

    Blocks are unit features (N x D); of how many `rows` in all decides between the exact way and the index.

    Raises:
        ImportError: there are more than EXACT_ROWS, and faiss is not installed.
    """
    kept: _Exact | _Clustered | None = None
    first = 0
    for block in blocks:
        for part in np.array_split(block, max(1, -(-len(block) // BLOCK_ROWS))):
            if kept is None:
                kept = _Exact(part.shape[1]) if rows <= EXACT_ROWS else _Clustered(part.shape[1], rows)
            found = _judge(part, first, kept, max_similarity)
            first += len(part)
            yield found


def feature_matrix(features: pa.ListArray) -> Matrix:
    """A column of features as a matrix of unit rows (N x D, float32); none may be null."""
    if not len(features):
        return np.zeros((0, 1), np.float32)
    stored = features.flatten().to_numpy(zero_copy_only=False)
    values: Matrix = stored.astype(np.float32).reshape(len(features), -1)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)  # float16 moved it a little
    return values


def _judge(part: Matrix, first: int, kept: Any, max_similarity: float) -> tuple[Rows, Matrix]:
    """Compare a part with the rows kept before it and with its own; keep what falls to nobody."""
    witness, similarity = kept.nearest(part)
    similarity = similarity.round(DECIMALS)
    witness[similarity <= max_similarity] = NOBODY
    among = np.tril(part @ part.T, -1).round(DECIMALS)
    for row in np.flatnonzero((among > max_similarity).any(axis=1)):
        if witness[row] != NOBODY:
            continue
        others = np.flatnonzero((among[row] > max_similarity) & (witness[: len(part)] == NOBODY))
        if len(others):
            nearest = others[among[row, others].argmax()]
            witness[row], similarity[row] = first + nearest, among[row, nearest]
    alive = np.flatnonzero(witness == NOBODY)
    kept.add(part[alive], alive + first)
    return witness, similarity


class _Exact:
    """All rows that were kept, compared one by one."""

    def __init__(self, dimension: int) -> None:
        self._features = np.zeros((BLOCK_ROWS, dimension), np.float32)
        self._rows = np.zeros(BLOCK_ROWS, np.int64)
        self._count = 0

    def nearest(self, part: Matrix) -> tuple[Rows, Matrix]:
        """The most similar kept row of each (NOBODY while there is none), and how similar it is."""
        if not self._count:
            return np.full(len(part), NOBODY), np.full(len(part), -2, np.float32)
        similarity = part @ self._features[: self._count].T
        best = similarity.argmax(axis=1)
        return self._rows[best], similarity[np.arange(len(part)), best]

    def add(self, features: Matrix, rows: Rows) -> None:
        """Keep these rows."""
        while self._count + len(rows) > len(self._rows):
            self._features = np.concatenate([self._features, np.zeros_like(self._features)])
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._features[self._count : self._count + len(rows)] = features
        self._rows[self._count : self._count + len(rows)] = rows
        self._count += len(rows)


class _Clustered:
    """The same by clusters, once enough rows have been seen to find these."""

    def __init__(self, dimension: int, rows: int) -> None:
        import faiss

        self._faiss, self._clusters = faiss, max(1, rows // CLUSTER_ROWS)
        self._index: Any = None
        self._first = _Exact(dimension)
        self._seen: list[tuple[Matrix, Rows]] = []

    def nearest(self, part: Matrix) -> tuple[Rows, Matrix]:
        """See `_Exact.nearest`."""
        if self._index is None:
            return self._first.nearest(part)
        similarity, rows = self._index.search(np.ascontiguousarray(part), 1)
        return rows[:, 0].astype(np.int64), similarity[:, 0]

    def add(self, features: Matrix, rows: Rows) -> None:
        """See `_Exact.add`."""
        if self._index is not None:
            self._index.add_with_ids(np.ascontiguousarray(features), rows)
            return
        self._first.add(features, rows)
        self._seen.append((features, rows))
        if sum(len(numbers) for _, numbers in self._seen) >= min(EXACT_ROWS, self._clusters * TRAINING_ROWS):
            self._train()

    def _train(self) -> None:
        """Find the clusters from what was seen so far, and move it there."""
        seen = np.concatenate([features for features, _ in self._seen])
        quantizer = self._faiss.IndexFlatIP(seen.shape[1])
        kind = self._faiss.ScalarQuantizer.QT_fp16
        inner = self._faiss.METRIC_INNER_PRODUCT
        clusters = min(self._clusters, len(seen) // 39 or 1)
        self._index = self._faiss.IndexIVFScalarQuantizer(quantizer, seen.shape[1], clusters, kind, inner)
        self._index.cp.seed = 1234
        self._index.nprobe = PROBES
        self._faiss.omp_set_num_threads(1)  # more would add up in another order each time
        self._index.train(seen)
        self._faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
        self._index.add_with_ids(seen, np.concatenate([rows for _, rows in self._seen]))
        self._seen, self._first = [], _Exact(1)
