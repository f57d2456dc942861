"""Dialogues in the exports that hand rows over as they are, and Energon's typed samples."""

from __future__ import annotations

import importlib.util
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate.exporting import export
from tests.curate.made_shards import make_shards
from tests.curate.runs import shards
from tests.curate.tasks_runs import curated, write_json, write_picture


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dialogue of two images, and one of text alone."""
    folder = tmp_path_factory.mktemp("talks")
    for number, name in enumerate("ab"):
        write_picture(folder / f"{name}.jpg", 64 + number, 48)
    rows = [
        {"image": ["a.jpg", "b.jpg"], "conversations": turns("<image> or <image>?", "The first.")},
        {"conversations": turns("Why?", "So.")},
    ]
    curated("llava-instruct", folder / "out", [write_json(folder / "talks.json", rows)])
    return folder / "out"


def turns(asked: str, said: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": asked}, {"from": "gpt", "value": said}]


def samples(out: Path) -> Any:
    """The module that lies in an export."""
    path = out / ".nv-meta" / "energon_samples.py"
    spec = importlib.util.spec_from_file_location("energon_samples_of_export", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def raw(tar: Path) -> list[dict[str, Any]]:
    """The samples of a tar, their JSON decoded."""
    found: dict[str, dict[str, Any]] = {}
    with tarfile.open(tar) as opened:
        for member in opened:
            key, part = member.name.split(".", 1)
            body = opened.extractfile(member)
            assert body is not None
            content = body.read()
            found.setdefault(key, {})[part] = json.loads(content) if part == "json" else content
    return list(found.values())


@pytest.mark.parametrize("to", ["webdataset", "energon"])
def test_a_dialogues_images_are_files_of_its_sample(talks: Path, tmp_path: Path, to: str) -> None:
    export(str(talks), to, str(tmp_path / "out"))
    first, second = raw(tmp_path / "out" / "shard-000000.tar")
    row = shards(talks).to_pylist()[0]
    assert [first["0.jpg"], first["1.jpg"]] == [one["bytes"] for one in row["images"]]
    assert first["json"]["messages"] == row["messages"]
    assert first["json"]["images"] == [{"path": one["path"]} for one in row["images"]]
    assert second["json"]["images"] == []
    assert set(second) == {"txt", "json"}


def test_mds_lays_a_dialogues_images_end_to_end(talks: Path, tmp_path: Path) -> None:
    export(str(talks), "mds", str(tmp_path / "out"))
    body = (tmp_path / "out" / "shard.00000.mds").read_bytes()
    row = shards(talks).to_pylist()[0]
    assert b"".join(one["bytes"] for one in row["images"]) in body
    sizes = [{"bytes": len(one["bytes"]), "path": one["path"]} for one in row["images"]]
    assert json.dumps(sizes, separators=(",", ":")).encode() in body


def test_a_dialogue_is_an_interleaved_sample(talks: Path, tmp_path: Path) -> None:
    export(str(talks), "energon", str(tmp_path / "out"))
    module, (first, second) = samples(tmp_path / "out"), raw(tmp_path / "out" / "shard-000000.tar")
    assert module.type_name("conversation") == "InterleavedSample"
    assert module.sample_loader(first)["sequence"] == [
        "<|im_start|>user\n",
        first["0.jpg"],
        " or ",
        first["1.jpg"],
        "?<|im_end|>\n<|im_start|>assistant\nThe first.<|im_end|>\n",
    ]
    assert module.sample_loader(second)["sequence"] == [
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nSo.<|im_end|>\n"
    ]


def test_each_task_has_a_type_of_energons(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    made = make_shards(tmp_path / "shards", rows=40, shards=1)
    export(str(made), "energon", str(tmp_path / "out"))
    module, rows = samples(tmp_path / "out"), shards(made).to_pylist()
    assert not (tmp_path / "out" / ".nv-meta" / "typed.yaml").exists()
    fields = {
        row["task"]: (row, module.sample_loader(one))
        for row, one in zip(rows, raw(tmp_path / "out" / "shard-000000.tar"), strict=True)
    }
    row, vqa = fields["vqa"]
    assert vqa == {
        "image": row["image"]["bytes"],
        "context": "What is this?",
        "answers": [row["target"].strip()],
    }
    assert fields["caption"][1]["caption"] == fields["caption"][0]["text"]
    assert fields["text"][1] == {"text": fields["text"][0]["text"]}
    row, referring = fields["referring"]
    assert referring["context"].startswith("<ref>")
    row, page = fields["ocr"]
    quad = np.array(row["regions"][0]["quad"]).reshape(4, 2)
    box = [*quad.min(0), *np.ptp(quad, axis=0)]
    np.testing.assert_allclose(page["lines_boxes"][0].tolist(), box, rtol=1e-5)
    assert page["lines_text"] == [one["text"] for one in row["regions"]]


@pytest.mark.parametrize(
    ("task", "kind", "field"), [("caption", "CaptioningSample", "caption"), ("vqa", "VQASample", "answers")]
)
def test_energon_loads_typed_and_cooked_samples(tmp_path: Path, task: str, kind: str, field: str) -> None:
    energon = pytest.importorskip("megatron.energon")
    made = make_shards(tmp_path / "shards", rows=20, shards=1, tasks=(task,))
    export(str(made), "energon", str(tmp_path / "out"))
    (tmp_path / "meta.yaml").write_text(
        "__module__: megatron.energon\n__class__: MetadatasetV2\nsplits:\n  train:\n    path: out\n"
        "    dataset_config: typed.yaml\n"
    )
    cookers = [samples(tmp_path / "out").cooker()]
    for path, encoder in (
        (
            tmp_path / "meta.yaml",
            type("Typed", (energon.DefaultTaskEncoder,), {"batch": lambda _, some: some[0]}),
        ),
        (
            tmp_path / "out",
            type(
                "Cooked",
                (energon.DefaultTaskEncoder,),
                {"cookers": cookers, "batch": lambda _, some: some[0]},
            ),
        ),
    ):
        config = energon.WorkerConfig(rank=0, world_size=1, num_workers=0)
        data = energon.get_train_dataset(
            str(path), worker_config=config, batch_size=1, shuffle_buffer_size=None,
            max_samples_per_sequence=None, task_encoder=encoder(), repeat=False,
        )  # fmt: skip
        found = list(energon.get_loader(data))
        assert len(found) == 20
        assert {type(one).__name__ for one in found} == {kind}
        assert all(getattr(one, field) for one in found)
        assert found[0].image.shape[0] == 3


def test_images_of_a_dialogue_open(talks: Path, tmp_path: Path) -> None:
    export(str(talks), "qwen-vl", str(tmp_path / "out"))
    (row, _) = json.loads((tmp_path / "out" / "conversations.json").read_text())
    assert row["conversations"][0]["value"].count("Picture ") == 2
    for path in (tmp_path / "out" / "images").rglob("*.jpg"):
        Image.open(path).verify()
