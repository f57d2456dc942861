"""What the scorer is shown of a shard: each row's image, or each of a dialogue's; and a row's score made of theirs.

A dialogue's score is the mean cosine of its images and its text, its feature the mean of its images' features at unit
length; both are null where one of its images gives none.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.scorer.table import EachImage, Scored, feature_column

Ints = npt.NDArray[np.int64]


def items_of(image: pa.StructArray, images: pa.ListArray) -> Ints:
    """How many images the scorer is shown of each row (N): a dialogue's, else one, be it there or not."""
    counts = pc.list_value_length(images).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    there = pc.is_valid(image).to_numpy(zero_copy_only=False)
    return np.where(there | (counts == 0), 1, counts)


def bodies_of(table: pa.Table) -> Iterator[bytes | None]:
    """The encoded images of rows with the columns `image` and `images`, as `items_of` counts them."""
    image, images = (table[name].combine_chunks() for name in ("image", "images"))
    own, several = pc.struct_field(image, "bytes"), pc.struct_field(pc.list_flatten(images), "bytes")
    ends = np.cumsum(pc.list_value_length(images).fill_null(0).to_numpy(zero_copy_only=False)).tolist()
    start = 0
    for row, end in enumerate(ends):
        if own[row].is_valid or start == end:
            yield own[row].as_py()
        else:
            yield from (several[number].as_py() for number in range(start, end))
        start = end


class ItemBodies:
    """The encoded images of rows with the columns `image` and `images` by their numbers, as `items_of` counts them."""

    def __init__(self, image: pa.StructArray, images: pa.ListArray) -> None:
        self.counts = items_of(image, images)
        self._own = pc.struct_field(image, "bytes")
        self._several = pc.struct_field(pc.list_flatten(images), "bytes")
        sizes = pc.list_value_length(images).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        self._row = np.repeat(np.arange(len(image)), self.counts)
        nth = np.arange(len(self._row)) - np.searchsorted(self._row, self._row)
        own = pc.is_valid(image).to_numpy(zero_copy_only=False) | (sizes == 0)
        self._place = np.where(own[self._row], -1, (np.cumsum(sizes) - sizes)[self._row] + nth)

    def take(self, numbers: Ints) -> list[bytes | None]:
        """Those images; None where there is none."""
        return [
            self._several[place].as_py() if place >= 0 else self._own[row].as_py()
            for place, row in zip(self._place[numbers].tolist(), self._row[numbers].tolist(), strict=True)
        ]


def folded(scored: Scored, counts: Ints) -> Scored:
    """The scores of rows that were shown so many images each (N rows of M images)."""
    if (counts == 1).all():
        return scored
    row = np.repeat(np.arange(len(counts)), counts)
    scores = scored.scores.to_numpy(zero_copy_only=False).astype(np.float64)
    mean = np.bincount(row, weights=scores, minlength=len(counts)) / counts
    there = np.isfinite(mean)
    column = pa.array(np.where(there, mean, 0).astype(np.float32), mask=~there)
    features = _folded_features(scored.features, row, counts)
    return Scored(column, features, scored.failed, EachImage(counts, scored.features))


def worst_of(values: pa.DoubleArray, counts: Ints, lowest: bool = False) -> pa.DoubleArray:
    """The highest value of each row's images, or the lowest; null where one of them has none (N of M)."""
    found = values.to_numpy(zero_copy_only=False).astype(np.float64)
    starts = np.cumsum(counts) - counts
    worst = (np.minimum if lowest else np.maximum).reduceat(found, starts) if len(counts) else found
    return pa.array(worst, mask=np.isnan(worst))


def _folded_features(features: pa.ListArray, row: Ints, counts: Ints) -> pa.ListArray:
    valid = pc.is_valid(features).to_numpy(zero_copy_only=False)
    sizes = pc.list_value_length(features).drop_null()
    width = sizes[0].as_py() if len(sizes) else 0
    values = np.zeros((len(features), width), np.float32)
    values[valid] = pc.list_flatten(features).to_numpy(zero_copy_only=False).reshape(-1, width)
    sums = np.zeros((len(counts), width), np.float32)
    np.add.at(sums, row, values)
    whole = np.bincount(row, weights=valid, minlength=len(counts)) == counts
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    units = sums / np.where(length > 0, length, 1)
    units = np.where((counts == 1)[:, None], sums, units)  # one image's feature stays as it is
    return feature_column(units, np.where(whole, np.arange(len(counts)), -1))
