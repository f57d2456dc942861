"""List the images of a shard's rows for the scorer, and combine their scores into one score for each row.

A dialogue has several images, any other row has one. A dialogue's score is the mean of the cosines of its images with
its text. Its feature is the mean of its images' features, scaled to length 1. Both are null where one of the images has
none.
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
    """How many images the scorer is given for each row (N): all of a dialogue's, else one, even where it is missing."""
    counts = pc.list_value_length(images).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    there = pc.is_valid(image).to_numpy(zero_copy_only=False)
    return np.where(there | (counts == 0), 1, counts)


def bodies_of(table: pa.Table) -> Iterator[bytes | None]:
    """Yield the encoded images of rows with the columns `image` and `images`; `items_of` says how many for each row."""
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
    """Gives the encoded images of rows (columns `image` and `images`) by number, in the order of `bodies_of`."""

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
        """The images with these numbers; None where a row has no image."""
        return [
            self._several[place].as_py() if place >= 0 else self._own[row].as_py()
            for place, row in zip(self._place[numbers].tolist(), self._row[numbers].tolist(), strict=True)
        ]


def folded(scored: Scored, counts: Ints) -> Scored:
    """Combine the scores of M images into scores of N rows; `counts` (N) is each row's number of images."""
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
    """The highest value among each row's images, or the lowest; null where one of the images has no value (N).

    `values` are those of the M images, row by row; `counts` (N) is each row's number of images.
    """
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
