from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import json
import sys
import tarfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.errors import InputError, ManifestError, OutputError
from curate.exporting import FORMATS, TRAINING, export
from curate.manifest.settings import ShardSettings
from curate.packing import PackSettings, pack
from curate.storage.shards import write_tables
from curate.storage.store import Store
from tests.curate.made_shards import make_shards

ROWS = 240
Row = dict[str, Any]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("made") / "shards", rows=120, shards=2)


@pytest.fixture(scope="module")
def packs(shards: Path) -> Path:
    pack([str(shards)], str(shards.parent / "packs"))
    return shards.parent / "packs"


def source(folder: Path, stem: str = "shard") -> list[Row]:
    rows: list[Row] = pa.concat_tables(
        [pq.read_table(p) for p in sorted(folder.glob(f"{stem}-*"))]
    ).to_pylist()
    return rows


def image_bytes(row: Row) -> bytes | None:
    return None if row["image"] is None else row["image"]["bytes"]


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_webdataset_reads_every_sample_back(shards: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    manifest = export(str(shards), "webdataset", str(tmp_path / "out"))
    assert manifest["rows_in"] == manifest["rows_out"] == ROWS
    tars = [str(tmp_path / "out" / name) for name in manifest["files"]]
    assert len(tars) == 2
    found = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))
    for sample, row in zip(found, source(shards), strict=True):
        assert sample["__key__"] == row["key"]
        assert sample.get("jpg") == image_bytes(row)
        assert sample["txt"].decode() == row["text"]
        meta = json.loads(sample["json"])
        assert (meta["prompt"], meta["target"], meta["regions"]) == (
            row["prompt"],
            row["target"],
            row["regions"],
        )
    decoded = next(iter(webdataset.WebDataset(tars[:1], shardshuffle=False).decode("pil")))
    assert decoded["jpg"].size == (48, 24)


