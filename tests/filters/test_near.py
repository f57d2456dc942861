from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from filters.near import EXACT_ROWS, NOBODY, unlike_all_before, witnesses


def features(rows: int, dimension: int = 32, repeated: float = 0.3, seed: int = 0) -> np.ndarray:
    """Unit rows, some of which are an earlier one with a little noise."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(rows, dimension))
    for row in np.flatnonzero(rng.random(rows) < repeated):
        if row:
            made[row] = made[rng.integers(row)] + rng.normal(size=dimension) * rng.uniform(0, 0.25)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made.astype(np.float32)


def naive(rows: np.ndarray, most: float) -> list[bool]:
    """Each row against all that were kept before it."""
    kept: list[np.ndarray] = []
    answers = []
    for row in rows:
        stays = not kept or max(float(row @ one) for one in kept) <= most
        answers.append(stays)
        if stays:
            kept.append(row)
    return answers


def column(rows: np.ndarray) -> pa.ListArray:
    return pa.array([row.astype(np.float16) for row in rows], pa.list_(pa.float16()))


@pytest.mark.parametrize("most", [0.5, 0.9, 0.99])
def test_a_row_falls_exactly_if_it_is_too_much_like_one_that_stays(most: float) -> None:
    rows = features(1500)
    found = [part for part, _ in witnesses([rows[:7], rows[7:1300], rows[1300:]], len(rows), most)]
    assert (np.concatenate(found) == NOBODY).tolist() == naive(rows, most)


def test_what_falls_names_an_earlier_row_that_stays_and_is_alike() -> None:
    rows = features(2000)
    witness, similarity = map(np.concatenate, zip(*witnesses([rows], len(rows), 0.95), strict=True))
    fallen = np.flatnonzero(witness != NOBODY)
    assert len(fallen) > 100
    assert (witness[fallen] < fallen).all()
    assert (witness[witness[fallen]] == NOBODY).all()
    assert similarity[fallen] == pytest.approx((rows[fallen] * rows[witness[fallen]]).sum(1), abs=1e-5)
    assert similarity[fallen].min() > 0.95


def test_an_index_finds_nearly_all_that_comparing_every_pair_finds() -> None:
    pytest.importorskip("faiss")
    rows = features(12_000)
    blocks = np.array_split(rows, 13)
    exact = np.concatenate([part for part, _ in witnesses(blocks, len(rows), 0.95)]) != NOBODY
    index = np.concatenate([part for part, _ in witnesses(blocks, EXACT_ROWS + 1, 0.95)]) != NOBODY
    assert (index & exact).sum() >= 0.99 * exact.sum()
    assert (index & ~exact).sum() <= 0.01 * exact.sum()


def test_identical_features_fall_whatever_float16_made_of_them_and_none_is_not_judged() -> None:
    rows = column(features(50, repeated=0))
    twice = pa.concat_arrays([rows, pa.nulls(1, rows.type), rows])
    kept = unlike_all_before(twice, max_similarity=0.9999).to_pylist()
    assert kept == [True] * 50 + [None] + [False] * 50


def test_no_rows_and_no_features_are_judged_too() -> None:
    kind = pa.list_(pa.float16())
    assert unlike_all_before(pa.array([], kind), max_similarity=0.9).to_pylist() == []
    assert unlike_all_before(pa.nulls(2, kind), max_similarity=0.9).to_pylist() == [None, None]
