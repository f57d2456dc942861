"""Dialogues written in each dialect and read back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.schema import MESSAGE
from curate.tasks import dialect_names, load_dialect, parse, parse_dialogue
from curate.tasks.chat import dialogue_faults, dialogue_pieces, dialogue_strings

Turn = tuple[str, str]
TALKS: list[list[Turn]] = [
    [("user", "<image><image>Compare."), ("assistant", "Red."), ("user", "And?"), ("assistant", "Blue.")],
    [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello\n小")],
    [("user", "Why? <image>"), ("assistant", "A")],
    [("user", "No picture at all"), ("assistant", "Quite so.")],
]
# Of these dialects a text of several turns or lines has more than one reading
ONE_TURN = ("paligemma", "paligemma-448")


def column(talk: list[Turn]) -> pa.Array:
    return pa.array([[{"role": role, "content": said} for role, said in talk]], pa.list_(MESSAGE))


def written(name: str, talk: list[Turn], paths: Any = None) -> str:
    return "".join(dialogue_pieces(column(talk), load_dialect(name), paths).text.to_pylist())


def squeezed(talk: list[Turn]) -> list[Turn]:
    """Without what templates change: white space, and where in its turn an image stands."""
    return [
        (role, "<image>" * said.count("<image>") + "".join(said.replace("<image>", "").split()))
        for role, said in talk
    ]


@pytest.mark.parametrize("name", [name for name in dialect_names() if name not in ONE_TURN])
@pytest.mark.parametrize("talk", TALKS)
def test_a_dialogue_comes_back_from_every_dialect(name: str, talk: list[Turn]) -> None:
    read = parse_dialogue(written(name, talk), load_dialect(name)).messages
    if load_dialect(name).chat.system_in_user and talk[0][0] == "system":
        talk = [("user", f"{talk[0][1]}\n\n{talk[1][1]}"), *talk[2:]]
    assert squeezed(read) == squeezed(talk)
    assert written(name, read) == written(name, talk)


@pytest.mark.parametrize("name", ["qwen-vl", "qwen2-vl", "llava", "internvl3", "gemma3"])
def test_a_prompt_and_target_are_read_together(name: str) -> None:
    dialect, talk = load_dialect(name), [("user", "<image>Who?"), ("assistant", "She.")]
    paths = pa.array([["coco/1-0.jpg"]])
    prompt, target = (one[0].as_py() for one in dialogue_strings(column(talk), paths, dialect))
    read = parse("conversation", target, 0, 0, prompt, dialect)
    assert read.messages == talk
    assert read.paths == (["coco/1-0.jpg"] if name == "qwen-vl" else [None])


def test_pads_may_have_been_multiplied() -> None:
    text = written("qwen2.5-vl", TALKS[0]).replace("<|image_pad|>", "<|image_pad|>" * 7)
    assert squeezed(parse_dialogue(text, load_dialect("qwen2.5-vl")).messages) == squeezed(TALKS[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<|im_start|>assistant\nHi<|im_end|>\n", "expected"),
        ("<|im_start|>user\nHi<|im_end|>\n", "is missing"),
        ("<|im_start|>user\nHi <|box_start|><|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n", "only text"),
        ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<image>Ho<|im_end|>\n", "only text"),
        ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\ntail", "expected"),
        ("", "expected"),
    ],
)
def test_what_is_no_dialogue_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_dialogue(text, load_dialect("qwen3-vl"))


def test_images_out_of_order_are_refused() -> None:
    text = written("qwen-vl", TALKS[0], pa.array([["a/1.jpg", "a/2.jpg"]])).replace("Picture 2", "Picture 3")
    with pytest.raises(ValueError, match="image 2 of the dialogue is numbered 3"):
        parse_dialogue(text)


def test_a_text_with_two_readings_is_refused() -> None:
    with pytest.raises(ValueError, match="two ways"):
        parse_dialogue("one\ntwo\nthree<eos>", load_dialect("paligemma"))
    assert parse_dialogue("one\ntwo<eos>", load_dialect("paligemma")).messages == [
        ("user", "one"),
        ("assistant", "two"),
    ]


words = st.text(st.sampled_from("ab 小\n<>/|_:imgEndASIST"), min_size=1, max_size=30)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(words, min_size=2, max_size=6), st.sampled_from(["qwen-vl", "qwen3-vl", "llava", "internvl3"])
)
def test_whatever_has_no_fault_comes_back(texts: list[str], name: str) -> None:
    texts = texts[: len(texts) // 2 * 2]
    talk = [(("user", "assistant")[n % 2], text.strip() or "x") for n, text in enumerate(texts)]
    dialect = load_dialect(name)
    if dialogue_faults(column(talk), np.zeros(1, np.int64), dialect)[0].is_valid:
        return
    assert parse_dialogue(written(name, talk), dialect).messages == talk
