from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import api
from curate.adapters.dialogues import dialogues
from curate.manifest.load import load
from curate.sources.columns import record_batch
from curate.sources.input_index import schema
from tests.curate.packing.test_pack_dialect import picture

Rows = list[dict[str, Any]]
DATA = Path(__file__).parents[4] / "shared" / "data" / "dialogues"


def run(
    tmp_path: Path, rows: Rows, manifest: str = "llava-instruct", **settings: Any
) -> tuple[Rows, dict[str, str]]:
    """Kept rows, and the reason and detail of each dropped one by its source's row."""
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, size in (("a.jpg", (64, 48)), ("b.jpg", (48, 64)), ("thin.jpg", (900, 20))):
        (tmp_path / name).write_bytes(picture(*size))
    (tmp_path / "broken.jpg").write_bytes(picture(64, 64)[:200])
    api.run(manifest, out=tmp_path / "out", inputs=[source], settings=settings, workers=0, progress=False)
    kept = [
        row
        for path in sorted((tmp_path / "out").glob("shard-*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]
    lost = [
        row for path in (tmp_path / "out" / "_dropped").glob("*") for row in pq.read_table(path).to_pylist()
    ]
    return kept, {
        row["source"].partition("#")[2]: f"{row['reason']} {row['detail'] or ''}".strip() for row in lost
    }


def llava(*turns: str, image: Any = None) -> dict[str, Any]:
    speakers = ["human", "gpt"] * len(turns)
    talk = [{"from": who, "value": said} for who, said in zip(speakers, turns, strict=False)]
    return {"conversations": talk} | ({} if image is None else {"image": image})


def said(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in row["messages"]]


def read(row: dict[str, Any]) -> tuple[list[tuple[str, str]], str | None, str | None]:
    """Messages, reason and detail of a dialogue that is the only row of its input."""
    kinds = {name: {str: "string", int: "int64"}.get(type(value), "json") for name, value in row.items()}
    table = pa.Table.from_batches([record_batch([row], schema(kinds))])
    (made,) = dialogues(table, load("openai-messages"), "in", 0).to_pylist()
    return ([] if made["dropped"] else said(made)), made["dropped"], made["detail"]


def test_several_images_and_turns_come_through(tmp_path: Path) -> None:
    kept, lost = run(
        tmp_path, [llava("<image>\n<image>\nCompare.", "A.", "Sure?", "B.", image=["a.jpg", "b.jpg"])]
    )
    assert not lost
    (row,) = kept
    assert said(row) == [
        ("user", "<image>\n<image>\nCompare."),
        ("assistant", "A."),
        ("user", "Sure?"),
        ("assistant", "B."),
    ]
    assert [image["bytes"] for image in row["images"]] == [picture(64, 48), picture(48, 64)]
    assert [image["path"] for image in row["images"]] == [
        f"llava-instruct/{row['key']}-{n}.jpg" for n in range(2)
    ]
    assert row["target"] == "B."
    assert f"Picture 2: <img>llava-instruct/{row['key']}-1.jpg</img>\nCompare.<|im_end|>" in row["prompt"]
    assert row["image"] is None
    assert row["width"] is None


@pytest.mark.parametrize(
    "row",
    [
        {
            "messages": [{"role": "user", "content": "<image>\nQ"}, {"role": "assistant", "content": "A"}],
            "images": ["a.jpg"],
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "a.jpg"}},
                        {"type": "text", "text": "Q"},
                    ],
                },
                {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image_url",
                            "image_url": "data:image/jpeg;base64,"
                            + base64.b64encode(picture(64, 48)).decode(),
                        },
                        {"type": "text", "text": "<IMG_CONTEXT>\nQ"},
                    ],
                },
                {"role": "assistant", "content": "A"},
            ]
        },
        {
            "conversations": [
                {"from": "HUMAN", "value": "Picture 1: <img>a.jpg</img>\nQ"},
                {"from": "GPT", "value": "A"},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
            ],
            "images": ["a.jpg"],
        },
        {"texts": [{"user": "Q", "assistant": "A", "source": "x"}], "images": ["a.jpg"]},
        {"query": "Q", "response": "A", "images": ["a.jpg"]},
        {"instruction": "Q", "output": "A", "image": "a.jpg"},
    ],
)
def test_every_published_form_is_the_same_dialogue(tmp_path: Path, row: dict[str, Any]) -> None:
    kept, lost = run(tmp_path, [row])
    assert not lost
    assert said(kept[0]) == [("user", "<image>\nQ"), ("assistant", "A")]
    assert [image["bytes"] for image in kept[0]["images"]] == [picture(64, 48)]


