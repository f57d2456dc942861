from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ManifestError
from curate.schema import SAMPLE
from curate.tasks import Dialect, dialect_names, faults, load_dialect, parse, render
from curate.tasks.coordinates import pixels_from

ROW: dict[str, Any] = {"language": "en", "width": 1280, "height": 720, "dataset": "d", "key": "k"}


def box(
    x1: float, y1: float, x2: float, y2: float, text: str | None = None, start: int | None = None
) -> dict[str, Any]:
    end = None if start is None else start + len(text or "")
    return {"text": text, "start": start, "end": end, "quad": [x1, y1, x2, y1, x2, y2, x1, y2]}


ROWS: list[dict[str, Any]] = [
    {"task": "caption", "text": "the flowers."},
    {"task": "vqa", "question": "Is it?", "answer": "No"},
    {"task": "ocr_vqa", "question": "Who wrote it?", "answer": "Ada"},
    {
        "task": "grounded_caption",
        "text": "two bees on a red rose",
        "regions": [
            box(10, 20, 300, 400, "bees", 4),
            box(500, 20.5, 640, 400, "bees", 4),
            box(0, 0, 1280, 720, "a red rose", 12),
        ],
    },
    {"task": "referring", "text": 'the "ear"', "regions": [box(10, 20, 300, 400, 'the "ear"')]},
    {"task": "region_caption", "text": "gloves", "regions": [box(10, 20, 300, 400), box(100, 20, 300, 400)]},
    {"task": "ocr", "text": "a b\ncd", "regions": [box(10, 20, 300, 40, "a b"), box(10, 60, 300, 90, "cd")]},
    {"task": "text", "text": "once"},
]


def written(dialect: Dialect, *rows: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    table = pa.Table.from_pylist([ROW | row for row in rows], schema=SAMPLE)
    prompt, target = render(table, pa.array(["d/k.jpg"] * len(rows)), dialect)
    return list(zip(prompt.to_pylist(), target.to_pylist(), strict=True))


def referring(name: str, quad: list[float], width: int, height: int, **changed: Any) -> str:
    row = {"task": "referring", "text": "it", "width": width, "height": height, "regions": [box(*quad)]}
    found = written(load_dialect(name, changed), row)[0][1]
    assert found is not None
    return found


def half_a_step(dialect: Dialect) -> np.ndarray:
    """The most by which each coordinate of a read-back quad may be off, in pixels of a 1280 x 720 image."""
    places = dialect.places
    steps = {"parts": (1280 / places.parts, 720 / places.parts), "pixels": (1.0, 1.0), "shares": (12.8, 12.8)}
    edge = 1 if places.unit == "pixels" else 0  # what stands on the far edge is the last pixel
    return np.array(steps[places.unit] * 4) * (0.5 + edge) + 1e-3


@pytest.mark.parametrize("name", dialect_names())
def test_what_a_dialect_writes_it_reads_back_within_half_a_step(name: str) -> None:
    dialect = load_dialect(name)
    table = pa.Table.from_pylist([ROW | row for row in ROWS], schema=SAMPLE)
    for row, fault, (prompt, target) in zip(
        ROWS, faults(table, dialect).to_pylist(), written(dialect, *ROWS), strict=True
    ):
        assert (fault is None) == (target is not None) == (row["task"] in dialect.tasks)
        if target is None:
            assert fault == "task_not_in_dialect"
            continue
        found = parse(row["task"], target, 1280, 720, prompt or "", dialect)
        assert found.answer == row.get("answer")
        assert found.question == row.get("question")
        assert found.text == row.get("text") or row["task"] in ("vqa", "ocr_vqa")
        for given_region, read in zip(row.get("regions", []), found.regions, strict=True):
            assert (np.abs(np.array(given_region["quad"]) - read.quad) <= half_a_step(dialect)).all()
            if row["task"] == "grounded_caption":
                assert (read.text, read.start, read.end) == tuple(
                    given_region[k] for k in ("text", "start", "end")
                )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen-vl", "<box>(228,320),(960,969)</box>"),
        ("qwen2-vl", "<|box_start|>(228,320),(961,970)<|box_end|>"),
        ("qwen2.5-vl", '[{"bbox_2d": [147, 134, 619, 407], "label": "it"}]'),
        ("qwen3-vl", '[{"bbox_2d": [228, 320, 961, 970], "label": "it"}]'),
        ("internvl3", "<ref>it</ref><box>[[228, 320, 960, 969]]</box>"),
        ("llava", "[0.23, 0.38, 0.96, 0.81]"),
    ],
)
def test_a_box_is_written_as_each_models_own_code_writes_it(name: str, expected: str) -> None:
    assert referring(name, [146, 137, 615, 415], 640, 428) == expected


def test_the_last_pixel_is_each_models_highest_number() -> None:
    whole = [0, 0, 640, 480]
    assert referring("qwen-vl", whole, 640, 480) == "<box>(0,0),(999,999)</box>"
    assert referring("qwen2-vl", whole, 640, 480) == "<|box_start|>(0,0),(1000,1000)<|box_end|>"
    assert referring("qwen2.5-vl", whole, 640, 480) == '[{"bbox_2d": [0, 0, 643, 475], "label": "it"}]'
    assert referring("internvl3", whole, 640, 480) == "<ref>it</ref><box>[[0, 0, 1000, 1000]]</box>"


