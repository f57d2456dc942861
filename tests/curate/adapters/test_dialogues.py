from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curate import api
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
        "part_unknown", "text_missing", "text_missing", "text_missing",
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