def test_history_and_system_come_first(tmp_path: Path) -> None:
    kept, _ = run(tmp_path, [{"system": "S", "query": "C", "response": "D", "history": [["A", "B"]]}])
    assert said(kept[0]) == [
        ("system", "S"),
        ("user", "A"),
        ("assistant", "B"),
        ("user", "C"),
        ("assistant", "D"),
    ]
    assert kept[0]["images"] == []


def test_a_developers_turn_is_a_system_turn(tmp_path: Path) -> None:
    turns = [("developer", "S"), ("user", "Q"), ("assistant", "A")]
    row = {"messages": [{"role": role, "content": text} for role, text in turns], "system": "not this one"}
    kept, lost = run(tmp_path, [row], "openai-messages")
    assert (said(kept[0]), lost) == ([("system", "S"), *turns[1:]], {})


@pytest.mark.parametrize(
    ("history", "images", "first"),
    [
        ("<image>A", ["a.jpg"], "<image>A"),
        ("<image>A", ["a.jpg", "b.jpg"], "<image>\n<image>A"),
        ("A", [], "A"),
    ],
)
def test_images_that_a_question_does_not_show_go_before_the_first_one(
    tmp_path: Path, history: str, images: list[str], first: str
) -> None:
    row = {"query": "C", "response": "D", "history": [[history, "B"]], "images": images}
    kept, lost = run(tmp_path, [row])
    assert lost == {}
    assert said(kept[0]) == [("user", first), ("assistant", "B"), ("user", "C"), ("assistant", "D")]
    sizes = {"a.jpg": picture(64, 48), "b.jpg": picture(48, 64)}
    assert [one["bytes"] for one in kept[0]["images"]] == [sizes[name] for name in images]


def parts(*asked: Any, answer: str = "A") -> dict[str, Any]:
    content = [
        {"type": "image_url", "image_url": {"url": one}}
        if one.endswith(".jpg")
        else {"type": "text", "text": one}
        for one in asked
    ]
    return {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]}


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        (parts("What does <image> do in HTML?", "a.jpg"), "turn 1: <image>"),
        (parts("a.jpg", "And <image>?"), "turn 1: <image>"),
        (parts("a.jpg", "<ImageHere>"), "turn 1: <ImageHere>"),
        (parts("a.jpg", "a <video> clip"), "turn 1: <video>"),
        (parts("a.jpg", "an <audio> clip"), "turn 1: <audio>"),
        (parts("a.jpg", "<IMG_CONTEXT> and <IMG_CONTEXT>"), "turn 1: <IMG_CONTEXT>"),
        (parts("a.jpg", "<IMG_CONTEXT> and <image>"), "turn 1: <image>"),
        (parts("a.jpg", "Q", answer="the <image> tag"), "turn 2: <image>"),
        ({"texts": [{"user": "An <image>?", "assistant": "A"}], "images": ["a.jpg"]}, "turn 1: <image>"),
        ({"texts": [{"user": "Q", "assistant": "<image>"}], "images": ["a.jpg"]}, "turn 2: <image>"),
        ({"texts": [{"user": "Q", "assistant": "<bbox>"}], "images": ["a.jpg"]}, "turn 2: <bbox>"),
    ],
)
def test_where_images_are_parts_a_placeholder_in_a_text_is_raw_text(
    tmp_path: Path, row: dict[str, Any], detail: str
) -> None:
    kept, lost = run(tmp_path, [row], "openai-messages")
    assert not kept
    assert lost == {"0": f"text_has_placeholder {detail}"}


def test_an_image_that_a_text_part_names_is_no_image(tmp_path: Path) -> None:
    kept, lost = run(tmp_path, [parts("a.jpg", "<img>b.jpg</img>What?")], "openai-messages")
    assert not kept
    assert lost == {"0": "text_has_control_token turn 1: <img>"}


def placed(asked: str, answer: str, images: list[str] | None = None, **objects: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "images": images or ["a.jpg"], "objects": objects}


