"""Copies of images by their perceptual fingerprints: found through bands of bits, never by comparing all pairs.

An image has VIEWS fingerprints of 256 bits: of the whole, and of parts of it (`curate.images.fingerprint`). Two images
are as far apart as the whole of one is from the nearest view of the other, whichever way that is less.

A band is some of the bits. Two fingerprints are compared only where they agree in all bits of a band; the more rows
there are, the more bits a band has, so that each row is compared with about COMPARED others. Within a run a row is
compared with those before it by bands as long as the rows up to there ask for, so that rows which are added behind it
change nothing. A copy whose bits differ in every band is missed. The lowest frequencies change least when an image is
cropped: the bands of crops are of these.
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

VIEW_BANDS, WHOLE_BANDS = 4, 16  # bands by which any view is found; more by which the whole alone is
COMPARED = 128
FEWEST_BITS, MOST_BITS = 6, 20  # of a band
AT_ONCE = 2**16  # comparisons: what they read and write stays in a core's cache
KEYS_AT_ONCE = 2**15  # fingerprints
FAR = 256 << 40
LOW_BYTES = np.uint32(0x00FF00FF)  # of each half
LEVEL_BITS = 2  # by so many bits bands grow within a run
FRESH = np.uint8(
    128
)  # added to an entry's view where its row is compared with those before it under this key
CROWD = 4096  # of so many rows in one bucket the earliest are compared with the others

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
    """How many bits a band has, so that each of `rows` is compared with about COMPARED others."""
    entries = rows * (VIEWS * VIEW_BANDS + WHOLE_BANDS)
    return min(MOST_BITS, max(FEWEST_BITS, ceil(log2(max(1, entries / COMPARED)))))


def level_for(rows: int) -> int:
    """How many bits the bands have by which the last of so many rows of a run is compared with those before it."""
    return FEWEST_BITS + -(-(bits_for(rows) - FEWEST_BITS) // LEVEL_BITS) * LEVEL_BITS


def entries_for(rows: int) -> int:
    """How many entries so many rows of a run have: each under the bands of its own length and of all longer ones."""
    lengths = range(FEWEST_BITS, level_for(rows) + 1, LEVEL_BITS)
    each = VIEWS * VIEW_BANDS + WHOLE_BANDS
    return sum(min(rows * each, COMPARED << bits) for bits in lengths[:-1]) + rows * each


def band_keys(prints: npt.NDArray[np.uint8], bands: range, bits: int) -> Keys:
    """The bits of each band with the band's number (… x VIEW_BYTES in, … x bands out)."""
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
    """The same bits as four numbers each (… x 4)."""
    return np.ascontiguousarray(prints).view(np.uint64)


def distances(one: Words, other: Words) -> npt.NDArray[np.int64]:
    """How many bits differ (N x 4 each)."""
    counts = np.bitwise_count(one ^ other).view(np.uint32)[..., 0]  # four numbers of up to 64, a byte each
    halves = (counts & LOW_BYTES) + (counts >> np.uint32(8) & LOW_BYTES)
    differ: Rows = ((halves & np.uint32(0xFFFF)) + (halves >> np.uint32(16))).astype(np.int64)
    return differ


def stored(fingerprint: pa.Array) -> Prints:
    """A column of fingerprints without nulls as an array."""
    if not len(fingerprint):
        return np.zeros((0, VIEWS, VIEW_BYTES), np.uint8)
    data = np.frombuffer(fingerprint.buffers()[1], np.uint8)
    return data[fingerprint.offset * BYTES :][: len(fingerprint) * BYTES].reshape(-1, VIEWS, VIEW_BYTES)


def products(low: Rows, high: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Each row with each place in [low, high) (N each), at most about AT_ONCE of them together."""
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
    """Fingerprints of images among which those nearest to others are looked up."""

    def __init__(self, prints: Prints) -> None:
        """Take the fingerprints of N images."""
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
        """Of each of N images the nearest known one and its distance; -1 where none is near, the first among equals."""
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
    """Refuse a distance that every pair of images has.

    Raises: ValueError for one that is below 0 or not below 128, at which half the bits differ.
    """
    if not 0 <= max_distance < 128:
        raise ValueError(f"max_distance is a number of bits, from 0 to 127, not {max_distance}")


@rule("similar_image")
def unlike_any_before(
    fingerprint: pa.FixedSizeBinaryArray, *, max_distance: int = MAX_DISTANCE
) -> pa.BooleanArray:
    """Keep images more than `max_distance` bits from every image kept before; null without a fingerprint.

    This is the rule on one table; a run asks it of all its images by partition (`curate.engine.similar`).
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
    """Fingerprints under the keys of their bands: what is compared lies under one key (N each)."""

    keys: Keys
    places: Rows  # whose each is, in source order
    images: Words  # which image that is: rows with the very same one are no copies of each other
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

    Whoever decodes the image judges that, and drops it; of what has a fingerprint, nothing more falls here.
    """
    check_distance(max_distance)
    return pc.if_else(fingerprint.is_valid(), True, pa.scalar(None, pa.bool_()))
