"""Find images on lists of hashes: by the hash of their bytes, and by PDQ hashes within a few bits, missing none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.copies import FAR, VIEW_BYTES, Rows, as_words, distances, products
from filters.rule import rule

MAX_DISTANCE = 31  # bits of 256: at most that many differ where PDQ takes two images for one
PARTS = 16  # of 16 bits each: if two hashes differ in at most 31 bits, one part differs in at most one bit
ONE_OFF = np.concatenate([[0], 1 << np.arange(16)]).astype(np.uint16)

Hashes = npt.NDArray[np.uint8]  # N x VIEW_BYTES


class PdqIndex:
    """An index of PDQ hashes, in which the nearest one to another hash is looked up."""

    def __init__(self, hashes: Hashes) -> None:
        """Build the index of N hashes; it takes 100 bytes for each, and 4 MB besides."""
        self._words = as_words(hashes)
        parts = _parts(hashes)
        self._orders = [np.argsort(part, kind="stable").astype(np.int32) for part in parts]
        self._starts = [
            np.concatenate([[0], np.cumsum(np.bincount(part, minlength=2**16))]).astype(np.int64)
            for part in parts
        ]

    def nearest(self, asked: Hashes, max_distance: int) -> tuple[Rows, Rows]:
        """For each of N hashes, the number of the nearest indexed hash and its distance in bits (N each).

        Both are -1 where none is within `max_distance`; of equally near hashes the first is taken.
        """
        best = np.full(len(asked), FAR, np.int64)
        words = as_words(asked)
        for part, order, starts in zip(_parts(asked), self._orders, self._starts, strict=True):
            probes = (part[:, None] ^ ONE_OFF).ravel().astype(np.int64)
            for entries, at in products(starts[probes], starts[probes + 1]):
                rows, places = entries // len(ONE_OFF), order[at].astype(np.int64)
                distance = distances(words[rows], self._words[places])
                near = np.flatnonzero(distance <= max_distance)
                np.minimum.at(best, rows[near], (distance[near] << 40) + places[near])
        found = best < FAR
        return np.where(found, best & ((1 << 40) - 1), -1), np.where(found, best >> 40, -1)


def _parts(hashes: Hashes) -> npt.NDArray[np.uint16]:
    """The numbers of 16 bits that hashes are made of (PARTS x N)."""
    whole = np.ascontiguousarray(hashes.reshape(-1, VIEW_BYTES)).view("<u2")
    return np.ascontiguousarray(whole.T)


@rule("image_on_list")
def on_no_list(
    fingerprint: pa.FixedSizeBinaryArray, *, against: tuple[str, ...], max_distance: int = MAX_DISTANCE
) -> pa.BooleanArray:
    """Keep images whose MD5, SHA-256 and PDQ (up to `max_distance` bits off) are in none of the lists `against`.

    The code that decodes an image judges this, and drops the image. So this function keeps every row that has a
    fingerprint; it only declares the rule and its settings.
    """
    if not 0 <= max_distance <= MAX_DISTANCE:
        raise ValueError(f"max_distance is a number of bits, from 0 to {MAX_DISTANCE}, not {max_distance}")
    return pc.if_else(fingerprint.is_valid(), True, pa.scalar(None, pa.bool_()))
