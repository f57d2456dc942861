"""Near duplicates by feature: of images that look alike, the first stays.

Rows are judged in order. A row is dropped if it is more similar than is allowed (cosine of the features, to six
decimals) to an earlier row that was kept; that row is its witness. So kept rows are pairwise dissimilar. Up to
EXACT_ROWS rows, all pairs are compared. With more, an index (`filters.near_duplicate_index`) proposes some rows for
each row, and only these are compared: every dropped row still has a true witness, but a few near duplicates are missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.near_duplicate_index import Clusters, Matrix, NearIndex, Rows, Scratch, floor, unit
from filters.rule import rule

EXACT_ROWS = 50_000
PART_ROWS = 1024
DECIMALS = 6  # of a similarity: beyond them it depends on the order of additions
NOBODY = -1


class RowsThatStay(Protocol):
    """The rows that stay so far, among which those of the next part look for theirs."""

    def nearest(self, part: Matrix) -> tuple[Rows, Matrix]:
        """The most similar row that stays, of those found for each (NOBODY without any), and how similar it is."""

    def add(self, features: Matrix, rows: Rows) -> None:
        """Keep these rows, by their numbers."""


@rule("near_duplicate")
def unlike_all_before(clip_features: pa.ListArray, *, max_similarity: float) -> pa.BooleanArray:
    """Keep rows whose cosine with every row kept before is at most `max_similarity`; null without a feature."""
    there = clip_features.is_valid()
    features = stored_matrix(clip_features.drop_null())
    witness = np.concatenate(
        [[], *(found for found, _ in witnesses([features], len(features), max_similarity))]
    )
    keep = np.zeros(len(clip_features), bool)
    keep[there.to_numpy(zero_copy_only=False)] = witness == NOBODY
    return pa.array(keep, mask=~there.to_numpy(zero_copy_only=False))


def witnesses(
    blocks: Iterable[npt.NDArray[Any]], rows: int, max_similarity: float
) -> Iterator[tuple[Rows, Matrix]]:
    """Yield for each part of the rows: the earlier row that each is too similar to (NOBODY if none), and their cosine.

    `blocks` are features as stored (N x D, float16), at most `rows` in all; `rows` decides whether all pairs are
    compared or an index is used. For the index they are first written to a temporary file, 2 bytes a number.

    Raises:
        ImportError: there are more than EXACT_ROWS, and faiss is not installed.
        NoRoomError: the disk has no room for the temporary file.
    """
    blocks = iter(blocks)
    for head in blocks:
        dimension, blocks = head.shape[1], chain([head], blocks)
        break
    else:
        return
    kept: RowsThatStay
    if rows <= EXACT_ROWS:
        kept = Compared(dimension)
        cut = (block[at : at + PART_ROWS] for block in blocks for at in range(0, len(block), PART_ROWS))
        parts = (unit(part) for part in cut)
    else:
        import faiss  # noqa: F401 - fail here if it is missing, not after everything was written

        scratch = Scratch(rows, dimension)
        for block in blocks:
            scratch.append(block)
        clusters = Clusters.trained(scratch.rows, dimension, scratch.take)
        kept = NearIndex(clusters, scratch.take, floor(max_similarity, dimension))
        parts = (scratch.part(at, PART_ROWS) for at in range(0, scratch.rows, PART_ROWS))
    yield from judged(parts, kept, max_similarity)


def judged(
    parts: Iterable[Matrix], kept: RowsThatStay, max_similarity: float
) -> Iterator[tuple[Rows, Matrix]]:
    """What `witnesses` yields, of all rows (unit ones) by parts in their order; `kept` has none at first."""
    first = 0
    for part in parts:
        yield _judge(part, first, kept, max_similarity)
        first += len(part)


def stored_matrix(features: pa.ListArray) -> npt.NDArray[Any]:
    """A column of features as a matrix (N x D, float16); none may be null."""
    if not len(features):
        return np.zeros((0, 1), np.float16)
    stored: npt.NDArray[Any] = features.flatten().to_numpy(zero_copy_only=False)
    return stored.reshape(len(features), -1)


def feature_matrix(features: pa.ListArray) -> Matrix:
    """A column of features as a matrix of rows of length 1 (N x D, float32); none may be null."""
    return unit(stored_matrix(features))


def _judge(part: Matrix, first: int, kept: RowsThatStay, max_similarity: float) -> tuple[Rows, Matrix]:
    """Compare a part with the rows kept before it and with each other; add the rows without a witness to `kept`."""
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


class Compared:
    """The rows that were kept, with all of which each row is compared."""

    def __init__(self, dimension: int) -> None:
        self._features = np.zeros((PART_ROWS, dimension), np.float32)
        self._rows = np.zeros(PART_ROWS, np.int64)
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
