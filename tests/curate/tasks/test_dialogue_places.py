"""Boxes within dialogues: written in each dialect, and read back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.schema import MESSAGE, REGION
from curate.tasks import dialect_names, load_dialect, parse, parse_dialogue
from curate.tasks.chat import dialogue_faults, dialogue_pieces, dialogue_strings
from curate.tasks.dialogue_places import DialogueBoxes, shown_in
from curate.tasks.fault_details import fault_details
from curate.tasks.turns import turns_of

Turn = tuple[str, str]
SIDES = [(640, 428), (333, 500)]
TALK: list[Turn] = [
    ("user", "<image>\nFrame the <ref>shirt</ref>"),
    ("assistant", "<ref>shirt</ref><bbox><bbox>"),
    ("user", '<image>\nWhat is <bbox>, and <ref>that "x"</ref><bbox>\n<ref>z</ref><bbox>?'),
    ("assistant", "A <ref>line</ref><bbox> of text"),
]
BOXES = [
    ("shirt", (146, 137, 615, 415)),
    ("shirt", (0, 0, 640, 428)),
    (None, (30, 40, 100, 200)),
    ('that "x"', (33, 50, 66, 100)),
    ("z", (3, 5, 30, 90)),
    ("line", (10, 20, 300, 40)),
]
WITH_BOXES = [name for name in dialect_names() if load_dialect(name).places.box]
# PaliGemma's text has no marks between question and answer, so several turns have more than one reading
READABLE = [name for name in WITH_BOXES if not name.startswith("paligemma")]


def column(*talks: list[Turn]) -> pa.Array:
    return pa.array(
        [[{"role": role, "content": said} for role, said in talk] for talk in talks], pa.list_(MESSAGE)
    )


def quad(box: tuple[float, ...]) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def regions(*several: list[tuple[str | None, tuple[float, ...]]]) -> pa.Array:
    rows = [[{"text": text, "quad": quad(box)} for text, box in boxes] or None for boxes in several]
    return pa.array(rows, pa.list_(REGION))


def located(found: pa.Array, *images: list[tuple[int, int]]) -> DialogueBoxes:
    flat = np.array([size for sizes in images for size in sizes], np.int64).reshape(-1, 2)
    starts = np.concatenate([[0], np.cumsum([len(sizes) for sizes in images])])
    return DialogueBoxes(found, starts, flat[:, 0], flat[:, 1])


def written(name: str, talk: list[Turn] = TALK, boxes: Any = BOXES, sides: Any = SIDES) -> str:
    pieces = dialogue_pieces(column(talk), load_dialect(name), boxes=located(regions(boxes), sides))
    return "".join(pieces.text.to_pylist())


@pytest.mark.parametrize(
    ("name", "answer", "asked"),
    [
        (
            "qwen-vl",
            "<ref>shirt</ref><box>(228,320),(960,969)</box><box>(0,0),(999,999)</box>",
            'What is <box>(90,80),(300,400)</box>, and <ref>that "x"</ref><box>(99,100),(198,200)</box>\n<ref>z</ref>',
        ),
        (
            "qwen2-vl",
            "<|object_ref_start|>shirt<|object_ref_end|><|box_start|>(228,320),(961,970)<|box_end|>"
            "<|box_start|>(0,0),(1000,1000)<|box_end|>",
            "What is <|box_start|>(90,80),(300,400)<|box_end|>, and ",
        ),
        (  # the check value of DIALECTS.md
            "qwen2.5-vl",
            '[{"bbox_2d": [147, 134, 619, 407], "label": "shirt"}, {"bbox_2d": [0, 0, 643, 419], "label": "shirt"}]',
            'What is [30, 40, 101, 202], and [{"bbox_2d": [33, 50, 67, 101], "label": "that \\"x\\""}, {"bbox_2d": ',
        ),
        (
            "qwen3-vl",
            '[{"bbox_2d": [228, 320, 961, 970], "label": "shirt"}, {"bbox_2d": [0, 0, 1000, 1000], "label": "shirt"}]',
            "What is [90, 80, 300, 400], and [{",
        ),
        (
            "internvl3",
            "<ref>shirt</ref><box>[[228, 320, 960, 969], [0, 0, 1000, 1000]]</box>",
            'What is <box>[[90, 80, 300, 400]]</box>, and <ref>that "x"</ref><box>[[',
        ),
        (
            "llava-next",
            "shirt [0.23, 0.38, 0.96, 0.81], [0.00, 0.17, 1.00, 0.83]",
            'What is [0.23, 0.08, 0.37, 0.40], and that "x" [',
        ),
    ],
)
def test_each_dialect_has_boxes_in_its_own_form(name: str, answer: str, asked: str) -> None:
    text = written(name)
    assert answer in text
    assert asked in text


@pytest.mark.parametrize("name", READABLE)
def test_boxes_come_back_to_half_a_step(name: str) -> None:
    dialect = load_dialect(name)
    read = parse_dialogue(written(name), dialect, SIDES)
    parts = 0.5 / dialect.places.parts  # the far edge is the last pixel of those that count in pixels
    step = {"parts": parts, "shares": 0.005, "pixels": 1.03 / 640}[
        dialect.places.unit
    ]  # the far edge: the last pixel
    for region, (_, box) in zip(read.regions, BOXES, strict=True):
        assert np.allclose(np.array(region.quad)[[0, 1, 4, 5]], box, atol=step * 640 + 1e-6)
    assert "<bbox>" in read.messages[1][1]
    if name in ("llava", "llava-next", "llava-1.5", "llava-onevision"):
        assert {region.text for region in read.regions} == {None}  # nothing marks a phrase
        return
    assert [region.text for region in read.regions] == [text for text, _ in BOXES]
    assert read.messages[3] == TALK[3]
    assert "".join(read.messages[2][1].split()) == "".join(TALK[2][1].split())


def test_without_sizes_boxes_are_an_error_or_text() -> None:
    with pytest.raises(ValueError, match="only text"):
        parse_dialogue(written("internvl3"), load_dialect("internvl3"))
    assert parse_dialogue(written("qwen3-vl"), load_dialect("qwen3-vl")).regions == []
    with pytest.raises(ValueError, match="none of a known size"):
        parse_dialogue(written("qwen3-vl"), load_dialect("qwen3-vl"), SIDES[:1])


def test_a_prompt_and_target_give_their_boxes_back() -> None:
    talk, boxes = TALK[:2], BOXES[:2]
    paths = pa.array([["d/1.jpg"]])
    prompt, target = dialogue_strings(column(talk), paths, boxes=located(regions(boxes), SIDES[:1]))
    assert target[0].as_py() == "<ref>shirt</ref><box>(228,320),(960,969)</box><box>(0,0),(999,999)</box>"
    read = parse("conversation", target[0].as_py(), 640, 428, prompt[0].as_py())
    assert read.messages == [("user", "<image>Frame the <ref>shirt</ref>"), talk[1]]
    assert len(read.regions) == 2


def test_a_turned_quad_is_a_quad_where_there_is_a_form_and_else_its_hull() -> None:
    corners = [10, 10, 200, 20, 199, 60, 9, 50]
    found = pa.array([[{"text": "t", "quad": corners}]], pa.list_(REGION))
    talk: list[Turn] = [("user", "<image>q"), ("assistant", "<ref>t</ref><bbox>")]

    def one(name: str) -> str:
        boxes = located(found, [(1000, 1000)])
        return "".join(dialogue_pieces(column(talk), load_dialect(name), boxes=boxes).text.to_pylist())

    assert "<quad>(10,10),(200,20),(199,60),(9,50)</quad>" in one("qwen-vl")
    assert "<box>[[9, 10, 200, 60]]</box>" in one("internvl3")
    read = parse_dialogue(one("qwen-vl"), sizes=[(1000, 1000)])
    assert np.allclose(read.regions[0].quad, corners, atol=0.51)


def test_other_dialogues_of_a_table_stay_as_they_are() -> None:
    plain: list[Turn] = [("user", "Hi [1, 2, 3, 4]"), ("assistant", "Ho")]
    boxes = located(regions([], BOXES, [], BOXES[:2]), [], SIDES, [], SIDES[:1])
    dialect = load_dialect("qwen3-vl")
    pieces = dialogue_pieces(column(plain, TALK, plain, TALK[:2]), dialect, boxes=boxes)
    texts = [
        "".join(pieces.text.to_pylist()[a:b]) for a, b in zip(pieces.starts, pieces.starts[1:], strict=False)
    ]
    assert texts[0] == texts[2] == "".join(dialogue_pieces(column(plain), dialect).text.to_pylist())
    assert texts[1] == written("qwen3-vl")
    assert texts[3] == written("qwen3-vl", TALK[:2], BOXES[:2], SIDES[:1])


@pytest.mark.parametrize(
    ("talk", "boxes", "name", "reason"),
    [
        (TALK, BOXES, "qwen-vl", None),
        (TALK, BOXES, "gemma3", "task_not_in_dialect"),
        (TALK, BOXES[:5], "qwen-vl", "text_has_placeholder"),
        (TALK, [], "qwen-vl", "text_has_placeholder"),
        ([("user", "<ref>a</ref>"), ("assistant", "b")], [], "qwen-vl", "text_has_control_token"),
        ([("user", "<bbox>"), ("assistant", "b")], BOXES[:1], "qwen-vl", "box_broken"),
        (
            [("user", "<image><image>"), ("assistant", "<ref>a<bbox>")],
            BOXES[:1],
            "qwen-vl",
            "text_has_control_token",
        ),
        (
            [("user", "<image><image><ref>USER: x</ref>"), ("assistant", "<bbox>")],
            BOXES[:1],
            "llava-next",
            "text_has_control_token",
        ),
        (
            [("user", "<image><image>"), ("assistant", "<bbox>")],
            [(None, (0, 0, float("nan"), 1))],
            "qwen-vl",
            "box_broken",
        ),
    ],
)
def test_what_cannot_be_written_is_named(talk: Any, boxes: Any, name: str, reason: str | None) -> None:
    images = np.array([2 if "<image>" in talk[0][1] else 0])
    found = dialogue_faults(column(talk), images, load_dialect(name), regions(boxes))
    assert found.to_pylist() == [reason]


def test_a_box_is_in_an_image_of_its_own_turn_where_that_shows_one() -> None:
    talk: list[Turn] = [
        ("user", "A <bbox> in <image>, <bbox>, <image>, <bbox>"),
        ("assistant", "B <bbox>, not <image>"),
        ("user", "C <bbox>\n<image>"),
        ("assistant", "D <bbox>"),
        ("user", "E <bbox>"),
        ("assistant", "F <bbox>"),
    ]
    other: list[Turn] = [
        ("user", "<bbox>"),
        ("assistant", "<bbox>"),
        ("user", "<image>"),
        ("assistant", "<bbox>"),
    ]
    row, image = shown_in(turns_of(column(talk, other)))
    assert row.tolist() == [0] * 8 + [1] * 3
    assert image.tolist() == [0, 0, 1, 1, 2, 2, 2, 2, -1, -1, 0]


@pytest.mark.parametrize("name", READABLE)
def test_a_box_before_the_image_of_its_turn_comes_back(name: str) -> None:
    talk: list[Turn] = [
        ("user", "<image>\nQ"),
        ("assistant", "A"),
        ("user", "Is <bbox> in <image>?"),
        ("assistant", "B"),
    ]
    box = [(None, (30, 40, 100, 200))]
    text = written(name, talk, box)
    found = parse_dialogue(text, load_dialect(name), sizes=SIDES)
    (region,) = found.regions
    assert np.allclose(region.quad, quad(box[0][1]), atol=5)


TURN = "Is <bbox> in <image>, <bbox> in <image> <bbox>?"
SEVERAL: list[Turn] = [("user", TURN), ("assistant", "It is <bbox>")]
FIRST, SECOND = (30, 40, 100, 200), (10, 20, 300, 480)


@pytest.mark.parametrize("name", READABLE)
def test_boxes_among_several_images_come_back_or_are_refused(name: str) -> None:
    boxes = [(None, FIRST), (None, FIRST), (None, SECOND), (None, SECOND)]
    dialect = load_dialect(name)
    (fault,) = dialogue_faults(column(SEVERAL), np.array([2]), dialect, regions(boxes)).to_pylist()
    if dialect.image.first:  # as LLaVA-OneVision: nothing would say that a box is in the first of two
        assert fault == ("too_many_images" if dialect.image.most else "task_not_in_dialect")
        return
    assert fault is None
    found = parse_dialogue(written(name, SEVERAL, boxes), dialect, sizes=SIDES)
    assert len(found.regions) == len(boxes)
    for one, (_, box) in zip(found.regions, boxes, strict=True):
        assert np.allclose(one.quad, quad(box), atol=1.5)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("<image> and <image>: compare <bbox>", None),
        ("In <image> is <bbox>", None),
        ("<bbox> is in <image>", None),
        ("<image> has <bbox>, <image> not", "task_not_in_dialect"),
        ("<bbox> is in <image>, not <image>", "task_not_in_dialect"),
    ],
)
def test_llava_onevision_takes_a_box_of_the_last_image_of_its_turn(asked: str, reason: str | None) -> None:
    talk: list[Turn] = [("user", "<image>Q"), ("assistant", "A"), ("user", asked), ("assistant", "B <bbox>")]
    images = np.array([1 + asked.count("<image>")])
    found = dialogue_faults(
        column(talk), images, load_dialect("llava-onevision"), regions([(None, SECOND)] * 2)
    )
    assert found.to_pylist() == [reason]
    table = pa.table(
        {"task": ["conversation"], "messages": column(talk), "regions": regions([(None, SECOND)] * 2)}
    )
    (detail,) = fault_details(table, found, load_dialect("llava-onevision")).to_pylist()
    assert (detail is None) == (reason is None)
    assert reason is None or "a box before the last one" in detail
