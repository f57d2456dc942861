"""An image that several samples show is stored once in a pack."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

pytest.importorskip("tiktoken")

from curate.packing import PackSettings, pack
from curate.packing.buckets import draw
from curate.packing.read import beside_their_image
from curate.storage.shards import has_repeated
from curate.verifying.command import verify
from tests.curate.tasks_runs import curated, write_json


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten questions of each of six images."""
    folder = tmp_path_factory.mktemp("once")
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 255, (180, 200 + number, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    rows = [
        {"imgname": f"{number}.png", "query": f"What is {number} {place}?", "label": "Noise."}
        for number in range(6)
        for place in range(10)
    ]
    curated(
        "chartqa", folder / "out", [write_json(folder / "chartqa.json", rows)], [f"image.folder={folder}"]
    )
    return folder / "out"


def stored(folder: Path) -> int:
    """Bytes of the Parquet files of a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.parquet"))


def bodies(folder: Path, stem: str) -> dict[str, list[bytes]]:
    """Of each sample of packs or row of shards by its key: the bytes of its images."""
    found: dict[str, list[bytes]] = {}
    for path in sorted(folder.glob(f"{stem}-*.parquet")):
        for row in pq.read_table(path).to_pylist():
            if stem == "shard":
                found[row["key"]] = [row["image"]["bytes"]]
                continue
            for key, start, stop in zip(row["keys"], row["segments"], row["segments"][1:], strict=False):
                found[key] = [one["bytes"] for one in row["images"] if start <= one["start"] < stop]
    return found


def test_shards_and_packs_hold_each_image_once(shards: Path, tmp_path: Path) -> None:
    one = {name: body for name, (body,) in bodies(shards, "shard").items()}
    assert (len(one), len(set(one.values()))) == (60, 6)
    whole = sum(map(len, set(one.values())))
    assert stored(shards) < 1.2 * whole
    packed = pack([str(shards)], str(tmp_path / "packs"), PackSettings())
    assert packed["copies"] == 60
    assert stored(tmp_path / "packs") < 1.3 * whole
    assert bodies(tmp_path / "packs", "pack") == bodies(shards, "shard")
    assert has_repeated(pq.ParquetFile(tmp_path / "packs" / "pack-000000.parquet"))
    assert verify(str(tmp_path / "packs"))["damaged"] == {}


def test_samples_of_one_image_draw_neighbouring_places() -> None:
    numbers = [*(number % 7 for number in range(70)), *range(100, 130)]
    names = [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]
    order = draw(0, 1, np.arange(len(names)))
    beside = beside_their_image(order, pa.chunked_array([[*names[:-1], None]], pa.string()), seed=0)
    ranked = [names[row] for row in np.argsort(beside).tolist()]
    runs = sum(one != other for one, other in pairwise(ranked)) + 1
    assert runs == 7 + 30
    assert (beside[70:] == order[70:]).all()  # what stands alone stays where it was
    assert len(set(beside.tolist())) == len(names)
    assert (np.sort(beside) != np.sort(beside_their_image(order, pa.chunked_array([names]), seed=1))).any()


def test_the_loader_gives_each_sample_its_image(shards: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from curate.loader import PackDataset

    pack([str(shards)], str(tmp_path / "packs"), PackSettings())
    expected = bodies(shards, "shard")
    for row in PackDataset(str(tmp_path / "packs"), shuffle=False):
        for key, start, stop in zip(row["keys"], row["segments"], row["segments"][1:], strict=False):
            images = [one["bytes"] for one in row["images"] if start <= one["start"] < stop]
            assert images == expected[key]