def test_boxes_beside_the_text_are_of_the_image_as_published(tmp_path: Path) -> None:
    real = {"ref": ["cat", "dog"], "bbox": [[10.3, 10, 20, 20.5], [64, 48, 32, -0.3]]}
    rows = [
        placed("<image>Find <ref-object>, please", "<ref-object><bbox> or <bbox>", **real),
        placed("<image>Find it", "<bbox>", bbox=[[0.5, 0.25, 1, 0.75]], bbox_type="norm1"),
        placed("<image>And <image>", "<bbox>", ["b.jpg", "a.jpg"], bbox=[[8, 8, 16, 16]], image_id=[1]),
    ]
    kept, lost = run(tmp_path, rows, "openai-messages", **{"image.max_side": 32})
    assert lost == {}
    assert said(kept[0]) == [
        ("user", "<image>Find <ref>cat</ref>, please"),
        ("assistant", "<ref>dog</ref><bbox> or <bbox>"),
    ]
    assert [one["text"] for one in kept[0]["regions"]] == ["dog", None]
    assert not api.verify(tmp_path / "out").damaged
    lines = api_export(tmp_path, "ms-swift")
    first, norm, second = (line["objects"] for line in lines)
    assert first == {
        "ref": ["cat", "dog"],
        "bbox": [[5.15, 5.0, 10.0, 10.25], [16.0, 0.0, 32.0, 24.0]],  # the shortest decimals of float32
        "bbox_type": "real",
        "image_id": [0, 0],
    }
    assert norm["bbox"] == [[16.0, 6.0, 32.0, 18.0]]
    assert (second["bbox"], second["image_id"]) == ([[4.0, 4.0, 8.0, 8.0]], [1])
    assert lines[0]["messages"][1]["content"] == "<ref-object><bbox> or <bbox>"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (placed("<image>Q", "<bbox>", bbox=[[1, 1, 9, 9, 9, 9, 1, 9]]), "box_broken box 1: [1, 1, 9"),
        (placed("<image>Q", "<bbox>", bbox=[[5, 5]]), "box_broken box 1: [5, 5] is not"),
        (placed("<image>Q", "<bbox>", bbox=[["1", 2, 3, 4]]), "box_broken box 1: "),
        (placed("<image>Q", "<bbox>", bbox=[[1, 1, 1e30, 9]]), "box_broken box 1: "),
        (placed("<image>Q", "<bbox>", bbox=[[1, 1, 1, 9]]), "box_broken box 1: [1, 1, 1, 9] has no area"),
        (placed("<image>Q", "<bbox>", bbox=[[70, 1, 90, 9]]), "box_broken box 1 lies beyond its image"),
        (placed("<image>Q", "<bbox>", bbox=[[1, 1, 90, 9]]), "box_broken box 1 lies beyond its image"),
        (
            placed("<image>Q", "<bbox>", bbox=[[1, 1, 9, 9]], bbox_type="shares"),
            "box_broken bbox_type=shares",
        ),
        (placed("<image>Q", "<bbox><bbox>", bbox=[[1, 1, 9, 9]]), "text_has_placeholder <bbox>=2 objects=1"),
        (placed("<image>Q", "A", bbox=[[1, 1, 9, 9]]), "text_has_placeholder <bbox>=0 objects=1"),
        (placed("<image><ref-object>", "A", ref=["a", "b"]), "text_has_placeholder <ref-object>=1 objects=2"),
        (placed("<image><ref-object>", "A", ref=["a <ref> b"]), "text_has_control_token turn 1: <ref>"),
        (placed("<image>Q", "<bbox>", bbox=7), "text_has_placeholder objects are not"),
        (placed("Q <bbox>", "<image>", bbox=[[1, 1, 9, 9]]), "image_count"),
        (
            placed("<image><image>", "<bbox>", ["a.jpg", "b.jpg"], bbox=[[1, 1, 9, 9]]),
            "box_broken box 1: image_id=0, but it stands at image 2",
        ),
    ],
)
def test_boxes_that_cannot_be_cost_their_dialogue_alone(
    tmp_path: Path, row: dict[str, Any], why: str
) -> None:
    kept, lost = run(tmp_path, [row, llava("Hi", "Ho")], "openai-messages")
    assert len(kept) == 1
    assert lost["0"].startswith(why)


