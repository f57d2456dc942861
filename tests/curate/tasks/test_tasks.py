from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.schema import SAMPLE, TASKS
from curate.storage.shards import image_path, to_shard
from curate.tasks import FORMATS, fault_details, faults, load_dialect, parse, render, row_strings
from curate.tasks.coordinates import normalise, pixels_of
from filters.grounding import ground
from tests.curate.made_shards import TASKS as MADE
from tests.curate.made_shards import sample
from tests.curate.runs import done

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")

ROW: dict[str, Any] = {"language": "en", "width": 1000, "height": 500, "dataset": "d", "key": "k"}


def box(
    x1: float, y1: float, x2: float, y2: float, text: str | None = None, start: int | None = None
) -> dict[str, Any]:
    end = None if start is None else start + len(text or "")
    return {"text": text, "start": start, "end": end, "quad": [x1, y1, x2, y1, x2, y2, x1, y2]}


def rendered(*rows: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    table = pa.Table.from_pylist([ROW | row for row in rows], schema=SAMPLE)
    prompt, target = render(table, pa.array(["d/k.jpg"] * len(rows)))
    return list(zip(prompt.to_pylist(), target.to_pylist(), strict=True))


def fault(**row: Any) -> str | None:
    table = pa.Table.from_pylist([ROW | row], schema=SAMPLE)
    found: str | None = faults(table)[0].as_py()
    prompt, target = render(table, pa.array(["d/k.jpg"]))
    assert (prompt[0].as_py() is None) == (target[0].as_py() is None) == (found is not None)
    return found


def jsonl(name: str) -> Iterator[dict[str, Any]]:
    with (DATA / name).open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def test_every_task_of_the_schema_has_a_format() -> None:
    assert (*FORMATS, "conversation") == TASKS


def test_the_papers_examples_are_written_as_the_paper_prints_them() -> None:
    bees = {"text": "bees", "start": 18, "end": 22}
    apricot = "an apricot flower"
    caption = f"Beautiful shot of bees gathering nectars from {apricot}"
    rows: list[dict[str, Any]] = [
        {"task": "caption", "text": "the beautiful flowers for design."},
        {"task": "caption", "text": "一只猫", "language": "zh"},
        {
            "task": "vqa",
            "question": "Does the bandage have a different color than the wrist band?",
            "answer": "No, both the bandage and the wrist band are white.",
        },
        {"task": "ocr_vqa", "question": "What is the title of this book?", "answer": "Asi Se Dice!"},
        {
            "task": "grounded_caption",
            "text": caption,
            "width": 1000,
            "height": 1000,
            "regions": [
                box(661, 612, 833, 812) | bees,
                box(120, 555, 265, 770) | bees,
                box(224, 13, 399, 313, apricot, caption.index(apricot)),
            ],
        },
        {
            "task": "referring",
            "text": "the ear on a giraffe",
            "width": 1000,
            "height": 1000,
            "regions": [box(176, 106, 232, 160)],
        },
        {
            "task": "region_caption",
            "text": "Yellow cross country ski racing gloves",
            "width": 1000,
            "height": 1000,
            "regions": [box(360, 542, 476, 705)],
        },
        {
            "task": "ocr",
            "text": "It is managed\nby us",
            "width": 1000,
            "height": 1000,
            "regions": [
                {"text": "It is managed", "quad": [568, 121, 625, 131, 624, 182, 567, 172]},
                {"text": "by us", "quad": [1, 2, 3, 4, 5, 6, 7, 8]},
            ],
        },
        {"task": "ocr_structured", "answer": "<h1>A title</h1>"},
        {"task": "text", "text": "Once upon a time."},
    ]
    img = "<img>d/k.jpg</img>"
    assert rendered(*rows) == [
        (f"{img}Generate the caption in English:", " the beautiful flowers for design."),
        (f"{img}Generate the caption in Chinese:", " 一只猫"),
        (
            f"{img} Does the bandage have a different color than the wrist band? Answer:",
            " No, both the bandage and the wrist band are white.",
        ),
        (f"{img} What is the title of this book? Answer:", " Asi Se Dice!"),
        (
            f"{img}Generate the caption in English with grounding:",
            " Beautiful shot of <ref>bees</ref><box>(661,612),(833,812)</box><box>(120,555),(265,770)</box>"
            " gathering nectars from <ref>an apricot flower</ref><box>(224,13),(399,313)</box>",
        ),
        (f"{img}<ref>the ear on a giraffe</ref>", "<box>(176,106),(232,160)</box>"),
        (
            f"{img}<ref>This</ref><box>(360,542),(476,705)</box> is",
            " Yellow cross country ski racing gloves",
        ),
        (
            f"{img}OCR with grounding:",
            " <ref>It is managed</ref> <quad>(568,121),(625,131),(624,182),(567,172)</quad>"
            " <ref>by us</ref> <quad>(1,2),(3,4),(5,6),(7,8)</quad>",
        ),
        (f"{img}OCR with structure as HTML:", " <h1>A title</h1>"),
        ("", "Once upon a time."),
    ]


def test_coordinates_are_clipped_to_the_image_and_to_999() -> None:
    row = {
        "task": "referring",
        "text": "it",
        "width": 640,
        "height": 480,
        "regions": [box(-7, 0.4, 640, 1e30)],
    }
    assert rendered(row)[0][1] == "<box>(0,0),(999,999)</box>"


def test_a_published_decimal_falls_into_its_own_step_although_float32_puts_it_lower() -> None:
    hundredths = np.arange(64_001)
    steps = normalise((hundredths / 100).astype(np.float32), np.full(64_001, 640))
    assert (steps == np.minimum(hundredths * 10 // 640, 999)).all()
    assert (
        np.minimum(np.floor(1000 * (hundredths / 100).astype(np.float32).astype(float) / 640), 999) != steps
    ).any()


@settings(deadline=None)
@given(st.integers(1, 100_000))
def test_the_middle_of_a_step_normalises_back_to_the_step(side: int) -> None:
    steps = np.arange(1000)
    back = normalise(pixels_of(steps, side).astype(np.float32), np.full(1000, side))
    assert (back == steps).all()


def test_offsets_are_code_points_and_boxes_of_one_phrase_follow_one_ref() -> None:
    text = "😀猫 and 🐕🐕 à côté"
    regions = [box(0, 0, 500, 250, "🐕🐕", 7), box(0, 0, 1000, 500, "😀猫", 0), box(10, 5, 20, 10, "🐕🐕", 7)]
    (pair,) = rendered({"task": "grounded_caption", "text": text, "regions": regions})
    assert pair[1] == (
        " <ref>😀猫</ref><box>(0,0),(999,999)</box> and "
        "<ref>🐕🐕</ref><box>(0,0),(500,500)</box><box>(10,10),(20,20)</box> à côté"
    )


def test_rows_of_many_tasks_keep_their_places() -> None:
    rows: list[dict[str, Any]] = [
        {"task": ("text", "caption", "vqa")[n % 3], "text": f"t{n}", "question": f"q{n}", "answer": f"a{n}"}
        for n in range(30)
    ]
    rows[4]["text"] = None
    for n, (_, target) in enumerate(rendered(*rows)):
        assert target == (None if n == 4 else (f"t{n}", f" t{n}", f" a{n}")[n % 3])


@pytest.mark.parametrize(
    "token", ["<box>", "</ref>", "<img>", "</quad>", "<imgpad>", "<|im_end|>", "<|endoftext|>"]
)
def test_raw_text_cannot_forge_structure(token: str) -> None:
    there = [box(0, 0, 9, 9, "a", 0)]
    reason = "text_has_control_token"
    assert fault(task="caption", text=f"a{token}b") == reason
    assert fault(task="text", text=f"a{token}b") == reason
    assert fault(task="vqa", question=f"a{token}", answer="b") == reason
    assert fault(task="vqa", question="a", answer=f"{token}b") == reason
    assert fault(task="grounded_caption", text=f"a {token}", regions=there) == reason
    assert fault(task="referring", text=token, regions=there) == reason
    assert fault(task="ocr", text="", regions=[*there, box(0, 0, 9, 9, f"x{token}")]) == reason


def test_markup_that_is_no_control_token_is_just_text() -> None:
    assert fault(task="caption", text="<b>1 < 2</b> <Box> <ref/> <| |> (1,2),(3,4)") is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"task": None}, "task_missing"),
        ({"task": "caption", "text": None}, "text_missing"),
        ({"task": "caption", "text": ""}, "text_missing"),
        ({"task": "vqa", "question": "q", "answer": None}, "text_missing"),
        ({"task": "vqa", "question": "", "answer": "a"}, "text_missing"),
        ({"task": "ocr", "regions": [box(0, 0, 9, 9)]}, "text_missing"),
        ({"task": "caption", "text": "a", "language": "xx"}, "language_unknown"),
        ({"task": "caption", "text": "a", "language": None}, "language_unknown"),
        ({"task": "referring", "text": "a", "regions": []}, "no_boxes_left"),
        ({"task": "grounded_caption", "text": "a", "regions": None}, "no_boxes_left"),
        ({"task": "referring", "text": "a", "regions": [box(0, 0, float("nan"), 1)]}, "box_broken"),
        ({"task": "referring", "text": "a", "regions": [box(0, 0, float("inf"), 1)]}, "box_broken"),
        ({"task": "referring", "text": "a", "regions": [{"quad": None}]}, "box_broken"),
        ({"task": "referring", "text": "a", "regions": [None]}, "box_broken"),
        ({"task": "referring", "text": "a", "regions": [box(0, 0, 1, 1)], "width": 0}, "box_broken"),
        ({"task": "referring", "text": "a", "regions": [box(0, 0, 1, 1)], "height": None}, "box_broken"),
        ({"task": "grounded_caption", "text": "a dog", "regions": [box(0, 0, 1, 1)]}, "span_not_in_text"),
        (
            {"task": "grounded_caption", "text": "a dog", "regions": [box(0, 0, 1, 1, "dog", 3)]},
            "span_not_in_text",
        ),
        (
            {"task": "grounded_caption", "text": "a dog", "regions": [box(0, 0, 1, 1, "dog", 1)]},
            "span_not_in_text",
        ),
        (
            {"task": "grounded_caption", "text": "a dog", "regions": [box(0, 0, 1, 1, "", 1)]},
            "span_not_in_text",
        ),
        (
            {
                "task": "grounded_caption",
                "text": "a dog",
                "regions": [box(0, 0, 1, 1, "a dog", 0), box(0, 0, 1, 1, "dog", 2)],
            },
            "spans_overlap",
        ),
    ],
)
def test_what_cannot_be_written_has_a_reason(row: dict[str, Any], reason: str) -> None:
    assert fault(**row) == reason
    (detail,) = fault_details(
        pa.Table.from_pylist([ROW | row], schema=SAMPLE), pa.array([reason])
    ).to_pylist()
    says_all = ("task_missing", "text_missing", "no_boxes_left", "spans_overlap")
    assert (detail is None) == (reason in says_all)


