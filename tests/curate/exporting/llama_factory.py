"""An export read by LLaMA-Factory's own code: its converter, and its check of images and placeholders.

Run by itself (`python -m tests.curate.exporting.llama_factory FOLDER`), as torchvision and torchaudio may have to be
stood in for. Prints how many examples it took, and with how many images.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.image_costs import allow_torchvision


def data_package() -> Any:
    """LLaMA-Factory's modules of data."""
    allow_torchvision()
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
        sys.modules["torchaudio"].__spec__ = ModuleSpec("torchaudio", None)
    names = ("converter", "parser", "mm_plugin")
    return SimpleNamespace(**{name: importlib.import_module(f"llamafactory.data.{name}") for name in names})


def main(folder: Path) -> None:
    """Read the data set `curate` of an export."""
    factory = data_package()
    (described,) = factory.parser.get_dataset_list(["curate"], str(folder))
    arguments = SimpleNamespace(media_dir=str(folder))
    convert = factory.converter.get_dataset_converter(described.formatting, described, arguments)
    plugin = factory.mm_plugin.get_mm_plugin(
        "qwen2_vl", image_token="<|image_pad|>", video_token="<|video_pad|>"
    )
    taken = images = 0
    for line in (folder / described.dataset_name).read_text(encoding="utf-8").splitlines():
        example = convert(json.loads(line))
        shown = example["_images"] or []
        assert all(Path(path).is_file() for path in shown)
        messages = example["_prompt"] + example["_response"]
        plugin._validate_messages(messages, shown, [], [])
        taken, images = taken + bool(example["_response"]), images + len(shown)
    print(f"{taken} examples, {images} images")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
