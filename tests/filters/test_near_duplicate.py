from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import filters.near_duplicate
from filters.near_duplicate import NOBODY, unlike_all_before, witnesses
from filters.near_duplicate_index import NoRoomError

ROOT = Path(__file__).parents[2]


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


def clustered(rows: int, dimension: int = 64, seed: int = 0) -> np.ndarray:
    """Stored features of topics, a third of them an earlier row's at a cosine of 0.8 to 1."""
    rng = np.random.default_rng(seed)
    topics = rng.normal(size=(rows // 100, dimension)) + 1
    made = topics[rng.integers(len(topics), size=rows)] + rng.normal(size=(rows, dimension))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    for row in np.flatnonzero(rng.random(rows) < 0.3)[1:]:
        other, noise, cosine = made[rng.integers(row)], rng.normal(size=dimension), rng.uniform(0.8, 1)
        noise -= (noise @ other) * other
        made[row] = cosine * other + (1 - cosine**2) ** 0.5 * noise / np.linalg.norm(noise)
    return made.astype(np.float16)


def judged(rows: np.ndarray, most: float) -> tuple[np.ndarray, np.ndarray]:
    """Who each row is like, and how much, from blocks of uneven sizes."""
    blocks = np.array_split(rows, 7)
    witness, similarity = map(np.concatenate, zip(*witnesses(blocks, len(rows), most), strict=True))
    return witness, similarity


def digest(rows: np.ndarray) -> str:
    """Of who falls at 0.9, to whom, and how similar they are."""
    return hashlib.sha256(b"".join(part.tobytes() for part in judged(rows, 0.9))).hexdigest()


def held(folder: Path) -> list[str]:
    """Files of a folder, by name or still open without one."""
    opened = []
    for file in Path("/proc/self/fd").iterdir():
        try:
            opened.append(str(file.readlink()))
        except FileNotFoundError:
            continue
    return [*map(str, folder.iterdir()), *(name for name in opened if name.startswith(f"{folder}/"))]


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few rows that they would all be compared go through the index."""
    pytest.importorskip("faiss")
    monkeypatch.setattr(filters.near_duplicate, "EXACT_ROWS", 0)


def column(rows: np.ndarray) -> pa.ListArray:
    return pa.array([row.astype(np.float16) for row in rows], pa.list_(pa.float16()))


@pytest.mark.parametrize("most", [0.5, 0.9, 0.99])
def test_a_row_falls_exactly_if_it_is_too_much_like_one_that_stays(most: float) -> None:
    rows = features(1500)
    found = [part for part, _ in witnesses([rows[:7], rows[7:1300], rows[1300:]], len(rows), most)]
    assert (np.concatenate(found) == NOBODY).tolist() == naive(rows, most)


@pytest.mark.parametrize("way", ["exact", "indexed"])
def test_what_falls_names_an_earlier_row_that_stays_and_is_alike(
    way: str, request: pytest.FixtureRequest
) -> None:
    if way == "indexed":
        request.getfixturevalue("indexed")
    rows = clustered(4000)
    witness, similarity = judged(rows, 0.9)
    fallen = np.flatnonzero(witness != NOBODY)
    assert len(fallen) > 400
    assert (witness[fallen] < fallen).all()
    assert (witness[witness[fallen]] == NOBODY).all()
    true = rows.astype(np.float64)
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    assert similarity[fallen] == pytest.approx((true[fallen] * true[witness[fallen]]).sum(1), abs=1e-6)
    assert similarity[fallen].min() > 0.9


@pytest.mark.parametrize("most", [0.9, 0.95])
@pytest.mark.parametrize("dimension", [64, 512])
def test_an_index_finds_nearly_all_that_comparing_every_pair_finds(
    most: float, dimension: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    rows = clustered(8_000, dimension)
    exact = judged(rows, most)[0] != NOBODY
    monkeypatch.setattr(filters.near_duplicate, "EXACT_ROWS", 0)
    index = judged(rows, most)[0] != NOBODY
    assert exact.sum() > 500
    assert (index & exact).sum() >= 0.99 * exact.sum()
    assert (index & ~exact).sum() <= 0.01 * exact.sum()


def test_an_index_gives_the_same_on_one_thread_as_on_several(indexed: None) -> None:
    code = (
        "import filters.near_duplicate, tests.filters.test_near_duplicate as made\n"
        "filters.near_duplicate.EXACT_ROWS = 0\n"
        "print(made.digest(made.clustered(4000)))"
    )
    here = digest(clustered(4000))
    for threads in ("1", "2", "3"):
        alone = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=os.environ | alone, capture_output=True, text=True
        )
        assert done.stdout.strip() == here, done.stderr


def test_the_temporary_file_is_gone_whatever_happens(
    indexed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = clustered(3000)
    under_way = witnesses([rows], len(rows), 0.9)
    next(under_way)
    assert held(tmp_path)
    assert not [*tmp_path.iterdir()]  # it has no name, so not even a kill leaves it behind
    assert len([*under_way]) == 2
    del under_way
    assert held(tmp_path) == []
    with pytest.raises(ValueError, match="broken"):
        [*witnesses((broken() if n else rows for n in range(2)), 2 * len(rows), 0.9)]
    assert held(tmp_path) == []


def broken() -> np.ndarray:
    raise ValueError("broken")


def test_a_full_disk_is_noticed_before_anything_is_compared(
    indexed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NoRoomError, match=r"no 1\.0 GB for features in /.* \(No space left on device\)"):
        next(witnesses([clustered(500, 500)], 1_000_000, 0.9))


def test_what_is_not_finite_is_like_nobody_and_harms_no_other(indexed: None) -> None:
    rows = clustered(3000)
    before = judged(rows, 0.9)[0]
    rows[[0, 1, 1500, 1501]] = np.nan
    rows[1501, 0] = np.inf
    after = judged(rows, 0.9)[0]
    assert (after[[0, 1, 1500, 1501]] == NOBODY).all()
    assert ((before == NOBODY) != (after == NOBODY)).sum() < 10


def test_identical_features_fall_whatever_float16_made_of_them_and_none_is_not_judged() -> None:
    rows = column(features(50, repeated=0))
    twice = pa.concat_arrays([rows, pa.nulls(1, rows.type), rows])
    kept = unlike_all_before(twice, max_similarity=0.9999).to_pylist()
    assert kept == [True] * 50 + [None] + [False] * 50


def test_no_rows_and_no_features_are_judged_too() -> None:
    kind = pa.list_(pa.float16())
    assert unlike_all_before(pa.array([], kind), max_similarity=0.9).to_pylist() == []
    assert unlike_all_before(pa.nulls(2, kind), max_similarity=0.9).to_pylist() == [None, None]


def test_rows_repeated_many_times_fall_to_the_first_of_each(indexed: None) -> None:
    rows = np.tile(np.eye(3, 64, dtype=np.float16), (900, 1))  # each is a cluster's very centre
    witness, similarity = judged(rows, 0.9)
    assert witness.tolist() == [NOBODY] * 3 + [0, 1, 2] * 899
    assert (similarity[3:] == 1).all()