def test_webdataset_keeps_packs_as_arrays_and_numbered_images(packs: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    files = export(str(packs), "webdataset", str(tmp_path / "out"))["files"]
    tars = [str(tmp_path / "out" / name) for name in files]
    rows = source(packs, "pack")
    for sample, row in zip(webdataset.WebDataset(tars, shardshuffle=False).decode(), rows, strict=True):
        assert sample["tokens.npy"].tolist() == row["tokens"]
        assert sample["loss_mask.npy"].tolist() == row["loss_mask"]
        assert sample["segments.npy"].tolist() == row["segments"]
        assert sample["json"]["keys"] == row["keys"]
        assert [sample[f"{n}.jpg"] for n in range(len(row["images"]))] == [i["bytes"] for i in row["images"]]


def test_energon_loads_every_sample_through_its_own_index(shards: Path, tmp_path: Path) -> None:
    energon = pytest.importorskip("megatron.energon")
    export(str(shards), "energon", str(tmp_path / "out"))
    encoder, config = _energon_encoder(energon), energon.WorkerConfig(rank=0, world_size=1, num_workers=0)
    dataset = energon.get_train_dataset(
        str(tmp_path / "out"),
        worker_config=config,
        batch_size=1,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
        task_encoder=encoder,
        repeat=False,
    )
    found = {sample.__key__.split("/")[-1]: sample for sample in energon.get_loader(dataset)}
    assert len(found) == ROWS
    for row in source(shards):
        sample = found[row["key"]]
        assert (sample.image, sample.text) == (image_bytes(row), row["text"].encode())


def _energon_encoder(energon: Any) -> Any:
    from dataclasses import dataclass

    @dataclass(kw_only=True, slots=True)
    class Plain(energon.Sample):  # type: ignore[misc, name-defined]
        image: bytes | None
        text: bytes

    @energon.stateless
    def cook(sample: Row) -> Plain:
        return Plain(**energon.basic_sample_keys(sample), image=sample.get("jpg"), text=sample["txt"])

    class Encoder(energon.DefaultTaskEncoder):  # type: ignore[misc, name-defined]
        cookers = [energon.Cooker(cook)]  # noqa: RUF012
        decoder = None

        def batch(self, samples: list[Plain]) -> Plain:
            return samples[0]

    return Encoder()


def test_energons_index_is_what_its_own_preparation_makes(shards: Path, tmp_path: Path) -> None:
    import sqlite3

    preparing = pytest.importorskip("megatron.energon.flavors.webdataset.prepare")
    manifest = export(str(shards), "energon", str(tmp_path / "out"))
    out, again = tmp_path / "out", tmp_path / "again"
    again.mkdir()
    tars = [name for name in manifest["files"] if name.endswith(".tar")]
    for name in tars:
        (again / name).write_bytes((out / name).read_bytes())
    preparing.WebdatasetPreparator.prepare_dataset(
        again, tars, split_parts_ratio=[("train", 1.0), ("val", 0), ("test", 0)], workers=1
    )
    for name in tars:
        assert (out / f"{name}.idx").read_bytes() == (again / f"{name}.idx").read_bytes()
    info = [json.loads((folder / ".nv-meta" / ".info.json").read_text()) for folder in (out, again)]
    assert info[0]["shard_counts"] == info[1]["shard_counts"]
    tables = []
    for folder in (out, again):
        with sqlite3.connect(folder / ".nv-meta" / "index.sqlite") as database:
            tables.append(
                [sorted(database.execute(f"SELECT * FROM {t}")) for t in ("samples", "sample_parts")]
            )
    assert tables[0] == tables[1]


def test_mds_reads_every_sample_back(shards: Path, tmp_path: Path) -> None:
    streaming = _streaming()
    export(str(shards), "mds", str(tmp_path / "out"))
    dataset = streaming.LocalDataset(str(tmp_path / "out"))
    rows = source(shards)
    assert dataset.size == len(rows)
    for number, row in enumerate(rows):
        sample = dataset[number]
        assert sample["image"] == (image_bytes(row) or b"")
        assert [sample[name] for name in ("key", "task", "prompt", "target")] == [
            row[name] for name in ("key", "task", "prompt", "target")
        ]
        assert (sample["width"], sample["height"]) == (row["width"] or 0, row["height"] or 0)
        assert sample["meta"]["regions"] == row["regions"]


def test_mds_keeps_packs_as_bytes(packs: Path, tmp_path: Path) -> None:
    streaming = _streaming()
    export(str(packs), "mds", str(tmp_path / "out"))
    dataset = streaming.LocalDataset(str(tmp_path / "out"))
    for number, row in enumerate(source(packs, "pack")):
        sample = dataset[number]
        assert np.frombuffer(sample["tokens"], np.int32).tolist() == row["tokens"]
        assert np.frombuffer(sample["loss_mask"], np.bool_).tolist() == row["loss_mask"]
        assert sample["image"] == b"".join(image["bytes"] for image in row["images"])
        assert sample["meta"]["keys"] == row["keys"]


def _streaming() -> Any:
    """mosaicml-streaming's core, without its vision part, which wants a torchvision that goes with torch."""
    if "streaming" not in sys.modules:
        if (spec := importlib.util.find_spec("streaming")) is None:
            pytest.skip("needs mosaicml-streaming")
        package = types.ModuleType("streaming")
        package.__path__ = list(spec.submodule_search_locations or [])
        sys.modules["streaming"] = package
    return importlib.import_module("streaming.base.local")


def test_conversations_have_numbered_pictures_that_lie_in_the_folder(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(str(shards), "qwen-vl", str(out))
    conversations = json.loads((out / "conversations.json").read_text(encoding="utf-8"))
    rows = [row for row in source(shards) if row["task"] != "text"]
    for found, row in zip(conversations, rows, strict=True):
        (question, answer) = found["conversations"]
        assert (found["id"], question["from"], answer["from"]) == (row["key"], "user", "assistant")
        assert answer["value"] == row["target"].strip()
        path = question["value"].removeprefix("Picture 1: <img>").split("</img>\n")[0]
        assert (out / path).read_bytes() == row["image"]["bytes"]
        assert question["value"].split("</img>\n")[1] == row["prompt"].split("</img>")[1].strip()


def test_messages_load_with_datasets_as_llama_factory_loads_them(shards: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    export(str(shards), "qwen-vl", str(out))
    info = json.loads((out / "dataset_info.json").read_text())["curate"]
    loaded = datasets.load_dataset(
        "json", data_files=str(out / info["file_name"]), split="train", cache_dir=str(tmp_path / "cache")
    )
    rows = [row for row in source(shards) if row["task"] != "text"]
    for found, row in zip(loaded, rows, strict=True):
        user, assistant = found[info["columns"]["messages"]]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert user["content"].count("<image>") == len(found["images"]) == 1
        for path in found["images"]:
            with Image.open(out / path) as image:
                assert image.size == (row["width"], row["height"])


def test_chatml_is_the_dialogue_as_the_model_sees_it(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(str(shards), "qwen-vl", str(out))
    lines = [json.loads(line) for line in (out / "chatml.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [row for row in source(shards) if row["task"] != "text"]
    row, line = next((r, x) for r, x in zip(rows, lines, strict=True) if r["task"] == "caption")
    assert line["text"] == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\nPicture 1: <img>images/{row['image']['path']}</img>\n"
        "Generate the caption in English:<|im_end|>\n"
        f"<|im_start|>assistant\n{row['text']}<|im_end|>\n"
    )


def test_plain_texts_are_lines_of_text_and_no_empty_questions(shards: Path, tmp_path: Path) -> None:
    manifest = export(str(shards), "qwen-vl", str(tmp_path / "out"))
    lines = [json.loads(line) for line in (tmp_path / "out" / "text.jsonl").read_text().splitlines()]
    texts = {row["key"]: row["target"] for row in source(shards) if row["task"] == "text"}
    assert {line["id"]: line["text"] for line in lines} == texts
    assert len(texts) > 0
    assert "text.jsonl" in manifest["files"]
    assert manifest["rows_out"] == ROWS


@pytest.mark.parametrize("to", sorted({*FORMATS, *TRAINING}))
def test_raw_text_with_a_placeholder_leaves_no_trace_in_any_export(
    to: str, shards: Path, tmp_path: Path
) -> None:
    table = pq.read_table(shards / "shard-000000.parquet")
    rows = table.to_pylist()[:20]
    for row in rows:
        if row["task"] != "text":
            continue
        row["target"] = row["text"] = f"{row['text']} <image>"
    held = sum(row["task"] == "text" for row in rows)
    changed = pa.Table.from_pylist(rows, schema=table.schema)
    write_tables(
        Store(str(tmp_path / "in")), "shard-000000.parquet", [changed], table.schema, ShardSettings()
    )
    (tmp_path / "in" / "_manifest.json").write_text('{"shards": []}')
    manifest = export(str(tmp_path / "in"), to, str(tmp_path / "out"))
    assert manifest["dropped"]["text_has_placeholder"] == held > 0


@pytest.mark.parametrize("to", sorted(FORMATS))
def test_an_export_is_the_same_bytes_each_time_and_done_once(to: str, shards: Path, tmp_path: Path) -> None:
    first = export(str(shards), to, str(tmp_path / "one"))
    export(str(shards), to, str(tmp_path / "two"))
    one, two = digest(tmp_path / "one"), digest(tmp_path / "two")
    one.pop(".nv-meta/index.sqlite", None), two.pop(".nv-meta/index.sqlite", None)
    assert one == two
    assert export(str(shards), to, str(tmp_path / "one")) == first
    assert not (tmp_path / "one" / "_run").exists()


@pytest.mark.parametrize("to", ["qwen-vl", "qwen3-vl", "ms-swift"])
def test_an_image_that_several_rows_show_is_one_file(to: str, shards: Path, tmp_path: Path) -> None:
    table = pq.read_table(shards / "shard-000000.parquet")
    rows = [row for row in table.to_pylist() if row["task"] == "vqa"][:4]
    for row in rows:
        row["image"]["bytes"] = rows[0]["image"]["bytes"]
    changed = pa.Table.from_pylist(rows, schema=table.schema)
    write_tables(
        Store(str(tmp_path / "in")), "shard-000000.parquet", [changed], table.schema, ShardSettings()
    )
    (tmp_path / "in" / "_manifest.json").write_text('{"shards": []}')
    export(str(tmp_path / "in"), to, str(tmp_path / "out"))
    (image,) = [path for path in (tmp_path / "out" / "images").rglob("*") if path.is_file()]
    listed = next(
        path for path in (tmp_path / "out").glob("*.json*") if path.stem in ("messages", "conversations")
    )
    assert listed.read_text().count(str(image.relative_to(tmp_path / "out"))) == len(rows)


@pytest.mark.parametrize("to", sorted(FORMATS))
def test_names_that_lead_out_of_the_folder_are_dropped_and_counted(
    to: str, shards: Path, tmp_path: Path
) -> None:
    table = pq.read_table(shards / "shard-000000.parquet").slice(0, 3)
    rows = table.to_pylist()
    rows[0]["image"]["path"] = "../../escaped/x.jpg"
    rows[1]["key"] = "../escaped"
    hostile = pa.Table.from_pylist(rows, schema=table.schema)
    write_tables(
        Store(str(tmp_path / "in")), "shard-000000.parquet", [hostile], table.schema, ShardSettings()
    )
    (tmp_path / "in" / "_manifest.json").write_text('{"shards": []}')
    manifest = export(str(tmp_path / "in"), to, str(tmp_path / "a" / "b" / "out"))
    assert manifest["dropped"] == {"name_unsafe": 2}
    assert manifest["rows_out"] == 1
    assert not list(tmp_path.rglob("escaped*"))


def test_a_tar_member_is_where_the_energon_index_says(shards: Path, tmp_path: Path) -> None:
    export(str(shards), "energon", str(tmp_path / "out"))
    data = (tmp_path / "out" / "shard-000000.tar").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [m.offset_data for m in tar][:2] == [512, tar.getmembers()[1].offset_data]


def test_wrong_formats_inputs_and_folders_are_refused(shards: Path, packs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ManifestError, match="did you mean 'webdataset'"):
        export(str(shards), "webdatasets", str(out))
    with pytest.raises(InputError, match="there is no"):
        export(str(tmp_path / "absent"), "mds", str(out))
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match=r"no shard-\*.parquet and no pack-\*.*`curate run --out` or `curate pack"
    ):
        export(str(tmp_path / "empty"), "mds", str(out))
    with pytest.raises(InputError, match="packs hold tokens"):
        export(str(packs), "qwen-vl", str(tmp_path / "packs"))
    out.mkdir()
    (out / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        export(str(shards), "mds", str(out))
    export(str(shards), "mds", str(tmp_path / "done"))
    with pytest.raises(OutputError, match="another export"):
        export(str(shards), "webdataset", str(tmp_path / "done"))


def test_packs_are_exported_after_truncation_too(shards: Path, tmp_path: Path) -> None:
    pack([str(shards)], str(tmp_path / "packs"), PackSettings(seq_len=600, images="name"))
    manifest = export(str(tmp_path / "packs"), "webdataset", str(tmp_path / "out"))
    assert manifest["rows_out"] == manifest["rows_in"] > 0