def test_a_row_at_fault_costs_itself_alone() -> None:
    good = {"task": "grounded_caption", "text": "a dog", "regions": [box(0, 0, 1, 1, "dog", 2)]}
    bad = good | {"text": "a"}
    assert [target is None for _, target in rendered(good, bad, good, bad)] == [False, True, False, True]


@pytest.mark.parametrize("name", ["qwen-vl", "qwen2.5-vl", "llava"])
def test_the_rows_of_a_shard_are_written_like_the_samples_that_they_were_made_of(
    name: str,
) -> None:
    dialect, rng = load_dialect(name), np.random.default_rng(0)
    rows = [sample(number, task, rng) for number, task in enumerate(MADE)]
    table = pa.Table.from_pylist(rows, SAMPLE)
    paths = image_path(table)
    shard = to_shard(table, table["image"].combine_chunks().cast(pa.binary()), *render(table, paths))
    assert faults(shard, dialect).equals(faults(table, dialect))
    for path in (None, paths):
        for made, expected in zip(render(shard, path, dialect), render(table, paths, dialect), strict=True):
            assert made.equals(expected)
    with pytest.raises(ValueError, match="the table lacks regions: rows of SAMPLE or of a shard are written"):
        render(shard.drop_columns("regions"))
    with pytest.raises(ValueError, match="have their prompt and target"):
        row_strings(shard, paths)


