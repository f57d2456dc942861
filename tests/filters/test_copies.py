"""Copies are found through bands of bits: the planted ones, and no others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from filters import copies
from filters.copies import BYTES, KIND, VIEW_BYTES, VIEWS, CopyIndex, Entries, bits_for, unlike_any_before


def made(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, VIEWS, VIEW_BYTES), dtype=np.uint8)


def flipped(prints: np.ndarray, share: float, seed: int = 9) -> np.ndarray:
    bits = np.unpackbits(prints, axis=-1)
    return np.packbits(bits ^ (np.random.default_rng(seed).random(bits.shape) < share), axis=-1)


def column(prints: np.ndarray) -> pa.Array:
    return pa.array([one.tobytes() for one in prints], KIND)


def test_a_copy_of_the_whole_is_found_with_its_distance() -> None:
    known = made(500)
    asked = made(300, seed=1)
    asked[:200, 0] = flipped(known[:200, 0], 0.05)
    found, distance = CopyIndex(known).nearest(asked, 56)
    assert (found[:200] == np.arange(200)).mean() > 0.98
    assert (found[200:] == -1).all()
    assert (distance[200:] == -1).all()
    true = np.bitwise_count(asked[:200, 0] ^ known[:200, 0]).sum(axis=1)
    assert (distance[:200] == true)[found[:200] >= 0].all()


@pytest.mark.parametrize("side", ["known", "asked"])
def test_a_crop_is_found_whichever_of_the_two_is_cropped(side: str) -> None:
    known, asked = made(500), made(200, seed=1)
    if side == "known":
        known[:200, 0] = flipped(asked[:, 7], 0.03)
    else:
        asked[:, 0] = flipped(known[:200, 7], 0.03)
    found, _ = CopyIndex(known).nearest(asked, 56)
    assert (found == np.arange(200)).mean() > 0.95


def test_two_crops_of_different_parts_are_no_copies() -> None:
    known, asked = made(50), made(50, seed=1)
    asked[:, 3] = known[:, 7]
    assert (CopyIndex(known).nearest(asked, 56)[0] == -1).all()


def test_an_empty_index_finds_nothing() -> None:
    assert CopyIndex(made(0)).nearest(made(3), 56)[0].tolist() == [-1, -1, -1]
    assert len(CopyIndex(made(3)).nearest(made(0), 56)[0]) == 0


def test_the_first_of_similar_images_stays() -> None:
    prints = made(6)
    prints[3, 0] = flipped(prints[1, 0], 0.03)
    prints[5, 0] = flipped(prints[3, 0], 0.03, seed=4)
    keep = unlike_any_before(column(prints), max_distance=40)
    assert keep.to_pylist() == [True, True, True, False, True, False]


def test_what_is_like_a_fallen_image_alone_stays() -> None:
    prints = made(3)
    bits = np.unpackbits(prints[0, 0])
    bits[np.arange(20) * 12] ^= 1
    prints[1, 0] = np.packbits(bits)
    bits[np.arange(20) * 12 + 1] ^= 1
    prints[2, 0] = np.packbits(bits)
    assert unlike_any_before(column(prints), max_distance=30).to_pylist() == [True, False, True]


def test_a_row_without_fingerprints_is_unjudged() -> None:
    rows = pa.array([None, made(1)[0].tobytes(), None], KIND)
    assert unlike_any_before(rows, max_distance=40).to_pylist() == [None, True, None]


@pytest.mark.parametrize("distance", [-1, 128, 256])
def test_a_distance_that_makes_no_sense_is_refused(distance: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 127"):
        unlike_any_before(pa.array([], KIND), max_distance=distance)


def test_a_crowd_costs_no_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand images in one bucket: each is compared with the first ones alone, and all of them fall."""
    monkeypatch.setattr(copies, "CROWD", 100)
    prints = np.broadcast_to(made(1), (1000, VIEWS, VIEW_BYTES)).copy()
    compared = []
    products = copies.products

    def counting(low: np.ndarray, high: np.ndarray) -> object:
        compared.append(int((high - low).sum()))
        return products(low, high)

    monkeypatch.setattr(copies, "products", counting)
    assert unlike_any_before(column(prints), max_distance=40).to_pylist() == [True] + [False] * 999
    assert sum(compared) <= 1000 * 100 * (VIEWS * 4 + 16)


def test_pairs_come_once_whatever_the_order_of_entries() -> None:
    prints = made(40)
    prints[20:, 0] = flipped(prints[:20, 0], 0.04)
    entries = Entries.of(prints, np.arange(40), np.arange(40, dtype=np.uint64), bits_for(40))
    mixed = np.random.default_rng(2).permutation(len(entries.keys))
    parts = (entries.keys, entries.places, entries.images, entries.views, entries.prints)
    other = Entries(*(part[mixed] for part in parts))
    for one, two in zip(entries.pairs(56), other.pairs(56), strict=True):
        assert one.tolist() == two.tolist()
    later, earlier, _ = entries.pairs(56)
    assert list(zip(later.tolist(), earlier.tolist(), strict=True)) == [(n + 20, n) for n in range(20)]


def test_products_are_cut_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "AT_ONCE", 3)
    low, high = np.array([0, 5, 5, 1]), np.array([2, 5, 10, 2])
    parts = [(rows.tolist(), places.tolist()) for rows, places in copies.products(low, high)]
    assert [row for rows, _ in parts for row in rows] == [0, 0, 2, 2, 2, 2, 2, 3]
    assert [place for _, places in parts for place in places] == [0, 1, 5, 6, 7, 8, 9, 1]


def test_the_more_rows_the_longer_the_bands() -> None:
    assert [bits_for(rows) for rows in (1, 10_000, 10**6, 10**9)] == [6, 13, 20, 20]
    assert BYTES == 544


def test_rows_of_the_very_same_image_are_no_copies_of_each_other() -> None:
    prints = np.repeat(made(2), [3, 2], axis=0)
    prints[3:, 0] = prints[0, 0]
    images = np.array([1, 1, 1, 2, 2], np.uint64)
    later, earlier, _ = Entries.of(prints, np.arange(5), images, 6).pairs(10)
    assert list(zip(later.tolist(), earlier.tolist(), strict=True)) == [
        (b, a) for b in (3, 4) for a in (0, 1, 2)
    ]
