"""Find copies of images by their perceptual fingerprints, through bands of bits, without comparing all pairs.

An image has VIEWS fingerprints of 256 bits, called views: of the whole image, and of parts of it
(`curate.images.fingerprint`). The distance of two images is the number of bits in which the whole of one differs from
the nearest view of the other, taken in the direction that gives less.

A band is a subset of the bits. Two fingerprints are compared only if they agree in all bits of a band. The more rows
there are, the more bits a band has, so that each row is compared with about COMPARED others. Within a run, a row is
compared with the rows before it, with bands whose length depends on the number of those rows; so rows that are added
later change nothing. A copy that differs in every band is missed. The lowest frequencies change least when an image is
cropped, so the bands for crops use those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log2

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.rule import rule

VIEWS = 17
VIEW_BYTES = 32
BYTES = VIEWS * VIEW_BYTES
KIND = pa.binary(BYTES)
MAX_DISTANCE = 56  # bits of 256: see docs/evaluation-sets.md for what is found and what is not

VIEW_BANDS, WHOLE_BANDS = 4, 16  # bands of every view; further bands of the whole image only
COMPARED = 128
FEWEST_BITS, MOST_BITS = 6, 20  # least and largest number of bits in a band
AT_ONCE = 2**16  # comparisons: what they read and write stays in a core's cache
KEYS_AT_ONCE = 2**15  # fingerprints
FAR = 256 << 40
LOW_BYTES = np.uint32(0x00FF00FF)  # of each half
LEVEL_BITS = 2  # within a run, bands become longer in steps of so many bits
FRESH = np.uint8(
    128
)  # added to an entry's view where its row is compared with those before it under this key
CROWD = 4096  # if more rows share a key, the others are compared only with the first so many

Prints = npt.NDArray[np.uint8]  # N x VIEWS x VIEW_BYTES
Keys = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


def _bands() -> npt.NDArray[np.int64]:
    """The bits of each band, those of the lowest frequencies first (bands x MOST_BITS)."""
    down, across = np.divmod(255 - np.arange(256), 16)  # of each bit, as PDQ writes them
    order = np.argsort((down + 1) ** 2 + (across + 1) ** 2, kind="stable")
    views = [order[band : VIEW_BANDS * MOST_BITS : VIEW_BANDS] for band in range(VIEW_BANDS)]
    whole = [
        np.concatenate([order[band::16], order[(band + 5) % 16 :: 16]])[:MOST_BITS]
        for band in range(WHOLE_BANDS)
    ]
    return np.array([*views, *whole])


BANDS = _bands()


def bits_for(rows: int) -> int:
    """The number of bits in a band with which each of `rows` rows is compared with about COMPARED others."""
    entries = rows * (VIEWS * VIEW_BANDS + WHOLE_BANDS)
    return min(MOST_BITS, max(FEWEST_BITS, ceil(log2(max(1, entries / COMPARED)))))


def level_for(rows: int) -> int:
    """The number of bits in the bands with which row number `rows` of a run is compared with the rows before it."""
    return FEWEST_BITS + -(-(bits_for(rows) - FEWEST_BITS) // LEVEL_BITS) * LEVEL_BITS


def entries_for(rows: int) -> int:
    """How many entries `rows` rows of a run have: each row has entries for bands of its own length and all longer."""
    lengths = range(FEWEST_BITS, level_for(rows) + 1, LEVEL_BITS)
    each = VIEWS * VIEW_BANDS + WHOLE_BANDS
    return sum(min(rows * each, COMPARED << bits) for bits in lengths[:-1]) + rows * each


def band_keys(prints: npt.NDArray[np.uint8], bands: range, bits: int) -> Keys:
    """The key of each band: the values of its first `bits` bits and its number (from … x VIEW_BYTES to … x bands)."""
    weights = np.zeros((256, len(bands)), np.float32)
    for column, band in enumerate(bands):
        weights[BANDS[band, :bits], column] = 2.0 ** np.arange(bits)  # whole numbers, exact in float32
    flat = prints.reshape(-1, VIEW_BYTES)
    keys = np.zeros((len(flat), len(bands)), np.uint32)
    for at in range(0, len(flat), KEYS_AT_ONCE):
        spread = np.unpackbits(flat[at : at + KEYS_AT_ONCE], axis=1).astype(np.float32)
        keys[at : at + KEYS_AT_ONCE] = spread @ weights
    keys += np.array(bands, np.uint32) << np.uint32(24)
    return keys.reshape(*prints.shape[:-1], len(bands))


def as_words(prints: npt.NDArray[np.uint8]) -> Words:
    """Fingerprints as four 64-bit numbers each (from … x VIEW_BYTES to … x 4)."""
    return np.ascontiguousarray(prints).view(np.uint64)


def distances(one: Words, other: Words) -> npt.NDArray[np.int64]:
    """The number of bits in which N pairs of fingerprints differ (N x 4 each; returns N)."""
    counts = np.bitwise_count(one ^ other).view(np.uint32)[..., 0]  # four numbers of up to 64, a byte each
    halves = (counts & LOW_BYTES) + (counts >> np.uint32(8) & LOW_BYTES)
    differ: Rows = ((halves & np.uint32(0xFFFF)) + (halves >> np.uint32(16))).astype(np.int64)
    return differ


def stored(fingerprint: pa.Array) -> Prints:
    """A column of fingerprints without nulls (N) as an array (N x VIEWS x VIEW_BYTES)."""
    if not len(fingerprint):
        return np.zeros((0, VIEWS, VIEW_BYTES), np.uint8)
    data = np.frombuffer(fingerprint.buffers()[1], np.uint8)
    return data[fingerprint.offset * BYTES :][: len(fingerprint) * BYTES].reshape(-1, VIEWS, VIEW_BYTES)


def products(low: Rows, high: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Yield pairs of each row and each place from low[row] to high[row] (N bounds), about AT_ONCE pairs at a time."""
    counts = high - low
    ends = np.cumsum(counts)
    first = 0
    while first < len(counts):
        base = ends[first] - counts[first]
        stop = max(first + 1, int(np.searchsorted(ends, base + AT_ONCE, side="right")))
        part = counts[first:stop]
        rows = np.repeat(np.arange(first, stop), part)
        starts = np.repeat(low[first:stop] - (ends[first:stop] - part - base), part)
        yield rows, starts + np.arange(len(rows))
        first = stop


