"""Exports read by the trainers' own code, where it is installed."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from curate.exporting import export
from tests.curate.made_shards import make_shards
from tests.curate.runs import ROOT
from tests.curate.tasks_runs import curated, write_json, write_picture


@pytest.mark.skipif(importlib.util.find_spec("llamafactory") is None, reason="needs llamafactory")
@pytest.mark.parametrize("to", ["llama-factory", "qwen-vl"])
def test_llama_factory_takes_every_example_with_its_images(tmp_path: Path, to: str) -> None:
    samples(tmp_path)
    for shards, expected in (("shards", "60 examples, 60 images"), ("talks", "2 examples, 2 images")):
        export(str(tmp_path / shards), to, str(tmp_path / f"out-{shards}"))
        assert read_by("llama_factory", tmp_path / f"out-{shards}") == expected


@pytest.mark.skipif(importlib.util.find_spec("swift") is None, reason="needs ms-swift")
def test_ms_swift_takes_every_example_and_writes_its_boxes_as_curate_does(tmp_path: Path) -> None:
    samples(tmp_path)
    for shards, expected in (("shards", "80 examples, 60 images"), ("talks", "2 examples, 2 images")):
        export(str(tmp_path / shards), "ms-swift", str(tmp_path / f"out-{shards}"))
        taken, _, boxes = read_by("ms_swift", tmp_path / f"out-{shards}").partition(", boxes ")
        assert taken == expected
        export(str(tmp_path / shards), "llama-factory", str(tmp_path / f"own-{shards}"), dialect="qwen2-vl")
        said = (tmp_path / f"own-{shards}" / "messages.jsonl").read_text()
        ours = re.findall(r"\((\d+),(\d+)\),\((\d+),(\d+)\)", said)
        assert json.loads(boxes) == [[int(one) for one in box] for box in ours]


def samples(folder: Path) -> None:
    """Shards of single samples, and of dialogues, in two folders."""
    make_shards(folder / "shards", rows=80, shards=1, tasks=("caption", "vqa", "referring", "text"))
    write_picture(folder / "a.jpg", 64, 48)
    turns = [{"from": "human", "value": "<image> or <image>?"}, {"from": "gpt", "value": "The first."}]
    system = [{"from": "system", "value": "Be short."}]
    rows = [
        {"image": ["a.jpg", "a.jpg"], "conversations": system + turns},
        {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
    ]
    curated("llava-instruct", folder / "talks", [write_json(folder / "talks.json", rows)])


def read_by(trainer: str, export_folder: Path) -> str:
    """What that module of this folder prints of an export."""
    read = subprocess.run(
        [sys.executable, "-m", f"tests.curate.exporting.{trainer}", str(export_folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert read.returncode == 0, read.stderr
    return read.stdout.strip().rpartition("\n")[2]
