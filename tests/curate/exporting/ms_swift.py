"""An export read by ms-swift's own code: its loader of data sets, strict, and its conversion of boxes.

Run by itself (`python -m tests.curate.exporting.ms_swift FOLDER`), as torchvision may have to be stood in for. Prints
how many examples it took, with how many images, and each box as Qwen2-VL's template gets it (thousandths).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from benchmarks.image_costs import allow_torchvision


def main(folder: Path) -> None:
    """Read `messages.jsonl`, and `text.jsonl` where there is one."""
    os.environ["ROOT_IMAGE_DIR"] = str(folder)
    os.chdir(folder)
    allow_torchvision()
    load = importlib.import_module("swift.dataset").load_dataset
    template = importlib.import_module("swift.template.base").Template
    files = [name for name in ("messages.jsonl", "text.jsonl") if Path(name).exists()]
    taken = images = 0
    boxes = list[list[int]]()
    for name in files:
        rows, _ = load(name, strict=True, load_from_cache_file=False)
        for row in rows:
            shown = [one["path"] for one in row.get("images") or []]
            said = "".join(turn["content"] for turn in row["messages"])
            assert said.count("<image>") == len(shown)
            boxes += placed(template, row, said, [Image.open(path) for path in shown])
            taken, images = taken + 1, images + len(shown)
    print(f"{taken} examples, {images} images, boxes {json.dumps(boxes)}")


def placed(template: Any, row: dict[str, Any], said: str, pictures: list[Any]) -> list[list[int]]:
    """The row's boxes as the template writes them in the place of `<bbox>`."""
    objects = row.get("objects") or {}
    if not objects.get("bbox"):
        return []
    assert said.count("<bbox>") == len(objects["bbox"])
    assert said.count("<ref-object>") == len(objects["ref"])
    sizes = {"width": [one.width for one in pictures], "height": [one.height for one in pictures]}
    inputs = SimpleNamespace(objects=objects | sizes, images=pictures)
    template.normalize_bbox(SimpleNamespace(norm_bbox="norm1000"), inputs)
    return [[int(value) for value in box] for box in inputs.objects["bbox"]]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
