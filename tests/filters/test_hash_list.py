"""PDQ hashes on a list are found whenever no more than 31 bits differ."""

from __future__ import annotations

import numpy as np

from filters.hash_list import MAX_DISTANCE, PdqIndex


def flipped(hashes: np.ndarray, bits: int, seed: int) -> np.ndarray:
    """The same hashes with that many bits changed in each."""
    random = np.random.default_rng(seed)
    spread = np.unpackbits(hashes, axis=1)
    for row in spread:
        row[random.choice(256, bits, replace=False)] ^= 1
    return np.packbits(spread, axis=1)


def test_every_hash_within_the_distance_is_found() -> None:
    known = np.random.default_rng(0).integers(0, 256, (3000, 32), np.uint8)
    index = PdqIndex(known)
    for bits in (0, 1, 16, 30, MAX_DISTANCE):
        places, distances = index.nearest(flipped(known[:500], bits, bits), MAX_DISTANCE)
        assert places.tolist() == [*range(500)]
        assert set(distances.tolist()) == {bits}


def test_nothing_further_away_is_found() -> None:
    known = np.random.default_rng(1).integers(0, 256, (500, 32), np.uint8)
    index = PdqIndex(known)
    assert set(index.nearest(flipped(known, 32, 3), MAX_DISTANCE)[0].tolist()) == {-1}
    assert set(index.nearest(flipped(known, 9, 4), 8)[0].tolist()) == {-1}
    assert set(index.nearest(flipped(known, 8, 5), 8)[1].tolist()) == {8}


def test_the_nearest_is_told_and_the_first_among_equals() -> None:
    known = np.random.default_rng(2).integers(0, 256, (4, 32), np.uint8)
    known[2], known[3] = flipped(known[:1], 6, 0)[0], known[0]
    places, distances = PdqIndex(known).nearest(known[[0, 2]], MAX_DISTANCE)
    assert (places.tolist(), distances.tolist()) == ([0, 2], [0, 0])
    assert PdqIndex(known[:0]).nearest(known, MAX_DISTANCE)[0].tolist() == [-1] * 4
