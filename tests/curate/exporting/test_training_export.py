from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import api
from curate.errors import InputError, ManifestError
from curate.schema import SHARD, shard_metadata
from curate.tasks import load_dialect, parse
from tests.curate.packing.test_pack_dialect import picture, write_shards

QUAD = [146, 137, 615, 137, 615, 415, 146, 415]
ROWS: list[dict[str, Any]] = [
    {"task": "caption", "text": "a cat"},
    {"task": "vqa", "text": "Is it? No.", "question": "Is it?", "answer": "No."},
    {"task": "referring", "text": "it", "regions": [{"text": "it", "quad": QUAD}]},
    {
        "task": "vqa",
        "text": "What does <image> do? It shows.",
        "question": "What does <image> do?",
        "answer": "It shows.",
    },
    {"task": "text", "text": "one two", "image": None},
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    body = picture(640, 428)
    rows = []
    for number, row in enumerate(ROWS):
        made = {"key": f"{number:032x}", "dataset": "d", "language": "en", "source": f"d#{number}"}
        made |= {} if "image" in row else {"image": body, "format": "jpeg", "width": 640, "height": 428}
        rows.append(made | row)
    return write_shards(tmp_path_factory.mktemp("training"), rows)


def read(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]  # type: ignore[no-any-return]


@pytest.mark.parametrize("to", ["qwen3-vl", "llava", "ms-swift", "llama-factory"])
def test_each_trainer_finds_an_image_for_every_placeholder(shards: Path, tmp_path: Path, to: str) -> None:
    made = api.export(shards, to, tmp_path / "out").raw
    assert (made["rows_out"], made["dropped"]) == (4, {"text_has_placeholder": 1})
    listed = to in ("qwen3-vl", "llava")
    rows = read(tmp_path / "out" / ("conversations.json" if listed else "messages.jsonl"))
    assert len(rows) == 3
    for row in rows:
        images = [row["image"]] if listed else row["images"]
        turns = (
            [turn["value"] for turn in row["conversations"]]
            if listed
            else [turn["content"] for turn in row["messages"]]
        )
        assert "".join(turns).count("<image>") == len(images) == 1
        assert (tmp_path / "out" / images[0]).read_bytes() == picture(640, 428)
    assert len(list((tmp_path / "out" / "images").rglob("*.jpg"))) == 1  # three rows show it
    assert [row["text"] for row in read(tmp_path / "out" / "text.jsonl")] == ["one two"]
    assert (tmp_path / "out" / "dataset_info.json").exists() == (to == "llama-factory")


@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl", "qwen3-vl", "internvl3", "llava"])
def test_boxes_are_read_back_from_an_export(shards: Path, tmp_path: Path, name: str) -> None:
    made = api.export(shards, "llama-factory", tmp_path / "out", dialect=name).raw
    assert made["dialect"]["name"] == name
    assert made["dialect"]["boxes_fit_one_setting"] == (name == "qwen2.5-vl")
    (row,) = [row for row in read(tmp_path / "out" / "messages.jsonl") if row["id"].endswith("2")]
    found = (
        parse("referring", row["messages"][1]["content"], 640, 428, dialect=load_dialect(name))
        .regions[0]
        .quad
    )
    assert max(abs(a - b) for a, b in zip(found, QUAD, strict=True)) <= 3.2 + 1e-6


def test_ms_swift_gets_real_boxes_for_its_placeholders(shards: Path, tmp_path: Path) -> None:
    api.export(shards, "ms-swift", tmp_path / "out")
    (row,) = [row for row in read(tmp_path / "out" / "messages.jsonl") if "objects" in row]
    assert row["objects"] == {"ref": ["it"], "bbox": [[146.0, 137.0, 615.0, 415.0]], "bbox_type": "real"}
    said = "".join(turn["content"] for turn in row["messages"])
    assert (said.count("<ref-object>"), said.count("<bbox>")) == (1, 1)


def test_ms_swift_gets_no_box_beyond_the_picture(tmp_path: Path) -> None:
    far = [-3.5, 20, 700, 20, 700, 600, -3.5, 600]
    row = {
        "key": f"{1:032x}",
        "dataset": "d",
        "language": "en",
        "source": "d#1",
        "task": "referring",
        "text": "it",
    }
    row |= {"image": picture(640, 428), "format": "jpeg", "width": 640, "height": 428}
    shards = write_shards(tmp_path / "shards", [row | {"regions": [{"text": "it", "quad": far}]}])
    api.export(shards, "ms-swift", tmp_path / "out")
    (made,) = read(tmp_path / "out" / "messages.jsonl")
    assert made["objects"]["bbox"] == [[0, 20, 640, 428]]


def test_a_trainer_without_a_system_role_gets_its_text_in_the_first_question(tmp_path: Path) -> None:
    roles = ("system", "user", "assistant")
    talk = [
        {"role": role, "content": said} for role, said in zip(roles, ("Be brief.", "Hi", "Ho"), strict=True)
    ]
    row = {"key": "1" * 32, "dataset": "d", "task": "conversation", "source": "d", "messages": talk}
    (tmp_path / "in").mkdir()
    schema = SHARD.with_metadata(shard_metadata("elsewhere"))
    pq.write_table(pa.Table.from_pylist([row], schema), tmp_path / "in" / "shard-000000.parquet")
    for to, speaker in (("qwen-vl", "user"), ("qwen3-vl", "human"), ("llava", "human")):
        api.export(tmp_path / "in", to, tmp_path / to, workers=0)
        (made,) = read(tmp_path / to / "conversations.json")
        assert made["conversations"][0] == {"from": speaker, "value": "Be brief.\nHi"}
    assert read(tmp_path / "qwen-vl" / "messages.jsonl")[0]["messages"] == talk


def test_ms_swift_is_told_the_image_of_each_box_of_a_dialogue(tmp_path: Path) -> None:
    talk = [
        {"role": "user", "content": "<bbox> in <image>, <bbox>; <image> Compare <bbox>"},
        {"role": "assistant", "content": "<ref>it</ref><bbox>"},
    ]
    quads = [
        [-3, 1, 9, 1, 9, 9, -3, 9],
        [50, 1, 90, 1, 90, 9, 50, 9],
        *[[1, 60, 300, 60, 300, 80, 1, 80]] * 2,
    ]
    shown = [{"bytes": picture(*size), "path": f"d/{size[0]}.jpg"} for size in ((64, 48), (200, 70))]
    row = {"key": "1" * 32, "dataset": "d", "task": "conversation", "source": "d", "target": "b"}
    row |= {"messages": talk, "images": shown, "regions": [{"quad": one, "text": None} for one in quads]}
    (tmp_path / "in").mkdir()
    schema = SHARD.with_metadata(shard_metadata("elsewhere"))
    pq.write_table(pa.Table.from_pylist([row], schema), tmp_path / "in" / "shard-000000.parquet")
    assert api.export(tmp_path / "in", "ms-swift", tmp_path / "out", workers=0).dropped == {}
    (made,) = read(tmp_path / "out" / "messages.jsonl")
    assert made["objects"] == {
        "ref": ["it"],
        "bbox": [[0, 1, 9, 9], [50, 1, 64, 9], [1, 60, 200, 70], [1, 60, 200, 70]],
        "bbox_type": "real",
        "image_id": [0, 0, 1, 1],
    }


def test_an_image_tag_in_raw_text_is_dropped_for_qwen_vl_too(shards: Path, tmp_path: Path) -> None:
    made = api.export(shards, "qwen-vl", tmp_path / "out").raw
    assert made["dropped"] == {"text_has_placeholder": 1}


def test_a_format_without_a_dialect_says_so(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="has no dialect"):
        api.export(shards, "mds", tmp_path / "out", dialect="qwen3-vl")


def test_dialogues_are_exported_turn_by_turn(tmp_path: Path) -> None:
    api.run("qwen-vl-chat", out=tmp_path / "run", workers=0, progress=False)
    for to in ("qwen3-vl", "ms-swift", "llama-factory", "qwen-vl"):
        made = api.export(tmp_path / "run", to, tmp_path / to).raw
        assert (made["rows_out"], made["dropped"]) == (3, {})
        rows = read(
            tmp_path / to / ("conversations.json" if to in ("qwen3-vl", "qwen-vl") else "messages.jsonl")
        )
        (row,) = [row for row in rows if len(row.get("conversations", row.get("messages"))) == 4]
        said = [
            turn.get("value", turn.get("content")) for turn in row.get("conversations", row.get("messages"))
        ]
        shown = "<img>" if to == "qwen-vl" else "<image>"
        assert said[0].count(shown) == 2
        assert said[1:] == ["The first.", "And which is larger?", "The second."]
    dropped = api.export(tmp_path / "run", "llava", tmp_path / "llava").raw["dropped"]
    assert dropped == {"too_many_images": 1}


@pytest.mark.parametrize(
    ("to", "dropped"),
    [("qwen3-vl", True), ("llama-factory", True), ("ms-swift", True), ("llava", False)],
)
def test_an_image_that_the_model_refuses_is_dropped_as_in_packs(
    tmp_path: Path, to: str, dropped: bool
) -> None:
    for name, size in (("a.jpg", (64, 48)), ("thin.jpg", (2000, 8))):
        (tmp_path / name).write_bytes(picture(*size))
    talks = [
        {
            "image": name,
            "conversations": [{"from": "human", "value": "<image>Q"}, {"from": "gpt", "value": name}],
        }
        for name in ("a.jpg", "thin.jpg")
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    api.run("llava-instruct", out=tmp_path / "run", inputs=[tmp_path / "in.jsonl"], workers=0, progress=False)
    made = api.export(tmp_path / "run", to, tmp_path / "out").raw
    packed = api.pack([tmp_path / "run"], tmp_path / "packs", dialect="qwen3-vl", workers=0).raw
    assert packed["dropped"] == {"image_too_elongated": 1}
    assert made["dropped"] == (packed["dropped"] if dropped else {})
    (fell,) = pq.read_table(tmp_path / "packs" / "_dropped").to_pylist()
    assert fell["detail"] == "width=2000 height=8 ratio=250 max_ratio=200"


def test_packs_have_no_conversations_any_more(tmp_path: Path, shards: Path) -> None:
    api.pack(shards, tmp_path / "packs")
    with pytest.raises(InputError, match="packs hold tokens"):
        api.export(tmp_path / "packs", "qwen3-vl", tmp_path / "out")


@pytest.mark.parametrize("to", ["qwen3-vl", "llama-factory", "ms-swift", "qwen-vl"])
def test_what_is_asked_of_an_image_becomes_a_dialogue(shards: Path, tmp_path: Path, to: str) -> None:
    made = api.export(shards, to, tmp_path / "out", group="image").raw
    assert (made["group"], made["rows_out"]) == ("image", 4)
    listed = to in ("qwen3-vl", "qwen-vl")
    rows = read(tmp_path / "out" / ("conversations.json" if listed else "messages.jsonl"))
    said = [[turn[key] for turn in row[name]] for row in rows for name, key in [_form(row)]]
    caption, talk = said if len(said[0]) == 2 else said[::-1]
    assert len(caption) == 2  # a caption stands alone
    assert len(talk) == 4
    mark = "Picture 1: <img>" if to == "qwen-vl" else "<image>"
    assert [turn.count(mark) for turn in talk] == [1, 0, 0, 0]
    assert talk[1].strip() == "No."
    if to == "ms-swift":
        (objects,) = [row["objects"] for row in rows if "objects" in row]
        assert objects == {"ref": ["it"], "bbox": [[146, 137, 615, 415]], "bbox_type": "real"}


def _form(row: dict[str, Any]) -> tuple[str, str]:
    return ("conversations", "value") if "conversations" in row else ("messages", "content")


def test_a_dialogue_has_no_more_turns_than_asked_for(shards: Path, tmp_path: Path) -> None:
    made = api.export(shards, "qwen3-vl", tmp_path / "one", group="image", turns=1).raw
    assert len(read(tmp_path / "one" / "conversations.json")) == 3
    assert made["turns"] == 1
    for wrong in ({"group": "size"}, {"group": "image", "turns": 0}):
        with pytest.raises(ManifestError):
            api.export(shards, "qwen3-vl", tmp_path / "two", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ManifestError, match="hands rows over as they are"):
        api.export(shards, "mds", tmp_path / "two", group="image")
