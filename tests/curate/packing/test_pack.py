from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import InputError, ManifestError, OutputError, Stopped
from curate.packing import PackSettings, pack
from curate.packing.buckets import draw, shares
from curate.packing.steps import PackSteps
from curate.packing.tokenizer import load
from tests.curate.made_shards import make_shards

SMALL = {"bucket_bytes": 2**18, "row_group_bytes": 2**16, "file_bytes": 2**19}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("made") / "shards")


@pytest.fixture(scope="module")
def packed(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "packs"
    pack([str(shards)], str(out), PackSettings(**SMALL))
    return out


def read(out: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("pack-*.parquet"))])


def source(shards: Path) -> dict[str, dict[str, Any]]:
    rows = pa.concat_tables(
        [pq.read_table(path) for path in sorted(shards.glob("shard-*.parquet"))]
    ).to_pylist()
    return {row["key"]: row for row in rows}


def hashes(out: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.rglob("*.parquet"))]


def test_every_sample_is_in_one_sequence_of_its_task_with_its_tokens_and_its_image(
    shards: Path, packed: Path
) -> None:
    samples, tokenizer = source(shards), load()
    seen = []
    for row in read(packed).to_pylist():
        assert len(row["tokens"]) == len(row["loss_mask"]) == row["segments"][-1] <= 2048
        images = {image["path"]: image for image in row["images"]}
        for key, start, end in zip(row["keys"], row["segments"][:-1], row["segments"][1:], strict=True):
            sample, tokens = samples[key], row["tokens"][start:end]
            seen.append(key)
            assert sample["task"] == row["task"]
            assert tokens[-1] == tokenizer.end
            assert tokens.count(tokenizer.image_pad) == (0 if sample["image"] is None else 256)
            if sample["image"] is not None:
                image = images[sample["image"]["path"]]
                assert image["bytes"] == sample["image"]["bytes"]
                assert image["start"] == start
                assert row["tokens"][image["start"]] == tokenizer.markers["<img>"]
            said = np.array(tokens)[np.array(row["loss_mask"][start:end])]
            markers = set(tokenizer.markers.values())
            raw = "".join(c for c in sample["target"] if c.isdigit())
            assert raw == "" or len([t for t in said if t not in markers]) > 1
    assert sorted(seen) == sorted(samples)


def test_the_manifest_adds_up_and_names_the_tokenizer(shards: Path, packed: Path) -> None:
    manifest = json.loads((packed / "_manifest.json").read_text())
    assert manifest["rows_in"] == manifest["rows_out"] + sum(manifest["dropped"].values()) == 600
    assert manifest["copies"] == 600
    table = read(packed)
    counts = Counter(table["task"].to_pylist())
    assert counts == {task: found["sequences"] for task, found in manifest["tasks"].items()}
    assert {entry["path"]: entry["sha256"] for entry in manifest["shards"]} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in packed.glob("*.parquet")
    }
    about = json.loads(pq.read_schema(packed / "pack-000000.parquet").metadata[b"curate"])
    assert about["tokenizer"] == manifest["tokenizer"] == load().describe()
    assert (about["seq_len"], about["image_tokens"]) == (2048, 256)


def test_images_lie_uncompressed_in_row_groups_of_a_hundred_rows(packed: Path) -> None:
    file = pq.ParquetFile(packed / "pack-000000.parquet")
    group = file.metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert columns["images.list.element.bytes"].compression == "UNCOMPRESSED"
    assert columns["tokens.list.element"].compression == "ZSTD"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_order(
    shards: Path, packed: Path, tmp_path: Path
) -> None:
    pack([str(shards)], str(tmp_path / "again"), PackSettings(**SMALL))
    assert hashes(tmp_path / "again") == hashes(packed)
    pack([str(shards)], str(tmp_path / "other"), PackSettings(**SMALL, seed=1))
    assert read(tmp_path / "other")["keys"] != read(packed)["keys"]


def test_sequences_are_shuffled_over_shards_and_tasks(shards: Path, packed: Path) -> None:
    table = read(packed)
    tasks = table["task"].to_pylist()
    assert sum(one != other for one, other in itertools.pairwise(tasks)) > len(tasks) / 2
    place = {key: number for number, key in enumerate(source(shards))}
    order = np.array([place[key] for keys in table["keys"].to_pylist() for key in keys])
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.15


