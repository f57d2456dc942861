"""docs/dialect-samples.md shows what the dialects write: its blocks are made by `blocks` here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.schema import MESSAGE, REGION, SAMPLE
from curate.tasks import Dialect, load_dialect, render
from curate.tasks.chat import dialogue_strings
from curate.tasks.dialogue_places import DialogueBoxes

PAGE = Path(__file__).parents[3] / "docs" / "dialect-samples.md"
DIALECTS = ("qwen-vl", "qwen2-vl", "qwen2.5-vl", "qwen3-vl", "internvl3", "llava")
ROW = {"language": "en", "width": 640, "height": 428, "dataset": "d", "key": "k"}
BOX = [146, 137, 615, 137, 615, 415, 146, 415]
ROWS: list[dict[str, Any]] = [
    {"task": "caption", "text": "Two bees on a rose"},
    {"task": "vqa", "question": "What sits there?", "answer": "bees"},
    {"task": "ocr_vqa", "question": "Who wrote it?", "answer": "Ada"},
    {
        "task": "grounded_caption",
        "text": "Two bees on a rose",
        "regions": [{"text": "Two bees", "start": 0, "end": 8, "quad": BOX}],
    },
    {"task": "referring", "text": "the bees", "regions": [{"text": "the bees", "quad": BOX}]},
    {"task": "region_caption", "text": "two bees", "regions": [{"quad": BOX}]},
    {"task": "ocr", "text": "A rose", "regions": [{"text": "A rose", "quad": [10, 20, 300, 22, 300, 40, 10, 38]}]},
    {"task": "ocr_structured", "text": "A rose", "answer": "<h1>A rose</h1>"},
    {"task": "text", "text": "once"},
]  # fmt: skip
TALK = [
    ("user", "<image>\nWhat sits there?"),
    ("assistant", "Bees."),
    ("user", "Frame <ref>them</ref>."),
    ("assistant", "<ref>them</ref><bbox>"),
]


def talk(dialect: Dialect) -> list[str]:
    """A dialogue as far as its last answer, and that answer."""
    messages = pa.array([[{"role": role, "content": said} for role, said in TALK]], pa.list_(MESSAGE))
    regions = pa.array([[{"text": "them", "quad": BOX}]], pa.list_(REGION))
    boxes = DialogueBoxes(regions, np.array([0, 1]), np.array([640]), np.array([428]))
    both = dialogue_strings(messages, pa.array([["d/k.jpg"]]), dialect, boxes)
    return [one[0].as_py() for one in both]


def block(dialect: Dialect) -> str:
    """The samples as the page shows them: task, prompt, target; line ends as ⏎, white space at an end as ·."""
    table = pa.Table.from_pylist([ROW | row for row in ROWS], SAMPLE)
    prompts, targets = render(table, pa.array(["d/k.jpg"] * len(ROWS)), dialect)
    lines = []
    for row, prompt, target in zip(ROWS, prompts.to_pylist(), targets.to_pylist(), strict=True):
        lines += [row["task"], f"    {shown(prompt, dialect)}", f"    → {shown(target, dialect)}"]
    before, answer = talk(dialect)
    lines += ["conversation", f"    {shown(before, dialect)}", f"    → {shown(answer, dialect)}"]
    return "\n".join(lines) + "\n"


def shown(text: str, dialect: Dialect) -> str:
    """A string on one line; an image that shows no path as {image}."""
    marks = dialect.image
    text = text.replace(marks.before + marks.pad + marks.after, "{image}")
    return re.sub(r"^ | $", "·", text.replace("\n", "⏎")) or "(nothing)"


def test_the_page_shows_what_each_dialect_writes() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in DIALECTS:
        (section,) = re.findall(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
        (there,) = re.findall(r"^```text\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
        assert there == block(load_dialect(name))