HISTORY = "text_missing its history is no list of pairs"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"query": "Q", "response": "A", "history": 5}, HISTORY),
        ({"query": "Q", "response": "A", "history": [["a", "b", "c"]]}, HISTORY),
        ({"query": "Q", "response": "A", "history": [{"a": "b"}]}, HISTORY),
        ({"query": "Q", "response": "A", "history": ["a", "b"]}, HISTORY),
        ({"messages": {"role": "user", "content": "Q"}}, "text_missing its messages are no list of objects"),
        (
            parts("data:image/png,abc.jpg"),
            "image_missing turn 1: a data URI that is not an image in base64: 'data",
        ),
        (parts("data:text/html;base64,AAAA.jpg"), "image_missing turn 1: a data URI that is not an image in"),
        (
            parts("data:image/png;base64,@@.jpg"),
            "image_missing turn 1: a data URI that is not an image in base64",
        ),
        (parts("a" * 100_000 + ".jpg"), "image_missing turn 1: a path of 100,004 characters"),
        ({"messages": [{"role": "user", "content": [5]}]}, "part_unknown turn 1: a content part of type int"),
    ],
)
def test_a_form_that_is_none_costs_its_dialogue_alone_and_little_room(
    tmp_path: Path, row: dict[str, Any], why: str
) -> None:
    kept, lost = run(tmp_path, [row, llava("Hi", "Ho")], "openai-messages")
    assert len(kept) == 1
    assert lost["0"].startswith(why)
    assert len(lost["0"]) < 200


def talk(answer: dict[str, Any], **row: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"} | answer]
    return {"messages": turns} | row


CALL = [{"id": "1", "type": "function", "function": {"name": "w", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (talk({"weight": 0}), "turn 2: weight=0"),
        (talk({"weight": 0.5}), "turn 2: weight=0.5"),
        (talk({"loss": False}, system="S"), "turn 3: loss=False"),
        (talk({"loss_scale": 0.0}), "turn 2: loss_scale=0.0"),
        (talk({"train": False}), "turn 2: train=False"),
        (talk({"content": None, "tool_calls": CALL}), "turn 2: tool_calls"),
        (talk({"function_call": {"name": "w", "arguments": "{}"}}), "turn 2: function_call"),
        (talk({"reasoning_content": "hm"}), "turn 2: reasoning_content"),
        (talk({}, tools=CALL), "tools"),
        (talk({}, tools=json.dumps(CALL)), "tools"),
        ({"messages": json.dumps(talk({"weight": 0})["messages"])}, "turn 2: weight=0"),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A", "loss": False}]},
         "turn 2: loss=False"),
        ({"texts": [{"user": "Q", "assistant": "A"}, {"user": "R", "assistant": "B", "weight": 0}]},
         "turn 4: weight=0"),
    ],
)  # fmt: skip
def test_a_key_that_decides_what_is_learnt_drops_its_dialogue(row: dict[str, Any], why: str) -> None:
    assert read(row) == ([], "dialogue_not_supported", why)


@pytest.mark.parametrize(
    "row",
    [
        talk({"weight": 1, "loss": True, "loss_scale": 1.0}),
        talk({"weight": None, "loss": None, "tool_calls": None, "reasoning_content": None}, tools=None),
        talk({"tool_calls": [], "function_call": {"name": None}, "reasoning_content": " "}, tools="[]"),
        talk({}, tools=[], rejected_response="B", rejected_messages=[{"role": "user", "content": "Q"}]),
        {
            "messages": [
                {"role": "user", "content": "Q", "loss": False},
                {"role": "assistant", "content": "A"},
            ]
        },
    ],
)
def test_a_key_that_changes_nothing_is_no_fault(row: dict[str, Any]) -> None:
    assert read(row) == ([("user", "Q"), ("assistant", "A")], None, None)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (talk({}, system=5), "system: content of type int"),
        (talk({}, system=0), "system: content of type int"),
        (talk({}, system=["a"]), "system: content of type list"),
        (talk({"content": 5}), "turn 2: content of type int"),
        ({"query": ["q"], "response": "A"}, "question: content of type list"),
        ({"query": 5, "response": "A"}, "question: content of type int"),
        ({"instruction": "Q", "input": {"a": 1}, "output": "A"}, "input: content of type dict"),
        ({"query": "Q", "response": 5}, "turn 2: content of type int"),
    ],
)
def test_a_value_that_is_no_text_does_not_become_one(row: dict[str, Any], why: str) -> None:
    assert read(row) == ([], "turn_empty", why)


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ({"ref": [5]}, "text_has_placeholder objects: a ref of type int"),
        ({"ref": [None]}, "text_has_placeholder objects: a ref of type NoneType"),
        ({"ref": ["it"], "bbox_type": ["real"]}, "box_broken bbox_type=['real']"),
        ({"ref": ["it"], "bbox_type": {"a": 1}}, "box_broken bbox_type={'a': 1}"),
    ],
)
def test_objects_of_other_types_cost_their_dialogue_alone(objects: dict[str, Any], why: str) -> None:
    row = placed("<image>Where is <ref-object>?", "<bbox>") | {"objects": objects | {"bbox": [[1, 1, 9, 9]]}}
    messages, reason, detail = read(row)
    assert (messages, f"{reason} {detail}") == ([], why)