def test_a_task_without_a_format_is_an_error() -> None:
    with pytest.raises(ValueError, match="no task 'captions'"):
        fault(task="captions", text="a")


def test_an_image_that_is_not_there_leaves_the_row_null() -> None:
    table = pa.Table.from_pylist([ROW | {"task": "caption", "text": "a"}], schema=SAMPLE)
    prompt, target = render(table, pa.nulls(1, pa.string()))
    assert prompt.null_count == target.null_count == 1


def test_an_empty_table_renders_to_nothing() -> None:
    prompt, target = render(SAMPLE.empty_table(), pa.array([], pa.string()))
    assert len(prompt) == len(target) == 0


@pytest.mark.parametrize(
    ("task", "target"),
    [
        ("caption", "no space"),
        ("caption", " a <box>"),
        ("referring", "<box>(1,2),(3,4)"),
        ("referring", "<box>(1,2),(3,1000)</box>"),
        ("grounded_caption", " <ref>a</ref>"),
        ("grounded_caption", " <ref>a</ref><box>(1,2),(3,4)</box></ref>"),
        ("ocr", " <ref>a</ref><quad>(1,2),(3,4),(5,6),(7,8)</quad>"),
        ("ocr", " <ref>a</ref> <quad>(1,2),(3,4),(5,6),(7,8)</quad> b"),
    ],
)
def test_parse_refuses_what_is_not_of_the_format(task: str, target: str) -> None:
    with pytest.raises(ValueError, match=r"not of the form|stands where|expected"):
        parse(task, target, 10, 10)


