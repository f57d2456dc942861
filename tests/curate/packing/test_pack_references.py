"""Packs that leave their images in the shards, and what the loader makes of them."""

from __future__ import annotations

import json
import os
import re
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import DamagedError, InputError, ManifestError
from curate.exporting import export
from curate.loader import PackDataset
from curate.packing import PackSettings, pack
from curate.verifying.command import verify
from curate.verifying.referred import reference_problems
from tests.curate.made_shards import make_shards
from tests.curate.packing.test_pack_jobs import hashes, rewrite

SMALL: dict[str, Any] = {"bucket_bytes": 2**18, "file_bytes": 2**17, "seq_len": 600}
DIALECTS = ("qwen-vl", "qwen2.5-vl")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("made") / "shards", rows=100, shards=3)


def referring(shards: Path, out: Path, dialect: str = "qwen-vl") -> Path:
    settings = PackSettings(images="reference", dialect=dialect, max_images=8, **SMALL)
    pack([str(shards)], str(out), settings)
    return out


def sequences(packs: Path) -> list[dict[str, Any]]:
    """What the loader reads, in the packs' order."""
    return list(PackDataset(str(packs), shuffle=False))


def damage(packs: Path) -> set[str]:
    """What `verify` says, of some file at least."""
    found = set(chain.from_iterable(verify(str(packs))["damaged"].values()))
    assert found
    return found


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_loader_reads_the_same_as_from_packs_that_hold_their_images(
    shards: Path, tmp_path: Path, dialect: str
) -> None:
    packs = referring(shards, tmp_path / "packs", dialect)
    pack([str(shards)], str(tmp_path / "whole"), PackSettings(dialect=dialect, max_images=8, **SMALL))
    wanted = {tuple(one["keys"]): one for one in sequences(tmp_path / "whole")}
    found = {tuple(one["keys"]): one for one in sequences(packs)}
    assert found.keys() == wanted.keys()
    for keys, one in found.items():
        assert one["images"] == wanted[keys]["images"]
        assert np.array_equal(one["tokens"], wanted[keys]["tokens"])
    table = pq.read_table(packs / "pack-000000.parquet")
    assert all(image["bytes"] is None for row in table["images"].to_pylist() for image in row)
    sizes = [
        sum(path.stat().st_size for path in folder.glob("pack-*")) for folder in (packs, tmp_path / "whole")
    ]
    assert sizes[0] < sizes[1] / 2
    assert verify(str(packs))["damaged"] == {}


@pytest.mark.usefixtures("one_ray")
def test_they_do_not_depend_on_the_number_of_workers(shards: Path, tmp_path: Path) -> None:
    referring(shards, tmp_path / "one")
    settings = PackSettings(images="reference", max_images=8, **SMALL)
    pack([str(shards)], str(tmp_path / "two"), settings, workers=2)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_an_image_that_changed_in_its_shard_is_named(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "shards")
    packs = referring(tmp_path / "shards", tmp_path / "packs")
    path = tmp_path / "shards" / "shard-000001.parquet"
    body = next(one for one in pq.read_table(path)["image"].to_pylist() if one is not None)["bytes"]
    data = path.read_bytes()
    at = data.index(body) + len(body) // 2
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(
        DamagedError, match=r"shard-000001.parquet, the image at byte .* not those that were packed"
    ):
        sequences(packs)
    assert all(
        said.endswith("shard-000001.parquet holds other images than were packed") for said in damage(packs)
    )
    left = PackDataset(str(packs), damaged="skip")
    assert len(list(left)) + left.skipped == len(left)
    path.unlink()
    with pytest.raises(DamagedError, match=r"shard-000001.parquet"):
        sequences(packs)
    assert all(re.search("cannot read .*shard-000001.parquet", said) for said in damage(packs))


def test_shards_of_other_writers_are_refused(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "shards")
    rewrite(tmp_path / "shards", compression="snappy", use_dictionary=False)
    with pytest.raises(InputError, match=r"cannot be read by their places.*--images embed"):
        referring(tmp_path / "shards", tmp_path / "packs")


def test_an_export_of_them_and_another_word_are_refused(shards: Path, tmp_path: Path) -> None:
    packs = referring(shards, tmp_path / "packs")
    with pytest.raises(InputError, match="refers to images in shards: export these"):
        export(str(packs), "webdataset", str(tmp_path / "out"))
    with pytest.raises(ManifestError, match="say embed or reference or name"):
        curate.pack(shards, tmp_path / "more", images="link", progress=False)  # type: ignore[arg-type]
    assert json.loads((packs / "_manifest.json").read_text())["settings"]["images"] == "reference"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"offset": 2**50}, "shorter than what names its bytes says"),
        ({"offset": -3}, "shorter than what names its bytes says"),
        ({"size": -3}, "shorter than what names its bytes says"),
        ({"size": 2**60}, "shorter than what names its bytes says"),
        ({"uri": "SHARDS/../shards/shard-000009.parquet"}, "cannot read"),
        ({"uri": "/etc/passwd"}, "no shard"),
        ({"uri": "http://127.0.0.1:9/shard-000001.parquet"}, "no shard"),
        ({"uri": "PIPE/shard-000001.parquet"}, "shorter than what names its bytes says"),
        ({"uri": "SHARDS/shard-000002.parquet"}, "not those that were packed"),
    ],
)
def test_a_place_that_is_not_as_it_was_packed_is_named(
    shards: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    packs = referring(shards, tmp_path / "packs")
    os.mkfifo(tmp_path / "shard-000001.parquet")
    change = {
        name: value.replace("SHARDS", str(shards)).replace("PIPE", str(tmp_path)) if name == "uri" else value
        for name, value in change.items()
    }
    for path in packs.glob("pack-*.parquet"):
        table = pq.read_table(path)
        place = table.schema.get_field_index("image_places")
        named = [[one | change for one in row] for row in table["image_places"].to_pylist()]
        changed = pa.array(named, table.schema.field(place).type)
        pq.write_table(table.set_column(place, table.schema.field(place), changed), path)
    (packs / "_manifest.json").unlink()  # which would tell at once that the packs have changed
    with pytest.raises(DamagedError, match=said):
        sequences(packs)
    problems = list(reference_problems(pq.read_table(path)["image_places"].combine_chunks()))
    assert problems
    assert all(said.replace("not those that were", "other images than were") in one for one in problems)
