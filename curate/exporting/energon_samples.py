"""Turns curate's samples into Energon's own sample types. An export copies this file into its `.nv-meta`; it does not
import curate.

To read crude samples, name the cooker in a task encoder:

    spec = importlib.util.spec_from_file_location("energon_samples", "OUT/.nv-meta/energon_samples.py")
    ...
    class Encoder(energon.DefaultTaskEncoder):
        cookers = [energon_samples.cooker()]

To read typed samples (only if all samples are of one type), write `dataset_config: typed.yaml` beside the path in a
metadataset.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

IMAGES = ("jpg", "png", "webp")
MARK = "<image>"
BOX = "<bbox>"
PLACE = re.compile(r"<box>[^<>]*</box>|<quad>[^<>]*</quad>")
QUESTION = re.compile(r"(?s)^<img>.*?</img> (.*) Answer:$")
SHOWN = re.compile(r"(?s)<img>.*?</img>")
TYPES = {
    "caption": "CaptioningSample",
    "ocr": "OCRSample",
    "text": "TextSample",
    "conversation": "InterleavedSample",
}
QUESTIONS = "VQASample"  # the type for all other tasks

Fields = dict[str, Any]


def part_filter(part: str) -> bool:
    """Whether Energon reads this file of a sample: an image, `txt` or `json`; `part` is its extension."""
    return part.rsplit(".", 1)[-1] in (*IMAGES, "txt", "json")


def type_name(task: str) -> str:
    """Return the name of Energon's sample type for a task."""
    return TYPES.get(task, QUESTIONS)


def sample_loader(raw: Fields) -> Fields:
    """Return the fields that Energon's type for the sample's task has, from the sample's files.

    `raw` maps extension -> content: `json` decoded, `txt` as str or bytes, images decoded or as bytes.
    """
    row, text = raw["json"], raw.get("txt", "")
    text = text.decode() if isinstance(text, bytes) else text
    task, image = row["task"], next((raw[name] for name in IMAGES if name in raw), None)
    if task == "caption":
        return {"image": image, "caption": text}
    if task == "text":
        return {"text": text}
    if task == "conversation":
        return {"sequence": _sequence(raw, row)}
    if task == "ocr":
        return {"image": image, "text": text} | _lines(row)
    asked = QUESTION.match(row["prompt"] or "")
    context = asked[1] if asked else SHOWN.sub("", row["prompt"] or "").strip()
    return {"image": image, "context": context, "answers": [(row["target"] or "").strip()]}


def cook(raw: Fields) -> Any:
    """Turn a crude sample (see `sample_loader`) into an object of Energon's type for its task."""
    energon = import_module("megatron.energon")
    kind = getattr(energon, type_name(raw["json"]["task"]))
    return kind(**energon.basic_sample_keys(raw), **sample_loader(raw))


def cooker() -> Any:
    """Return the cooker to list in a task encoder's `cookers`."""
    energon = import_module("megatron.energon")
    return energon.Cooker(energon.stateless(cook))


def _sequence(raw: Fields, row: Fields) -> list[Any]:
    """Return a dialogue as a list of ChatML texts and images in reading order; boxes are written as Qwen-VL does."""
    images = iter(
        [raw[f"{number}.{one['path'].rsplit('.', 1)[-1]}"] for number, one in enumerate(row["images"])]
    )
    places = iter(PLACE.findall(f"{row['prompt'] or ''}{row['target'] or ''}"))
    sequence: list[Any] = [""]
    for turn in row["messages"]:
        content = re.sub(BOX, lambda _: next(places, BOX), turn["content"])
        first, *more = content.split(MARK) if turn["role"] == "user" else [content]
        sequence[-1] += f"<|im_start|>{turn['role']}\n{first}"
        for text in more:
            sequence += [next(images), text]
        sequence[-1] += "<|im_end|>\n"
    return [one for one in sequence if not isinstance(one, str) or one]


def _lines(row: Fields) -> Fields:
    """Return the texts of a page's N lines and their boxes (N x 4: x, y, width, height in pixels)."""
    torch = import_module("torch")
    regions = row["regions"] or []
    boxes = []
    for one in regions:
        x, y = one["quad"][0::2], one["quad"][1::2]
        boxes.append([min(x), min(y), max(x) - min(x), max(y) - min(y)])
    found = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {"lines_boxes": found, "lines_text": [one["text"] for one in regions]}