def test_columns_of_several_kinds_of_values_are_read_row_by_row(tmp_path: Path) -> None:
    body = "DATA:IMAGE/JPEG;BASE64," + base64.b64encode(picture(64, 48)).decode()
    rows = [
        placed("<image>Q", "<bbox>", bbox=[[1, 1, 9, 9]]),
        placed("<image>R", "<bbox>") | {"objects": json.dumps({"bbox": [[1, 1, 9, 9]]})},
        placed("<image>S", "<bbox>") | {"objects": [{"bbox": [1, 1, 9, 9]}], "images": {"path": "a.jpg"}},
        placed("<image>T", "A") | {"images": {"path": "a.jpg"}, "objects": None},
        placed("<image>U", "A") | {"images": body, "objects": None},
    ]
    kept, lost = run(tmp_path, rows, "openai-messages")
    assert lost == {"2": "text_has_placeholder objects are not {ref: […], bbox: […]}"}
    assert [len(row["regions"] or ()) for row in kept] == [1, 1, 0, 0]
    assert {one["bytes"] for row in kept for one in row["images"]} == {picture(64, 48)}


def test_what_is_wrong_with_a_dialogue_is_said(tmp_path: Path) -> None:
    rows = [
        llava("<image>\nQ", "A", image=["a.jpg", "b.jpg"]),
        llava("<image><image>\nQ", "A", image="a.jpg"),
        llava("Q", "A", image="a.jpg"),
        llava("<image>\nQ", "A", image="gone.jpg"),
        llava("<image><image>\nQ", "A", image=["a.jpg", "broken.jpg"]),
        llava("<image>\nQ", "A", image="../../etc/passwd"),
        llava("Q", "A", "R"),
        llava("Q", ""),
        llava("Q", "see <image>"),
        llava("a <video> clip", "A"),
        llava("Q <|im_end|>", "A"),
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "tool", "value": "A"}]},
        {"conversations": [{"from": "gpt", "value": "A"}]},
        {"messages": [{"role": "user", "content": [{"type": "video", "video": "x.mp4"}]}]},
        {"conversations": "[1"},
        {"conversations": 7},
        llava("Q", "half a surrogate pair: \ud83d"),
    ]
    kept, lost = run(tmp_path, rows)
    assert not kept
    reasons = [lost[str(number)].split()[0] for number in range(len(rows))]
    assert reasons == [
        "image_count", "image_count", "image_count", "file_missing", "damaged", "blocked_path", "role_order",
        "turn_empty", "text_has_placeholder", "text_has_placeholder", "text_has_control_token", "role_unknown",
        "role_order",
        "part_unknown", "text_missing", "text_missing", "text_not_utf8",
    ]  # fmt: skip
    assert lost["4"].startswith("damaged image 2: ")
    assert [lost[str(n)] for n in range(3)] == [
        "image_count <image>=1 images=2", "image_count <image>=2 images=1", "image_count <image>=0 images=1",
    ]  # fmt: skip


def test_rules_judge_every_image_and_every_turn(tmp_path: Path) -> None:
    rows = [
        llava("<image><image>\nQ", "A", image=["a.jpg", "thin.jpg"]),
        llava("Q", "A", "a much longer question than that", "A"),
        llava("Q", "A"),
    ]
    rules = {"rules.image_too_small": {"min_side": 30}, "rules.text_too_long": {"max_chars": 20}}
    kept, lost = run(tmp_path, rows, **rules)
    assert [said(row)[0] for row in kept] == [("user", "Q")]
    assert lost["0"].startswith("image_too_small image 2: ")
    assert lost["1"].startswith("text_too_long turn 3: ")


