"""An index of features that proposes which rows to compare; it takes little more than one bit a number.

Rows are stored in clusters, with one bit a number and two factors (RaBitQ). The features themselves are in a temporary
file; only those of likely near duplicates are read. Rows and centres of clusters are rounded to whole numbers, whose
products add up to less than 2^24. Float32 adds such numbers without error, so neither the number of threads nor the
order of additions changes which clusters are searched.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
Stored = npt.NDArray[np.float16]
Rows = npt.NDArray[np.int64]
Take = Callable[[Rows], Matrix]  # the features of rows, by their numbers (unit rows)

WHOLE = 4000.0  # the length to which rows are scaled before they are rounded; its square is below 2^24
PROBES = 16  # clusters that are searched for each row
PROPOSED = 32  # each row is compared with at most so many rows
ERROR = 1.2  # of an estimated similarity, times the root of the dimension: more than was ever seen
TRAINING_ROWS = 40  # rows for each cluster that the centres are trained on
TRAINING_ROUNDS = 10


def unit(features: npt.NDArray[Any]) -> Matrix:
    """Features scaled to length 1 again, which float16 changed a little (N x D, float32).

    Numbers that are not finite become 0, so that such a row is similar to none.
    """
    values = features.astype(np.float32)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    return np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


class NoRoomError(OSError):
    """The disk for temporary files cannot take the features."""


class Scratch:
    """Features in a temporary file without a name, 2 bytes a number; the file always ends with the process.

    Raises:
        NoRoomError: the disk has no room for so many `rows`.
    """

    def __init__(self, rows: int, dimension: int) -> None:
        self._file = tempfile.TemporaryFile(prefix="curate-", buffering=0)  # noqa: SIM115 - lives as long as this
        size = rows * dimension * 2
        try:
            os.posix_fallocate(self._file.fileno(), 0, size)
        except OSError as error:
            folder, why = tempfile.gettempdir(), error.strerror
            raise NoRoomError(f"no {size / 1e9:.1f} GB for features in {folder} ({why})") from None
        self._map = mmap.mmap(self._file.fileno(), 0, prot=mmap.PROT_READ)
        self._map.madvise(mmap.MADV_RANDOM)
        self._all = np.frombuffer(self._map, np.float16).reshape(rows, dimension)
        self.rows = 0

    def append(self, features: npt.NDArray[Any]) -> None:
        """Append features (N x D)."""
        left = memoryview(features.astype(np.float16).tobytes())
        while left:
            left = left[self._file.write(left) :]
        self.rows += len(features)

    def part(self, first: int, rows: int) -> Matrix:
        """At most so many rows, from the `first` on."""
        width = self._all.shape[1]
        size = min(rows, self.rows - first) * width * 2
        data = os.pread(self._file.fileno(), size, first * width * 2)
        return unit(np.frombuffer(data, np.float16).reshape(-1, width))

    def take(self, rows: Rows) -> Matrix:
        """The features of the rows with these numbers (N x D, of length 1)."""
        return unit(self._all[rows])


class Clusters:
    """The centres of the clusters, and the rotation that is applied to features before they are encoded."""

    def __init__(self, centres: Matrix, rotation: Matrix) -> None:
        """Both of whole numbers: `centres` is clusters x D, `rotation` D x D."""
        import faiss

        self.centres, self.rotation = centres, rotation
        self._quantizer = faiss.IndexFlatIP(centres.shape[1])
        self._quantizer.add(centres)

    @classmethod
    def trained(cls, rows: int, dimension: int, take: Take) -> Clusters:
        """Find the clusters of `rows` rows of `dimension` numbers; `take` gives the features of rows by number."""
        rotation = _rotation(dimension)
        clusters = max(1, int(rows**0.5))
        some = np.arange(0, rows, max(1, rows // (clusters * TRAINING_ROWS)))
        sample = np.concatenate([_turned(take(part), rotation) for part in np.array_split(some, clusters)])
        return cls(_trained(sample, clusters), rotation)

    def turned(self, features: Matrix) -> Matrix:
        """Whole numbers, rotated at random: RaBitQ wants no dimension to be larger than the others."""
        return _turned(features, self.rotation)

    def codes(self) -> Any:
        """An index without rows, by faiss."""
        import faiss

        clusters, dimension = self.centres.shape
        inner = faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexIVFRaBitQFastScan(self._quantizer, dimension, clusters, inner)
        index.train(self.centres[:1])  # faiss requires the call, but the centres are trained already
        index.nprobe = PROBES
        return index


class NearIndex:
    """Rows that stay, by clusters that were found among all rows."""

    def __init__(self, clusters: Clusters, take: Take, least: float) -> None:
        """`least` is the estimate from which on a row is compared: see `floor`."""
        self._clusters, self._take, self._floor = clusters, take, least
        self._index = clusters.codes()

    def nearest(self, part: Matrix) -> tuple[Rows, Matrix]:
        """The most similar of the rows proposed for each (-1 if there is none), and how similar it is."""
        estimate, proposed = self._index.search(self._clusters.turned(part), PROPOSED)
        witness, similarity = np.full(len(part), -1), np.full(len(part), -2, np.float32)
        for place in range(PROPOSED):  # the most similar first
            asked = np.flatnonzero(estimate[:, place] > self._floor)
            rows = proposed[asked, place]
            true = (self._take(rows) * part[asked]).sum(axis=1)
            better = true > similarity[asked]
            witness[asked[better]], similarity[asked[better]] = rows[better], true[better]
        return witness, similarity

    def add(self, features: Matrix, rows: Rows) -> None:
        """Keep these rows."""
        if len(rows):  # faiss refuses none
            self._index.add_with_ids(self._clusters.turned(features), rows)


def floor(max_similarity: float, dimension: int) -> float:
    """The least estimated similarity, scaled by WHOLE², from which on two rows are compared exactly."""
    return float((max_similarity - ERROR / dimension**0.5) * WHOLE**2)


def _rotation(dimension: int) -> Matrix:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(dimension, dimension)))[0]
    return _whole(rotation.astype(np.float32))


def _turned(features: Matrix, rotation: Matrix) -> Matrix:
    return _whole(_whole(features) @ rotation / WHOLE**2)


def _whole(features: Matrix) -> Matrix:
    whole: Matrix = np.rint(features * WHOLE)
    return whole


def _trained(sample: Matrix, clusters: int) -> Matrix:
    """The directions of so many clusters (spherical k-means)."""
    import faiss

    centers = np.ascontiguousarray(sample[np.linspace(0, len(sample) - 1, clusters).astype(int)])
    quantizer = faiss.IndexFlatIP(sample.shape[1])
    quantizer.add(centers)
    for _ in range(TRAINING_ROUNDS):
        sums = np.zeros(centers.shape)
        np.add.at(sums, quantizer.search(sample, 1)[1][:, 0], sample)
        some = sums.any(axis=1)
        centers[some] = _whole(unit(sums[some]))
        quantizer.reset()
        quantizer.add(centers)
    return centers