def test_a_finished_folder_is_left_alone_and_another_plan_refused(shards: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    first = pack([str(shards)], out, PackSettings())
    written = (tmp_path / "out" / "pack-000000.parquet").stat().st_mtime_ns
    assert pack([str(shards)], out, PackSettings()) == first
    assert (tmp_path / "out" / "pack-000000.parquet").stat().st_mtime_ns == written
    with pytest.raises(OutputError, match="--overwrite"):
        pack([str(shards)], out, PackSettings(seed=2))
    pack([str(shards)], out, PackSettings(seed=2, overwrite=True))
    assert not (tmp_path / "out" / "_run").exists()


def test_a_folder_with_other_things_is_not_written_to(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        pack([str(shards)], str(tmp_path))


def test_samples_longer_than_a_sequence_are_dropped_with_their_length(shards: Path, tmp_path: Path) -> None:
    manifest = pack([str(shards)], str(tmp_path / "out"), PackSettings(seq_len=300))
    dropped = pq.read_table(tmp_path / "out" / "_dropped").to_pylist()
    assert manifest["dropped"] == {"sample_too_long": len(dropped)}
    assert manifest["rows_out"] + len(dropped) == 600
    assert all(int(row["detail"].removeprefix("tokens=")) > 300 for row in dropped)
    assert {row["reason"] for row in dropped} == {"sample_too_long"}
    lengths = [int(row["detail"].removeprefix("tokens=")) for row in dropped]
    taken = {str(size): sum(size / 2 < length <= size for length in lengths) for size in (512, 1024)}
    assert manifest["too_long"] == {
        "longest": max(lengths),
        "by_seq_len": {k: n for k, n in taken.items() if n},
    }
    assert all(len(row["tokens"]) <= 300 for row in read(tmp_path / "out").to_pylist())


def test_long_samples_are_cut_on_request(shards: Path, tmp_path: Path) -> None:
    manifest = pack([str(shards)], str(tmp_path / "out"), PackSettings(seq_len=300, truncate=True))
    samples = source(shards)
    keys = {key for row in read(tmp_path / "out").to_pylist() for key in row["keys"]}
    # where the first phrase with its boxes is longer than the rest of the sequence, there is nothing to cut
    assert {samples[key]["task"] for key in samples.keys() - keys} == {"ocr", "referring", "region_caption"}
    assert set(manifest["dropped"]) == {"sample_too_long"}
    tokenizer = load()
    for row in read(tmp_path / "out").to_pylist():
        for opening, closing in (
            ("<ref>", "</ref>"),
            ("<box>", "</box>"),
            ("<quad>", "</quad>"),
            ("<img>", "</img>"),
        ):
            counted = [row["tokens"].count(tokenizer.markers[mark]) for mark in (opening, closing)]
            assert counted[0] == counted[1]


def test_packs_can_name_their_images_only(shards: Path, tmp_path: Path) -> None:
    pack([str(shards)], str(tmp_path / "out"), PackSettings(images="name"))
    images = [image for row in read(tmp_path / "out").to_pylist() for image in row["images"]]
    assert len(images) == 525
    assert all(image["bytes"] is None and image["path"].endswith(".jpg") for image in images)


def mixed(shards: Path, tmp_path: Path, mix: str, **settings: Any) -> dict[str, Any]:
    (tmp_path / "mix.toml").write_text(mix, encoding="utf-8")
    return pack(
        [str(shards)], str(tmp_path / "out"), PackSettings(mix=str(tmp_path / "mix.toml"), **settings)
    )


def test_epochs_repeat_samples_and_leave_others_out(shards: Path, tmp_path: Path) -> None:
    mix = """
    source = [{task = "caption", epochs = 2.5}, {task = "vqa", epochs = 0}, {epochs = 1}]
    """
    manifest = mixed(shards, tmp_path, mix)
    seen = Counter(key for keys in read(tmp_path / "out")["keys"].to_pylist() for key in keys)
    samples = source(shards)
    times = {
        task: Counter(seen[k] for k, row in samples.items() if row["task"] == task)
        for task in manifest["tasks"]
    }
    assert set(times["caption"]) == {2, 3}
    assert abs(times["caption"][3] - 37) < 20
    assert set(times["text"]) == {1}
    assert manifest["dropped"] == {"left_out_by_mix": 75}
    assert "vqa" not in manifest["tasks"]


def test_weights_share_the_mixture_and_caps_bound_the_repeats(shards: Path, tmp_path: Path) -> None:
    mix = """
    source = [
        {task = "caption", weight = 3, max_epochs = 1.5},
        {dataset = "made-text", weight = 1},
        {epochs = 0},
    ]
    """
    manifest = mixed(shards, tmp_path, mix)
    counts = {task: found["samples"] for task, found in manifest["tasks"].items()}
    assert abs(counts["caption"] - 112.5) < 15
    assert abs(counts["text"] - 37.5) < 15


def test_weights_can_be_of_tokens(shards: Path, tmp_path: Path) -> None:
    mix = (
        'by = "tokens"\nsource = [{task = "caption", weight = 1}, {task = "text", weight = 1}, {epochs = 0}]'
    )
    manifest = mixed(shards, tmp_path, mix)
    tokens = {task: found["tokens"] for task, found in manifest["tasks"].items()}
    assert tokens["text"] / tokens["caption"] == pytest.approx(1, abs=0.5)
    assert manifest["tasks"]["caption"]["samples"] < 20


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ("source = [{task = 'caption', epochs = 1}]", "no source of the mix matches"),
        ("source = [{task = 'captions', weight = 1}, {epochs = 1}]", "source 1 of the mix has a weight"),
        ("source = [{epochs = 1, weight = 1}]", "either weight or epochs"),
        ("source = [{epochs = -1}]", "epochs must be from 0 to 1000"),
        ("source = [{epoch = 1}]", r"source\[0\] has no key .epoch. .did you mean .epochs."),
        ("by = 'bytes'", "by cannot be 'bytes'"),
        ("by = ", "Invalid value"),
    ],
)
def test_a_wrong_mix_is_refused_before_anything_is_written(
    shards: Path, tmp_path: Path, mix: str, message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        mixed(shards, tmp_path, mix)
    assert not list((tmp_path / "out").glob("pack-*"))


def test_wrong_inputs_and_settings_are_refused_before_anything_is_written(
    shards: Path, packed: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(InputError, match="there is no"):
        pack([str(tmp_path / "absent")], out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no shard-"):
        pack([str(tmp_path / "empty")], out)
    with pytest.raises(InputError, match=r"pack-000000\.parquet is a pack: give the shards"):
        pack([str(packed / "pack-000000.parquet")], out)
    with pytest.raises(InputError, match="holds packs: give the shards"):
        pack([str(packed)], out)
    for again in (f"{shards}/", f"{shards}/shard-000000.parquet", f"{shards}/../{shards.name}"):
        with pytest.raises(InputError, match="is given twice"):
            pack([str(shards), again], out)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "shard-000000.parquet").write_bytes(
        (shards / "shard-000000.parquet").read_bytes()[:-100]
    )
    with pytest.raises(InputError, match="cannot read"):
        pack([str(tmp_path / "torn")], out)
    (tmp_path / "unfinished" / "_run").mkdir(parents=True)
    with pytest.raises(InputError, match="unfinished"):
        pack([str(tmp_path / "unfinished")], out)
    with pytest.raises(ManifestError, match="seq_len must be from 8"):
        pack([str(shards)], out, PackSettings(seq_len=3))
    with pytest.raises(ManifestError, match="bucket_bytes"):
        pack([str(shards)], out, PackSettings(bucket_bytes=1))
    assert not Path(out).exists()


def test_a_damaged_page_is_an_error_and_leaves_no_pack(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    data = bytearray((shards / "shard-000000.parquet").read_bytes())
    column = pq.ParquetFile(shards / "shard-000000.parquet").metadata.row_group(0).column(0)
    data[column.data_page_offset + 60] ^= 0xFF
    (tmp_path / "in" / "shard-000000.parquet").write_bytes(data)
    with pytest.raises(InputError, match=r"damaged in row group 0"):
        pack([str(tmp_path / "in")], str(tmp_path / "out"))
    assert not (tmp_path / "out" / "_manifest.json").exists()


def test_an_interrupted_pack_starts_over(shards: Path, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "_run" / "tmp" / "curate-pack-x").mkdir(parents=True)
    (out / "_run" / "lock").touch()
    (out / "pack-000009.parquet").write_bytes(b"half")
    pack([str(shards)], str(out), PackSettings(**SMALL))
    assert hashes(out) == hashes(packed)


def test_draws_are_uniform_and_streams_differ() -> None:
    one, other = shares(draw(5, 0, np.arange(100_000))), shares(draw(5, 1, np.arange(100_000)))
    for numbers in (one, other):
        assert abs(numbers.mean() - 0.5) < 0.01
        assert np.abs(np.histogram(numbers, 20, (0, 1))[0] - 5000).max() < 350
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02


def test_buckets_are_cut_by_the_tokens_of_images_that_have_few_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = make_shards(tmp_path / "shards", rows=400, tasks=("caption",), side=8)
    monkeypatch.setattr(PackSteps, "lay", stopped)
    buckets = []
    for image_tokens in (256, 8000):
        settings = PackSettings(
            image_tokens=image_tokens, seq_len=8192, bucket_bytes=2**22, images="reference"
        )
        with pytest.raises(Stopped):
            pack([str(shards)], str(tmp_path / f"{image_tokens}"), settings)
        terms = json.loads((tmp_path / f"{image_tokens}/_run/pack/terms.json").read_text())
        buckets.append(terms["buckets"])
    assert buckets == [1, -(-3 * 400 * 8000 * 4.125 // 2**22)]


def stopped(_: PackSteps) -> None:
    raise KeyboardInterrupt
