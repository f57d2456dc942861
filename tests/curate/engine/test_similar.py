"""Altered copies within a run: the first in source order stays, whatever the cut of the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.engine import similar
from curate.engine.similar import SimilarImages
from curate.storage.store import Store
from filters import copies
from tests.curate.engine.test_evaluation import NAMES, photo
from tests.curate.runs import dropped, files, pair, shards, write_pairs

RULE = {"rules.similar_image.max_distance": 56, "shard.rows": 2}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        photo(NAMES[0]),
        photo(NAMES[1], 0.04),
        photo(NAMES[0], 0.05, 50),
        pair(7),
        photo(NAMES[2]),
        photo(NAMES[1], quality=60),
        photo(NAMES[0], quality=40),
        pair(8),
    ]
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.parquet", rows)


def run(source: Path, out: Path, **settings: Any) -> curate.RunResult:
    result = curate.run("laion", out, source, settings=RULE | settings, workers=0, progress=False)
    assert isinstance(result, curate.RunResult)
    return result


def test_the_first_of_several_copies_stays(source: Path, tmp_path: Path) -> None:
    result = run(source, tmp_path / "out")
    assert result.dropped == {"similar_image": 3}
    rows = [row for path in (tmp_path / "out").glob("_dropped/*") for row in pq.read_table(path).to_pylist()]
    assert sorted(row["source"].rpartition("#")[2] for row in rows) == ["2", "5", "6"]
    kept = {
        row["source"].rpartition("#")[2]: row["key"]
        for path in (tmp_path / "out").glob("shard-*.parquet")
        for row in pq.read_table(path, columns=["source", "key"]).to_pylist()
    }
    witness = {row["source"].rpartition("#")[2]: row["detail"].rpartition(" to ")[2] for row in rows}
    assert witness == {"2": kept["0"], "5": kept["1"], "6": kept["0"]}
    assert curate.verify(tmp_path / "out").damaged == {}
    told = curate.explain(tmp_path / "out", rows[0]["key"])
    assert told.reason == "similar_image"


def test_how_the_work_is_cut_changes_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(source, tmp_path / "one")
    monkeypatch.setattr(similar, "PARTITION_ENTRIES", 50)
    monkeypatch.setattr(similar, "GROUP_ROWS", 1)
    monkeypatch.setattr("curate.engine.plan.SLICE_ROWS", 2)
    run(source, tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert dropped(tmp_path / "one") == dropped(tmp_path / "two")


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(source, tmp_path / "whole")
    for step in ("spill", "resolve", "settle"):

        def stop(*_: object) -> None:
            raise OSError("stopped")

        with monkeypatch.context() as broken:
            broken.setattr(similar.SimilarImages, step, stop)
            with pytest.raises(curate.CurateError):
                run(source, tmp_path / "stopped")
    run(source, tmp_path / "stopped")
    assert files(tmp_path / "whole") == files(tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "_run" / "similar").exists()


def test_exact_duplicates_fall_to_their_own_rule_first(tmp_path: Path) -> None:
    rows = [
        photo(NAMES[0]),
        photo(NAMES[0]) | {"URL": "https://pictures.example/other.jpg"},
        photo(NAMES[0], quality=60),
    ]
    source = write_pairs(tmp_path / "pairs.parquet", rows)
    assert run(source, tmp_path / "out").dropped == {"duplicate_pair": 1, "similar_image": 1}


def test_a_run_without_images_that_show_anything_is_fine(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "pairs.parquet", [pair(1, image=b"no image"), pair(2, image=None)])
    assert run(source, tmp_path / "out").rows_out == 0


def test_rows_about_one_image_stay_or_fall_together(tmp_path: Path) -> None:
    first, copy = photo(NAMES[0]), photo(NAMES[0], 0.05)
    texts = ("A first text about this picture", "A second text about this picture")
    rows = [one | {"TEXT": text} for one in (first, copy) for text in texts]
    source = write_pairs(tmp_path / "pairs.parquet", rows)
    assert run(source, tmp_path / "out").dropped == {"similar_image": 2}
    assert set(dropped(tmp_path / "out")) == {"pairs.parquet#2", "pairs.parquet#3"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three files: copies of the earlier ones' images, copies of copies, and a picture that becomes a placeholder's.

    The picture of the fifth row is shown once more as it is in the second file, and often in the third; a copy of it
    has fallen before, and there is another of a row that has fallen.
    """
    folder = tmp_path_factory.mktemp("parts")
    texts = iter(f"A text about one of these pictures, number {number}" for number in range(99))

    def shown(*pictures: dict[str, Any]) -> list[dict[str, Any]]:
        addresses = (f"https://pictures.example/{next(texts)[-2:]}.jpg" for _ in pictures)
        return [one | {"TEXT": next(texts), "URL": url} for one, url in zip(pictures, addresses, strict=True)]

    one, other, plain = NAMES[:3]
    shrunk, still = photo(one, 0.05, 50), photo(plain)
    first = shown(photo(one), photo(other, 0.04), shrunk, pair(7), still, photo(plain, 0.03))
    second = shown(photo(other, quality=60), pair(7), still, photo(plain, quality=50), shrunk)
    third = shown(*[still] * 5, *[shrunk] * 4, photo(plain, quality=30), pair(11), photo(other))
    return [write_pairs(folder / f"part-{n}.parquet", part) for n, part in enumerate((first, second, third))]


