"""Exports read by the trainers' own code, where it is installed."""

from __future__ import annotations

import importlib.util
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
    make_shards(tmp_path / "shards", rows=80, shards=1, tasks=("caption", "vqa", "referring", "text"))
    write_picture(tmp_path / "a.jpg", 64, 48)
    turns = [{"from": "human", "value": "<image> or <image>?"}, {"from": "gpt", "value": "The first."}]
    system = [{"from": "system", "value": "Be short."}]
    rows = [
        {"image": ["a.jpg", "a.jpg"], "conversations": system + turns},
        {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
    ]
    curated("llava-instruct", tmp_path / "talks", [write_json(tmp_path / "talks.json", rows)])
    for shards, expected in (("shards", "60 examples, 60 images"), ("talks", "2 examples, 2 images")):
        export(str(tmp_path / shards), to, str(tmp_path / f"out-{shards}"))
        read = subprocess.run(
            [sys.executable, "-m", "tests.curate.exporting.llama_factory", str(tmp_path / f"out-{shards}")],
            cwd=ROOT, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert read.returncode == 0, read.stderr
        assert read.stdout.strip() == expected