@dataclass
class _Table:
    """Fingerprints (`words`, M x 4) by the keys of their bands: `keys` ascending, and whose each is."""

    keys: Keys
    places: Rows
    words: Words

    @classmethod
    def of(cls, prints: npt.NDArray[np.uint8], keys: Keys, places: Rows) -> _Table:
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], places[order], as_words(prints))

    def near(self, keys: Keys, words: Words) -> Iterator[tuple[Rows, Rows, npt.NDArray[np.int64]]]:
        """Rows of `keys` and `words` (N x bands, N x 4), the places compared with each, and how far these are."""
        flat, whose = keys.ravel(), np.repeat(np.arange(len(keys)), keys.shape[1])
        low, high = (np.searchsorted(self.keys, flat, side=side) for side in ("left", "right"))
        for entries, at in products(low, np.minimum(high, low + CROWD)):
            rows, places = whose[entries], self.places[at]
            yield rows, places, distances(words[rows], self.words[places])


class CopyIndex:
    """An index of images' fingerprints, in which the nearest one to another image is looked up."""

    def __init__(self, prints: Prints) -> None:
        """Build the index of N images' fingerprints."""
        self.bits = bits_for(len(prints))
        flat = prints.reshape(-1, VIEW_BYTES)
        places = np.arange(len(flat)).reshape(-1, VIEWS)
        views = band_keys(prints, range(VIEW_BANDS), self.bits)
        whole = band_keys(prints[:, 0], range(VIEW_BANDS, VIEW_BANDS + WHOLE_BANDS), self.bits)
        every = np.concatenate([views.ravel(), whole.ravel()])
        owner = np.concatenate([np.repeat(places, VIEW_BANDS), np.repeat(places[:, 0], WHOLE_BANDS)])
        self._views = _Table.of(flat, every, owner)
        self._whole = _Table.of(flat, views[:, 0].ravel(), np.repeat(places[:, 0], VIEW_BANDS))

    def nearest(self, prints: Prints, max_distance: int) -> tuple[Rows, Rows]:
        """For each of N images, the number of the nearest indexed image and its distance in bits (N each).

        Both are -1 where none is within `max_distance`; of equally near images the first is taken.
        """
        best = np.full(len(prints), FAR, np.int64)
        whole = band_keys(prints[:, 0], range(VIEW_BANDS + WHOLE_BANDS), self.bits)
        self._improve(
            best, np.arange(len(prints)), self._views.near(whole, as_words(prints[:, 0])), max_distance
        )
        parts = prints[:, 1:].reshape(-1, VIEW_BYTES)
        owner = np.repeat(np.arange(len(prints)), VIEWS - 1)
        keys = band_keys(parts, range(VIEW_BANDS), self.bits)
        self._improve(best, owner, self._whole.near(keys, as_words(parts)), max_distance)
        found = best < FAR
        return np.where(found, best & ((1 << 40) - 1), -1), np.where(found, best >> 40, -1)

    @staticmethod
    def _improve(
        best: Rows, owner: Rows, compared: Iterator[tuple[Rows, Rows, Rows]], max_distance: int
    ) -> None:
        """Lower `best` (a distance and, below it, a row) by what was compared with each `owner`'s fingerprints."""
        for rows, places, distance in compared:
            near = np.flatnonzero(distance <= max_distance)
            np.minimum.at(best, owner[rows[near]], (distance[near] << 40) + places[near] // VIEWS)


def check_distance(max_distance: int) -> None:
    """Check a setting `max_distance`.

    Raises: ValueError if it is below 0, or at least 128, the distance of unrelated images (half of the bits).
    """
    if not 0 <= max_distance < 128:
        raise ValueError(f"max_distance is a number of bits, from 0 to 127, not {max_distance}")


@rule("similar_image")
def unlike_any_before(
    fingerprint: pa.FixedSizeBinaryArray, *, max_distance: int = MAX_DISTANCE
) -> pa.BooleanArray:
    """Keep images more than `max_distance` bits from every image kept before; null without a fingerprint.

    This judges one table; a run judges all its images, by partitions (`curate.engine.similar`).
    """
    check_distance(max_distance)
    there = fingerprint.is_valid().to_numpy(zero_copy_only=False)
    places = np.flatnonzero(there)
    prints = stored(fingerprint.drop_null().cast(KIND))
    entries = Entries.of(prints, places, places.astype(np.uint64), bits_for(len(places)))
    keep = np.ones(len(fingerprint), bool)
    later, earlier, _ = entries.pairs(max_distance)
    for row, other in zip(later.tolist(), earlier.tolist(), strict=True):
        keep[row] &= not keep[other]
    return pa.array(keep, mask=~there)


@dataclass(frozen=True)
class Entries:
    """Fingerprints with the keys of their bands (N each): entries with equal keys are compared."""

    keys: Keys
    places: Rows  # the row of each, in source order
    images: Words  # a number of the row's image: rows with the same image are no copies of each other
    views: npt.NDArray[np.uint8]  # which view it is: 0 for the whole; and FRESH
    prints: npt.NDArray[np.uint8]  # N x VIEW_BYTES

    @classmethod
    def of(
        cls,
        prints: Prints,
        places: Rows,
        images: Words,
        bits: int,
        fresh: npt.NDArray[np.bool_] | None = None,
    ) -> Entries:
        """The entries of these rows (N each): a view by VIEW_BANDS, the whole by WHOLE_BANDS more.

        `fresh` says which rows are compared with those before them by bands of so many bits; None: all.
        """
        flags = FRESH * (np.ones(len(places), bool) if fresh is None else fresh).astype(np.uint8)
        views = band_keys(prints, range(VIEW_BANDS), bits)
        whole = band_keys(prints[:, 0], range(VIEW_BANDS, VIEW_BANDS + WHOLE_BANDS), bits)
        of_views = np.arange(VIEWS, dtype=np.uint8)[None, :, None] + flags[:, None, None]
        of_views = np.broadcast_to(of_views, views.shape)
        flat = np.broadcast_to(prints[:, :, None], (*views.shape, VIEW_BYTES)).reshape(-1, VIEW_BYTES)
        more = np.repeat(prints[:, 0], WHOLE_BANDS, axis=0)
        return cls(
            np.concatenate([views.ravel(), whole.ravel()]) + np.uint32((bits - FEWEST_BITS) << MOST_BITS),
            np.concatenate([np.repeat(places, VIEWS * VIEW_BANDS), np.repeat(places, WHOLE_BANDS)]),
            np.concatenate([np.repeat(images, VIEWS * VIEW_BANDS), np.repeat(images, WHOLE_BANDS)]),
            np.concatenate([of_views.ravel(), np.repeat(flags, WHOLE_BANDS)]),
            np.concatenate([flat, more]),
        )

    def pairs(self, max_distance: int) -> tuple[Rows, Rows, Rows]:
        """Pairs within `max_distance`: the later image, the earlier one, their distance; sorted, each pair once.

        Under a key the fresh rows, which come last, are compared with all; with more than CROWD images there, with the
        first CROWD in source order.
        """
        order = np.lexsort((self.views, self.places, self.keys))
        keys, places, images = self.keys[order], self.places[order], self.images[order]
        words, views = as_words(self.prints[order]), self.views[order]
        fresh = views >= FRESH
        whole = np.flatnonzero(views & ~FRESH == 0)
        low = np.searchsorted(keys, keys[whole], side="left")
        high = np.searchsorted(keys, keys[whole], side="right")
        most = np.minimum(high, low + CROWD)
        seen = np.concatenate([[0], np.cumsum(~fresh)])  # entries before each that are not fresh
        low = np.where(fresh[whole], low, np.minimum(low + seen[high] - seen[low], most))
        found = [np.zeros((3, 0), np.int64)]
        for rows, at in products(low, most):
            asked = whole[rows]
            distance = distances(words[asked], words[at])
            near = np.flatnonzero(distance <= max_distance)
            near = near[images[at[near]] != images[asked[near]]]
            one, two = places[asked[near]], places[at[near]]
            found.append(np.stack([np.maximum(one, two), np.minimum(one, two), distance[near]]))
        later, earlier, distance = np.concatenate(found, axis=1)
        return nearest_pairs(later, earlier, distance)


def nearest_pairs(later: Rows, earlier: Rows, distance: Rows) -> tuple[Rows, Rows, Rows]:
    """The pairs sorted by their later, then by their earlier image, each once with its least distance."""
    order = np.lexsort((distance, earlier, later))
    later, earlier, distance = later[order], earlier[order], distance[order]
    first = np.ones(len(later), bool)
    first[1:] = (np.diff(later) != 0) | (np.diff(earlier) != 0)
    return later[first], earlier[first], distance[first]


@rule("image_in_evaluation_set")
def unlike_evaluation_images(
    fingerprint: pa.FixedSizeBinaryArray, *, against: tuple[str, ...], max_distance: int = MAX_DISTANCE
) -> pa.BooleanArray:
    """Keep images more than `max_distance` bits from every image of the fingerprint files `against`.

    The code that decodes an image judges this, and drops the image. So this function keeps every row that has a
    fingerprint; it only declares the rule and its settings.
    """
    check_distance(max_distance)
    return pc.if_else(fingerprint.is_valid(), True, pa.scalar(None, pa.bool_()))