def round_trip(rows: list[dict[str, Any]]) -> int:
    """How many rows were written; each is read back as it was, with boxes within a step of a thousand."""
    table = pa.Table.from_pylist([ROW | row for row in rows], schema=SAMPLE)
    prompt, target = render(table, pa.array(["d/k.jpg"] * len(rows)))
    again = []
    for row, p, t in zip(table.to_pylist(), prompt.to_pylist(), target.to_pylist(), strict=True):
        if t is None:
            continue
        parsed = parse(row["task"], t, row["width"], row["height"], p)
        check(row, parsed._asdict())
        again.append(row | parsed._asdict() | {"regions": [region._asdict() for region in parsed.regions]})
    rewritten = pa.Table.from_pylist(again, schema=SAMPLE)
    assert render(rewritten, pa.array(["d/k.jpg"] * len(again)))[1].equals(target.drop_null())
    return len(again)


def check(row: dict[str, Any], parsed: dict[str, Any]) -> None:
    for name in ("question", "answer"):
        assert parsed[name] is None or parsed[name] == row[name]
    if row["task"] != "ocr" and parsed["text"] is not None:
        assert parsed["text"] == row["text"]
    regions = sorted(row["regions"] or [], key=lambda r: r["start"] or 0) if parsed["regions"] else []
    assert len(parsed["regions"]) == len(regions)
    sides = np.array([row["width"], row["height"]])
    for back, region in zip(parsed["regions"], regions, strict=True):
        corners = np.clip(np.reshape(region["quad"], (-1, 2)), 0, sides)
        read = np.reshape(back.quad, (-1, 2))
        if row["task"] != "ocr":
            corners, read = (np.stack([p.min(0), p.max(0)]) for p in (corners, read))
        assert (np.abs(corners - read) <= sides / 1000 + 1e-3).all()
        if row["task"] in ("grounded_caption", "ocr"):
            assert back.text == region["text"]


@needs_data
def test_refcoco_survives_the_round_trip_both_ways() -> None:
    rows = []
    for path in sorted((DATA / "refcoco").glob("*.jsonl")):
        for ref in jsonl(f"refcoco/{path.name}"):
            x, y, w, h = ref["bbox"]
            size = {"width": ref["width"], "height": ref["height"]}
            for task in ("referring", "region_caption"):
                rows.append(size | {"task": task, "text": ref["sents"], "regions": [box(x, y, x + w, y + h)]})
    assert round_trip(rows) == len(rows) > 15_000


@needs_data
def test_captions_survive_the_round_trip() -> None:
    rows = [{"task": "caption", "text": r["caption"]} for r in jsonl("coco/coco_captions_val2017.jsonl")]
    for name in ("coco_cn_test", "flickr30k_cn_test"):
        rows += [
            {"task": "caption", "language": "zh", "text": r["caption"]}
            for r in jsonl(f"zh_captions/{name}.jsonl")
        ]
    assert round_trip(rows) == len(rows) > 18_000


@needs_data
def test_questions_survive_the_round_trip() -> None:
    rows = [
        {"task": "vqa", "question": r["question"], "answer": r["answer"]}
        for r in jsonl("vqa_mix/mathvista_subset.jsonl")
    ]
    assert round_trip(rows) == len(rows) > 200


@needs_data
def test_coco_objects_survive_the_round_trip_as_grounded_captions() -> None:
    rows = []
    for r in jsonl("coco_qa/caps_boxes_coco2014_val_80.jsonl"):
        text, regions = "", []
        for thing in r["instances"]:
            x1, y1, x2, y2 = np.array(thing["bbox"]) * [640, 480, 640, 480]
            regions.append(box(x1, y1, x2, y2, thing["category"], len(text)))
            text += thing["category"] + ", "
        if not regions:
            continue
        rows.append(
            {"task": "grounded_caption", "text": text, "width": 640, "height": 480, "regions": regions}
        )
    assert round_trip(rows) == len(rows) > 40


