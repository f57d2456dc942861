"""Dialogues with their images, and images that several rows show, as the loader gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")

from curate.errors import DamagedError  # noqa: E402
from curate.loader import Collate, ShardDataset, ShardMap  # noqa: E402
from curate.manifest.settings import ShardSettings  # noqa: E402
from curate.storage.image_index import KEY, LEAVES, read_index  # noqa: E402
from curate.storage.shards import has_repeated, write_tables  # noqa: E402
from curate.storage.store import Store  # noqa: E402
from tests.curate.runs import shards  # noqa: E402
from tests.curate.tasks_runs import curated, write_json, write_picture  # noqa: E402


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dialogues of three images, of one that another shows too, and of none."""
    folder = tmp_path_factory.mktemp("talks")
    for number, name in enumerate("abc"):
        write_picture(folder / f"{name}.jpg", 64 + number, 48)
    rows = [
        talk("<image>\n<image> and <image>?", ["a.jpg", "b.jpg", "c.jpg"]),
        talk("Again <image>?", ["b.jpg"]),
        talk("No image.", []),
    ]
    curated("llava-instruct", folder / "out", [write_json(folder / "talks.json", rows)])
    return folder / "out"


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Referring expressions, four to an image."""
    folder = tmp_path_factory.mktemp("regions")
    for name, width in (("a", 640), ("b", 600)):
        write_picture(folder / f"{name}.jpg", width, 480)
    table = pa.table(
        {
            "image_path": [f"{name}.jpg" for name in "ab" for _ in range(4)],
            "phrase": [f"thing {number}" for number in range(8)],
        }
    )
    pq.write_table(table, folder / "captions.parquet")
    sets = [f"image.folder={folder}", 'columns.image_path=["image_path"]', 'columns.text=["phrase"]']
    rules = [f"rules.{rule}=false" for rule in ("placeholder_image", "duplicate_pair", "clip_score_too_low")]
    curated("laion", folder / "out", [folder / "captions.parquet"], [*sets, *rules])
    return folder / "out"


def talk(said: str, images: list[str]) -> dict[str, Any]:
    turns = [{"from": "human", "value": said}, {"from": "gpt", "value": "So it is."}]
    return {"image": images, "conversations": turns}


def test_a_dialogue_comes_with_its_messages_and_images(talks: Path) -> None:
    read, stored = list(ShardDataset(str(talks), shuffle=False)), shards(talks).to_pylist()
    assert [one["messages"] for one in read] == [row["messages"] for row in stored]
    for one, row in zip(read, stored, strict=True):
        assert one["image"] is None
        assert [(i["path"], i["bytes"]) for i in one["images"]] == [
            (i["path"], i["bytes"]) for i in row["images"]
        ]
    assert [len(one["images"]) for one in read] == [3, 1, 0]


def test_other_rows_have_no_list_of_images(regions: Path) -> None:
    first = ShardMap(str(regions))[0]
    assert first["images"] is None
    assert first["messages"] is None
    assert first["image"]


def test_a_batch_counts_the_images_of_each_sample(talks: Path) -> None:
    batch = Collate(side=32)(list(ShardDataset(str(talks), shuffle=False)))
    assert batch["image_count"].tolist() == [3, 1, 0]
    assert batch["has_image"].tolist() == [True, True, False]
    assert batch["pixels"].shape == (4, 3, 32, 32)


def test_an_image_of_a_dialogue_that_was_changed_is_named(talks: Path, tmp_path: Path) -> None:
    path = next(talks.glob("shard-*.parquet"))
    index = read_index(pq.ParquetFile(path), LEAVES[1])
    assert index is not None
    body, place = bytearray(path.read_bytes()), int(index[0].offset[1]) + 20
    body[place] ^= 1
    (tmp_path / path.name).write_bytes(bytes(body))
    key = shards(talks)["key"][0].as_py()
    with pytest.raises(DamagedError, match=f"row 0, key {key}"):
        list(ShardDataset(str(tmp_path / path.name), shuffle=False))


def test_an_image_is_stored_once_and_shown_by_every_row(regions: Path) -> None:
    path = next(regions.glob("shard-*.parquet"))
    parquet, table = pq.ParquetFile(path), pq.read_table(path)
    bodies = [row["bytes"] for row in table["image"].to_pylist()]
    assert len(bodies) == 8
    assert len(set(bodies)) == 2
    assert [path.read_bytes().count(body) for body in set(bodies)] == [1, 1]
    index = read_index(parquet, LEAVES[0])
    assert index is not None
    assert [
        path.read_bytes()[o : o + s] for o, s in zip(index[0].offset, index[0].size, strict=True)
    ] == bodies
    read = list(ShardDataset(str(regions), shuffle=False))
    assert [one["image"] for one in read] == bodies


def test_without_its_index_a_dictionary_is_walked(regions: Path, tmp_path: Path) -> None:
    path = next(regions.glob("shard-*.parquet"))
    body = path.read_bytes().replace(KEY, b"curate.imagez")
    (tmp_path / path.name).write_bytes(body)
    parquet = pq.ParquetFile(tmp_path / path.name)
    assert has_repeated(parquet)
    assert read_index(parquet, LEAVES[0]) is None
    bodies = [one["image"] for one in ShardDataset(str(tmp_path / path.name), shuffle=False)]
    assert bodies == [row["bytes"] for row in pq.read_table(path)["image"].to_pylist()]


def test_the_index_says_which_image_each_dialogue_shows(talks: Path) -> None:
    path = next(talks.glob("shard-*.parquet"))
    assert has_repeated(pq.ParquetFile(path))  # b.jpg is in two dialogues
    told = json.loads((pq.ParquetFile(path).metadata.metadata or {})[KEY])
    assert {"codes", "entries"} <= told["images"].keys()


def test_a_file_that_is_written_anew_stores_its_images_once_as_before(regions: Path, tmp_path: Path) -> None:
    path = next(regions.glob("shard-*.parquet"))
    reader = pq.ParquetFile(path)
    groups = (reader.read_row_group(group) for group in range(reader.num_row_groups))
    several = has_repeated(reader)
    write_tables(Store(str(tmp_path)), path.name, groups, reader.schema_arrow, ShardSettings(), several)
    assert pq.read_table(tmp_path / path.name).equals(pq.read_table(path))
    assert (tmp_path / path.name).stat().st_size < path.stat().st_size + 1000
    assert read_index(pq.ParquetFile(tmp_path / path.name), LEAVES[0]) is not None