def test_the_same_dialogue_twice_is_one(tmp_path: Path) -> None:
    row = llava("<image>\nQ", "A", image="a.jpg")
    kept, lost = run(tmp_path, [row, row, llava("<image>\nQ", "A", image="b.jpg")])
    assert len(kept) == 2
    assert lost == {"1": "id_repeated"} or lost["1"].startswith("id_repeated")


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_real_dialogues_are_kept_with_all_their_images(tmp_path: Path) -> None:
    for name, count, images in (
        ("mantis_chat/train.jsonl", 25, 2),
        ("xtuner/multi_image.jsonl", 6, 2),
        ("easy_vqa/llava.json", 40, 1),
    ):
        found = api.run(
            "llava-instruct",
            out=tmp_path / name.partition("/")[0],
            inputs=[DATA / name],
            workers=0,
            progress=False,
        )
        assert (found.rows_out, found.dropped) == (count, {})
        rows = pq.read_table(
            tmp_path / name.partition("/")[0] / "shard-000000.parquet", columns=["images"]
        ).to_pylist()
        assert min(len(row["images"]) for row in rows) >= images - 1


def test_located_phrases_are_kept_and_written_anew(tmp_path: Path) -> None:
    answer = "<ref>shirt</ref><box>(588,499),(725,789)</box>"
    row = llava("Picture 1: <img>a.jpg</img>\nFrame the <ref>shirt</ref>", answer)
    unclosed = llava("Picture 1: <img>a.jpg</img>\nFrame it", "<box>(588,499),(725,789)")
    beyond = llava("Picture 1: <img>a.jpg</img>\nFrame it", "<box>(588,499),(1725,789)</box>")
    other = llava("Picture 1: <img>a.jpg</img>\nFrame the <ref>shirt</ref>", answer.replace("588", "589"))
    nowhere = llava("Frame the shirt", answer)
    kept, lost = run(
        tmp_path, [row, unclosed, beyond, other, nowhere], "qwen-vl-chat", **{"image.max_side": 32}
    )
    assert lost == {
        "1": "text_has_control_token turn 2: <box>",
        "2": "box_broken <box>(588,499),(1725,789)</box>: more than 1000 thousandths",
        "4": "box_broken turn 2: <bbox> before any image",
    }
    assert said(kept[0]) == [
        ("user", "<image>\nFrame the <ref>shirt</ref>"),
        ("assistant", "<ref>shirt</ref><bbox>"),
    ]
    assert [(one["target"], one["text"]) for one in kept] == [
        (answer, "Frame the shirt\nshirt"),
        (answer.replace("588", "589"), "Frame the shirt\nshirt"),
    ]
    (region,) = kept[0]["regions"]  # in pixels of the image as it is stored
    assert region["text"] == "shirt"
    assert region["quad"][:2] == pytest.approx([0.58825 * 32, 0.49925 * 24])
    assert not api.verify(tmp_path / "out").damaged
    lines = api_export(tmp_path, "ms-swift")
    assert lines[0]["messages"][1]["content"] == "<ref-object><bbox>"
    assert lines[0]["objects"]["ref"] == ["shirt", "shirt"]
    assert lines[0]["objects"]["image_id"] == [0]
    assert lines[0]["objects"]["bbox"][0][:2] == pytest.approx([0.58825 * 32, 0.49925 * 24])
    assert api_export(tmp_path, "llama-factory")[0]["messages"][1]["content"] == (
        '[{"bbox_2d": [588, 499, 725, 789], "label": "shirt"}]'
    )
    assert api_export(tmp_path, "qwen-vl")[0]["messages"][1]["content"] == answer
    for dialect in ("qwen-vl", "qwen2.5-vl"):
        packed = api.pack([tmp_path / "out"], out=tmp_path / f"packs-{dialect}", dialect=dialect)
        assert packed.rows_out == 2


def api_export(tmp_path: Path, to: str) -> Rows:
    api.export(tmp_path / "out", to=to, out=tmp_path / to)
    return [json.loads(line) for line in (tmp_path / to / "messages.jsonl").read_text().splitlines()]


def test_an_instruction_has_its_input_and_an_image_path_its_image(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Translate.", "input": "Hallo", "output": "Hello"},
        {"image_path": "./a.jpg", "question": "What?", "answer": "A square"},
        {"image_path": "gone.jpg", "question": "What?", "answer": "Nothing"},
    ]
    kept, lost = run(tmp_path, rows)
    assert [said(row)[0] for row in kept] == [("user", "Translate.\nHallo"), ("user", "<image>\nWhat?")]
    assert [len(row["images"] or ()) for row in kept] == [0, 1]
    assert lost == {"2": "file_missing image 1: gone.jpg"}


@pytest.mark.parametrize("image", ["", " ", None, []])
def test_an_image_that_is_not_named_is_none(tmp_path: Path, image: Any) -> None:
    kept, lost = run(tmp_path, [llava("Q", "A") | {"image": image}])
    assert (len(kept), lost) == (1, {})