def grown(inputs: list[Path], out: Path, **settings: Any) -> curate.RunResult:
    given = RULE | {"rules.placeholder_image.max_texts": 4} | settings
    result = curate.run("laion", out, inputs, settings=given, workers=0, progress=False)
    assert isinstance(result, curate.RunResult)
    return result


@pytest.mark.parametrize("compared", [copies.COMPARED, 4, 1])
@pytest.mark.parametrize("rows", [2, 3])
def test_a_run_that_takes_in_inputs_has_the_bytes_of_a_run_on_all(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compared: int, rows: int
) -> None:
    monkeypatch.setattr(copies, "COMPARED", compared)
    cut = {"shard.rows": rows}
    whole = grown(parts, tmp_path / "whole", **cut)
    for some in (parts[:1], parts[:2], parts):
        steps = grown(some, tmp_path / "steps", **cut)
    assert files(tmp_path / "steps") == files(tmp_path / "whole")
    assert steps.dropped == whole.dropped
    assert whole.dropped["similar_image"] > 2
    assert whole.dropped["placeholder_image"] > 4
    assert curate.verify(tmp_path / "steps", workers=0).damaged == {}


@pytest.mark.parametrize("crowd", [copies.CROWD, 30])
def test_what_becomes_of_a_row_depends_on_those_before_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crowd: int
) -> None:
    """Also where bands grow longer, and where a bucket has more images than are compared."""
    monkeypatch.setattr(copies, "COMPARED", 8)
    monkeypatch.setattr(copies, "CROWD", crowd)
    rng = np.random.default_rng(3)
    prints = rng.integers(0, 256, (12, 20, copies.VIEWS, copies.VIEW_BYTES), np.uint8)
    for unit in range(1, 12):  # every second row is like one of an earlier unit, in up to 60 bits
        spread = np.unpackbits(prints[rng.integers(unit), :10, 0], axis=1)
        for row, bits in zip(spread, rng.integers(60, size=10), strict=True):
            row[rng.permutation(256)[:bits]] ^= 1
        prints[unit, ::2, 0] = np.packbits(spread, axis=1)
    store = Store(str(tmp_path))
    told = []
    for units in (1, 2, 5, 12):
        for unit in range(units):
            kept = pa.table(
                {
                    "key": [f"{unit}:{row}" for row in range(20)],
                    "extra": pa.nulls(20, pa.string()),
                    "fingerprint": pa.array([one.tobytes() for one in prints[unit]], copies.KIND),
                }
            )
            similar.keep_fingerprints(store, unit, kept, [f"{unit}:{row}".encode() for row in range(20)])
        run = SimilarImages(56, units * 20, units, 1, lambda unit: (unit + 1) * 20)
        for number in range(units):
            run.spill(store, number, [number])
        for partition in range(run.partitions):
            run.resolve(store, partition)
        run.settle(store)
        told.append([run.verdicts(store, number).to_pylist() for number in range(units)])
    levels = {copies.level_for((unit + 1) * 20) for unit in range(12)}
    assert len(levels) > 2
    assert all(one == told[-1][: len(one)] for one in told)
    assert 20 < sum(map(len, told[-1])) < 110


def test_a_row_that_was_similar_falls_as_a_placeholder_once_it_is_one(
    parts: list[Path], tmp_path: Path
) -> None:
    grown(parts[:1], tmp_path / "out")
    assert dropped(tmp_path / "out")["part-0.parquet#2"] == "similar_image"
    grown(parts, tmp_path / "out")
    assert dropped(tmp_path / "out")["part-0.parquet#2"] == "placeholder_image"


@pytest.mark.parametrize("left", [None, b"", b"junk", b"ARROW1\0\0 cut"])
def test_without_the_fingerprints_of_before_nothing_is_taken_in(
    parts: list[Path], tmp_path: Path, left: bytes | None
) -> None:
    grown(parts[:1], tmp_path / "out")
    before = files(tmp_path / "out")
    place = tmp_path / "out" / "_run" / "prints" / "unit-000001.arrow"
    place.unlink()
    if left is not None:
        place.write_bytes(left)
    with pytest.raises(
        curate.CurateError, match=r"fingerprints of unit 1, .* are not in _run/prints"
    ) as refused:
        grown(parts[:2], tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert files(tmp_path / "out") == before


def test_a_version_without_removed_rows_takes_in_more_inputs(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    keys = {row["source"].rpartition("#")[2]: row["key"] for row in shards(tmp_path / "out").to_pylist()}
    (tmp_path / "list.txt").write_text(keys["1"])
    curate.remove(tmp_path / "out", tmp_path / "list.txt", tmp_path / "new")
    for unit in range(1, 4):
        name = f"_run/prints/unit-00000{unit}.arrow"
        assert (tmp_path / "new" / name).samefile(tmp_path / "out" / name)
    prints = Store(str(tmp_path / "new"))
    assert keys["0"] in similar.details_of(prints, 0)
    assert keys["1"] not in similar.details_of(prints, 0)
    more = write_pairs(tmp_path / "z.parquet", [photo(NAMES[2], quality=30), pair(9), photo(NAMES[0], 0.02)])
    options = {"settings": RULE, "workers": 0, "progress": False}
    grown = curate.run("laion", tmp_path / "new", [source, more], **options)
    assert grown.dropped == {"similar_image": 5, "removed_on_request": 1}
    fallen = [
        row["detail"].rpartition(" to ")[2]
        for row in pq.read_table(tmp_path / "new" / "_dropped" / "dropped-000004.parquet").to_pylist()
    ]
    assert fallen == [keys["4"]]
    assert curate.verify(tmp_path / "new", workers=0).damaged == {}
