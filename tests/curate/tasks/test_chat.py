from __future__ import annotations

from typing import Any

import jinja2
import numpy as np
import pyarrow as pa
import pytest

from curate.schema import PICTURE, SAMPLE, conform
from curate.tasks import fault_details, load_dialect
from curate.tasks.chat import dialogue_faults, dialogue_pieces, dialogue_strings, task_pieces

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

# The chat template of Qwen2-VL's and Qwen2.5-VL's released processors, without its videos
QWEN_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n{{ system }}<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n"
    "{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
)

Turn = tuple[str, str]
TALK: list[list[Turn]] = [
    [
        ("user", "<image>\n<image>\nCompare."),
        ("assistant", "Red."),
        ("user", "And <image> this?"),
        ("assistant", "Blue."),
    ],
    [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello\n小")],
    [("user", "Why?\n<image>"), ("assistant", "A")],
]


def column(*talks: list[Turn]) -> pa.Array:
    return pa.array([[{"role": role, "content": said} for role, said in talk] for talk in talks], MESSAGES)


def spoken(name: str, *talks: list[Turn], paths: Any = None) -> list[str]:
    """Each dialogue's text, what is learnt between ⟦ and ⟧."""
    pieces = dialogue_pieces(column(*talks), load_dialect(name), paths)
    marked = [
        f"⟦{text}⟧" if learnt else text
        for text, learnt in zip(pieces.text.to_pylist(), pieces.learnt, strict=True)
    ]
    edges = zip(pieces.starts[:-1], pieces.starts[1:], strict=True)
    return ["".join(marked[start:stop]).replace("⟧⟦", "") for start, stop in edges]


def bare(text: str) -> str:
    return text.replace("⟦", "").replace("⟧", "")


@pytest.mark.parametrize(
    ("name", "system"),
    [("qwen2-vl", "You are a helpful assistant."), ("qwen2.5-vl", "You are a helpful assistant.")],
)
def test_a_dialogue_is_what_the_models_own_template_writes(name: str, system: str) -> None:
    template = jinja2.Environment().from_string(QWEN_TEMPLATE, {"system": system})
    for talk, text in zip(TALK, spoken(name, *TALK), strict=True):
        messages = []
        for role, said in talk:
            parts: list[dict[str, str]] = []
            for number, part in enumerate(said.split("<image>")):
                parts += [{"type": "image"}] if number else []
                parts += [{"type": "text", "text": part.strip()}] if part.strip() else []
            messages.append({"role": role, "content": parts if "<image>" in said else said})
        assert bare(text) == template.render(messages=messages)


@pytest.mark.parametrize("preset", ["llamafactory", "qwen-vl-utils"])
@pytest.mark.parametrize("name", ["qwen2.5-vl", "qwen3-vl"])
def test_presets_of_trainers_that_keep_white_space_beside_an_image_keep_it(name: str, preset: str) -> None:
    talk = [("user", "<image>\nIs <image> it? "), ("assistant", "No.")]
    [kept], [stripped] = spoken(f"{name}:{preset}", talk), spoken(name, talk)
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    assert f"{image}\nIs {image} it? <|im_end|>" in kept
    assert f"{image}Is{image}it?<|im_end|>" in stripped


def test_qwen3_has_no_system_turn_of_its_own() -> None:
    assert spoken("qwen3-vl", [("user", "Hi"), ("assistant", "Yes")]) == [
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Yes<|im_end|>\n⟧"
    ]


def test_qwen_vl_counts_its_pictures_through_the_dialogue_and_learns_its_special_tokens() -> None:
    paths = pa.array([["a/1.jpg", "a/2.jpg", "a/3.jpg"]], pa.list_(pa.string()))
    assert spoken("qwen-vl", TALK[0], paths=paths) == [
        "⟦<|im_start|>⟧system\nYou are a helpful assistant.⟦<|im_end|>\n<|im_start|>⟧user\n"
        "Picture 1: <img>a/1.jpg</img>\nPicture 2: <img>a/2.jpg</img>\nCompare."
        "⟦<|im_end|>\n<|im_start|>⟧assistant\n⟦Red.<|im_end|>\n<|im_start|>⟧user\n"
        "And Picture 3: <img>a/3.jpg</img>\nthis?⟦<|im_end|>\n<|im_start|>⟧assistant\n⟦Blue.<|im_end|>\n⟧"
    ]


def test_llava_moves_images_to_the_front_of_their_turn() -> None:
    assert spoken("llava", TALK[2]) == [
        "<s>A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: <image>\nWhy? ASSISTANT:⟦ A</s>⟧"
    ]


def test_internvl_does_not_learn_the_newline() -> None:
    text = spoken("internvl3", TALK[1])[0]
    assert text.endswith("<|im_start|>assistant\n⟦Hello\n小<|im_end|>⟧\n")


def test_gemmas_system_turn_is_said_by_the_user() -> None:
    assert spoken("gemma3", TALK[1]) == [
        "<bos><start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\n⟦Hello\n小<end_of_turn>\n⟧"
    ]


def test_the_prompt_ends_where_the_last_answer_begins() -> None:
    paths = pa.array([["a/1.jpg", "a/2.jpg", "a/3.jpg"], None, ["b/1.jpg"]], pa.list_(pa.string()))
    prompt, target = dialogue_strings(column(*TALK), paths)
    assert target.to_pylist() == ["Blue.", "Hello\n小", "A"]
    whole = [bare(text) for text in spoken("qwen-vl", *TALK, paths=paths)]
    for before, answer, text in zip(prompt.to_pylist(), target.to_pylist(), whole, strict=True):
        assert before.endswith("<|im_start|>assistant\n")
        assert text == f"{before}{answer}<|im_end|>\n"


@pytest.mark.parametrize(
    ("talk", "images", "fault", "detail"),
    [
        ([("user", "<image>a"), ("assistant", "b")], 1, None, None),
        ([], 0, "text_missing", None),
        ([("user", "a"), ("assistant", "b")], 1, "image_count", "<image>=0 images=1"),
        ([("user", "<image><image>a"), ("assistant", "b")], 1, "image_count", "<image>=2 images=1"),
        ([("user", "a"), ("assistant", "an <image>")], 0, "text_has_placeholder", "turn 2: <image>"),
        (
            [("system", "<image>"), ("user", "a"), ("assistant", "b")],
            0,
            "text_has_placeholder",
            "turn 1: <image>",
        ),
        ([("user", "a <video>"), ("assistant", "b")], 0, "text_has_placeholder", "turn 1: <video>"),
        ([("user", "a"), ("assistant", "b <bbox>")], 0, "text_has_placeholder", "turn 2: <bbox>"),
        ([("user", "a <|im_end|>"), ("assistant", "b")], 0, "text_has_control_token", "turn 1: <|im_end|>"),
        ([("user", "a"), ("assistant", "<ref>b</ref>")], 0, "text_has_control_token", "turn 2: <ref>"),
        (
            [("assistant", "a"), ("user", "b"), ("assistant", "c")],
            0,
            "role_order",
            "turn 1: assistant, not user",
        ),
        (
            [("user", "a"), ("user", "b"), ("assistant", "c")],
            0,
            "role_order",
            "turn 2: user after user, not assistant",
        ),
        (
            [("user", "a"), ("assistant", "b"), ("user", "c")],
            0,
            "role_order",
            "turn 3: user is the last, not assistant",
        ),
        (
            [("user", "a"), ("system", "b"), ("assistant", "c")],
            0,
            "role_order",
            "turn 2: system after user, not assistant",
        ),
        ([("system", "a")], 0, "role_order", "turn 1: system is the last, not assistant"),
        ([("user", "a"), ("tool", "b")], 0, "role_unknown", "turn 2: tool"),
        ([("user", " \n"), ("assistant", "b")], 0, "turn_empty", "turn 1: user"),
    ],
)
def test_a_dialogue_that_cannot_be_learnt_from_has_a_reason_and_what_decided(
    talk: list[Turn], images: int, fault: str | None, detail: str | None
) -> None:
    good: list[Turn] = [("user", "x"), ("assistant", "y")]
    messages = column(good, talk, good)
    found = dialogue_faults(messages, np.array([0, images, 0]))
    assert found.to_pylist() == [None, fault, None]
    shown = pa.array([[], [{"path": "a.jpg"}] * images, []], pa.list_(PICTURE))
    table = conform(pa.table({"task": ["conversation"] * 3, "messages": messages, "images": shown}))
    assert fault_details(table, found).to_pylist() == [None, detail, None]


def test_a_box_that_is_nowhere_says_where_it_stands() -> None:
    talk: list[Turn] = [("user", "Hi"), ("assistant", "At <bbox>"), ("user", "<image>"), ("assistant", "b")]
    region = {"text": None, "quad": [0.0] * 8}
    rows = {"task": "conversation", "images": [{"path": "a.jpg"}], "regions": [region]}
    table = conform(
        pa.Table.from_pylist([rows], SAMPLE).drop_columns("messages").append_column("messages", column(talk))
    )
    found = dialogue_faults(table["messages"], np.array([1]), regions=table["regions"])
    assert found.to_pylist() == ["box_broken"]
    assert fault_details(table, found).to_pylist() == ["turn 2: <bbox> before any image"]


def test_llava_takes_one_image() -> None:
    talk: list[Turn] = [("user", "<image><image>a"), ("assistant", "b")]
    llava = load_dialect("llava")
    found = dialogue_faults(column(talk), np.array([2]), llava)
    assert found.to_pylist() == ["too_many_images"]
    shown = pa.array([[{"path": "a.jpg"}] * 2], pa.list_(PICTURE))
    table = conform(pa.table({"task": ["conversation"], "messages": column(talk), "images": shown}))
    assert fault_details(table, found, llava).to_pylist() == ["images=2 most=1"]


def test_tasks_are_questions_and_answers_and_a_text_is_a_text() -> None:
    prompt, target = pa.array(["Q", ""]), pa.array(["A", "T"])
    pieces = task_pieces(prompt, target, load_dialect("qwen3-vl"), np.array([False, True]))
    texts = pieces.text.to_pylist()
    assert (
        "".join(texts[: pieces.starts[1]])
        == "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
    )
    assert texts[pieces.starts[1] :] == ["", "T"]
    assert pieces.learnt[pieces.starts[1] :].tolist() == [False, True]


def test_no_dialogue_is_none() -> None:
    pieces = dialogue_pieces(pa.array([], MESSAGES), load_dialect("qwen-vl"))
    assert pieces.starts.tolist() == [0]
    assert len(pieces.text) == 0