def test_boxes_of_qwen2_5_depend_on_the_setting_and_say_so() -> None:
    assert load_dialect("qwen2.5-vl").one_setting
    assert not load_dialect("qwen3-vl").one_setting
    small = referring("qwen2.5-vl", [0, 0, 960, 540], 1920, 1080, **{"cost.max_pixels": 451_584})
    assert small == '[{"bbox_2d": [0, 0, 448, 252], "label": "it"}]'
    assert (
        referring("qwen2.5-vl", [0, 0, 960, 540], 1920, 1080)
        == '[{"bbox_2d": [0, 0, 966, 546], "label": "it"}]'
    )


def test_answers_in_json_are_json_whatever_the_phrase_holds() -> None:
    phrase = 'the "red"\\ one\n\t小'
    row = {"task": "referring", "text": phrase, "regions": [box(1, 2, 3, 4)]}
    target = written(load_dialect("qwen3-vl"), row)[0][1]
    assert json.loads(target or "") == [{"bbox_2d": [1, 3, 2, 6], "label": phrase}]


def test_a_quad_becomes_the_box_around_it_where_a_model_has_no_quads() -> None:
    slanted = {"text": "a", "quad": [100, 50, 200, 80, 190, 120, 90, 90]}
    row = {"task": "ocr", "text": "a", "width": 1000, "height": 1000, "regions": [slanted]}
    assert (
        written(load_dialect("qwen3-vl"), row)[0][1]
        == '[{"bbox_2d": [90, 50, 200, 120], "text_content": "a"}]'
    )
    assert (
        written(load_dialect("qwen-vl"), row)[0][1]
        == " <ref>a</ref> <quad>(100,50),(200,80),(190,120),(90,90)</quad>"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("llava", "an <image> tag"),
        ("llava", "so ASSISTANT: no"),
        ("internvl3", "a <IMG_CONTEXT>"),
        ("gemma3", "<end_of_turn>"),
    ],
)
def test_raw_text_cannot_forge_a_dialects_tokens(name: str, text: str) -> None:
    text = text.replace("so ASSISTANT: no", "so  ASSISTANT: no")
    table = pa.Table.from_pylist([ROW | {"task": "caption", "text": text}], schema=SAMPLE)
    assert faults(table, load_dialect(name)).to_pylist() == ["text_has_control_token"]
    assert faults(table).to_pylist() == [None]


def test_an_image_that_the_models_processor_refuses_is_a_fault() -> None:
    table = pa.Table.from_pylist(
        [ROW | {"task": "caption", "text": "a", "width": 5000, "height": 10}], schema=SAMPLE
    )
    assert faults(table, load_dialect("qwen2.5-vl")).to_pylist() == ["image_too_elongated"]
    assert faults(table, load_dialect("llava")).to_pylist() == [None]


def test_a_dialect_of_ones_own_is_a_file_over_a_built_in_one(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(
        'base = "qwen2.5-vl"\nname = "mine"\n[cost]\nmax_pixels = 451584\n'
        '[tasks.caption]\nprompt = "{img}Caption:"\ntarget = "{text}"\n'
    )
    dialect = load_dialect(str(own))
    assert dialect.name == "mine"
    assert dialect.cost.max_pixels == 451_584
    assert written(dialect, ROWS[0])[0][0] == "<|vision_start|><|image_pad|><|vision_end|>Caption:"
    own.write_text('base = "qwen2.5-vl"\nname = "other"\n')
    assert load_dialect(str(own)).name == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 1\n", "name"),
        ("[cost]\nrule = 'none'\n", "rule"),
        ("nonsense = 1\n", "nonsense"),
        ("not toml", "mine.toml"),
    ],
)
def test_a_wrong_dialect_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(f'base = "qwen2-vl"\n{text}' if "toml" not in text else text)
    with pytest.raises(ManifestError, match=message) as caught:
        load_dialect(str(own))
    assert "\n" not in str(caught.value)


def test_a_dialect_that_builds_on_itself_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(f'base = "{own}"\n')
    with pytest.raises(ManifestError, match="under one another"):
        load_dialect(str(own))


def test_an_unknown_name_says_what_is_near() -> None:
    with pytest.raises(ManifestError, match="qwen3-vl"):
        load_dialect("qwen3vl")
    with pytest.raises(ManifestError, match="preset"):
        load_dialect("qwen3-vl:nothing")


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["qwen2-vl", "qwen2.5-vl", "qwen3-vl", "internvl3", "llava"]),
    st.integers(30, 4000),
    st.integers(30, 4000),
    st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4),
)
def test_any_box_is_read_back_within_half_a_step(
    name: str, width: int, height: int, shares: list[float]
) -> None:
    dialect = load_dialect(name)
    x, y = sorted(shares[:2]), sorted(shares[2:])
    quad = [x[0] * width, y[0] * height, x[1] * width, y[1] * height]
    target = referring(name, quad, width, height)
    read = parse("referring", target, width, height, dialect=dialect).regions[0].quad
    places, long = dialect.places, max(width, height)
    for got, want, side in zip([read[0], read[1], read[4], read[5]], quad, [width, height] * 2, strict=True):
        step = {"parts": side / places.parts, "shares": long / 100, "pixels": 2.0}[places.unit]
        assert abs(got - want) <= step * 0.5 + (1 if places.unit == "pixels" else 0) + 0.01


def test_pixels_are_read_back_from_the_middle_of_a_floored_step() -> None:
    places = load_dialect("internvl3").places
    assert pixels_from(places, np.array(10.0), 1000, 0, 0) == 10.5