@needs_data
def test_words_of_a_real_document_survive_the_round_trip_as_ocr() -> None:
    for r in jsonl("docvqa/docvqa_sample.jsonl"):
        regions = [box(*corners, text=word) for corners, word in zip(r["boxes"], r["context"], strict=True)]
        rows = [
            {"task": "ocr", "width": 1000, "height": 1000, "regions": regions, "text": " ".join(r["context"])}
        ]
        assert round_trip(rows) == 1


@needs_data
def test_grits_row_survives_the_round_trip() -> None:
    table = pa.Table.from_pylist(list(jsonl("grit/grit_rows.jsonl")))
    regions = ground(*(table[c] for c in ("caption", "width", "height", "noun_chunks", "ref_exps")))
    rows = [
        {
            "task": "grounded_caption",
            "text": r["caption"],
            "width": r["width"],
            "height": r["height"],
            "regions": found,
        }
        for r, found in zip(table.to_pylist(), regions.to_pylist(), strict=True)
    ]
    assert round_trip(rows) == len(rows)


@needs_data
def test_naughty_strings_are_written_and_read_back_or_dropped() -> None:
    path = DATA / "rules" / "naughty_strings" / "blns.jsonl"
    strings = [json.loads(line)["s"] for line in path.open(encoding="utf-8")]
    rows: list[dict[str, Any]] = []
    for text in strings:
        rows.append({"task": "caption", "text": text})
        rows.append({"task": "ocr", "text": text, "regions": [box(1, 2, 3, 4, text)] * 3})
        rows.append({"task": "grounded_caption", "text": f"x{text}y", "regions": [box(1, 2, 3, 4, text, 1)]})
    assert round_trip(rows) > 2 * len(strings)


phrases = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(phrases, phrases, st.integers(1, 3)), min_size=1, max_size=6))
def test_any_caption_survives_the_round_trip(parts: list[tuple[str, str, int]]) -> None:
    text, regions = "", []
    for gap, phrase, boxes in parts:
        text += gap
        regions += [box(3.25 * n, 7, 100 + n, 77.7, phrase, len(text)) for n in range(boxes)]
        text += phrase
    round_trip([{"task": "grounded_caption", "text": text, "regions": regions}])


DOCUMENTED = (Path(__file__).parents[3] / "docs" / "tasks.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"(?m)^(\w+), from ([\w-]+)\ncurate  (.+)(?:\npaper   (.+))?$", DOCUMENTED)


def test_the_documentation_has_an_example_of_each_task() -> None:
    by_setting = {"ocr_structured"}  # of `pdf`; no manifest's sample gives it
    assert [task for task, *_ in EXAMPLES] == [task for task in FORMATS if task not in by_setting]


@pytest.mark.parametrize(("task", "manifest", "ours"), [example[:3] for example in EXAMPLES])
def test_the_documented_example_is_what_the_sample_gives(
    task: str, manifest: str, ours: str, tmp_path: Path
) -> None:
    done("run", manifest, "--out", tmp_path / "out", "--workers", 0)
    shards = sorted((tmp_path / "out").glob("shard-*.parquet"))
    rows = pa.concat_tables([pq.read_table(path, columns=["task", "prompt", "target"]) for path in shards])
    written = [row["prompt"] + row["target"] for row in rows.to_pylist() if row["task"] == task]
    shown = ours.removesuffix("…").rstrip() if ours.endswith("…") else ours
    assert any(text == ours or (ours != shown and text.startswith(shown)) for text in written)


@pytest.mark.parametrize(
    ("task", "paper"), [(task, paper) for task, _, _, paper in EXAMPLES if "<img>" in paper]
)
def test_the_papers_own_examples_are_read_back(task: str, paper: str) -> None:
    whole = paper.removesuffix(" …")
    cuts = [cut for cut in range(len(whole)) if reads(task, whole[:cut], whole[cut:])]
    assert len(cuts) == 1  # there is one way to part the prompt from the target


def reads(task: str, prompt: str, target: str) -> bool:
    try:
        parse(task, target, 1000, 1000, prompt or "none")
    except ValueError:
        return False
    return True
