"""The example of benchmarks/dialogue_training.py, small: dialogues from their file to a training that is resumed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.curate.runs import ROOT
from tests.curate.tasks_runs import write_json, write_picture

for name in ("torch", "transformers", "tiktoken"):
    pytest.importorskip(name)


def test_dialogues_are_trained_on_stopped_and_gone_on_with(tmp_path: Path) -> None:
    rows = []
    for number in range(6):
        write_picture(tmp_path / f"{number}.jpg", 60 + 40 * number, 90)
        asked = [
            {"from": "human", "value": f"<image>\nWhat is number {number}?"},
            {"from": "gpt", "value": "Grey."},
        ]
        rows.append({"image": f"{number}.jpg", "conversations": asked * 2})
    rows = [{**row, "conversations": _once(row["conversations"])} for row in rows]
    talks = write_json(tmp_path / "talks.json", rows)
    command = [
        sys.executable,
        "-m",
        "benchmarks.dialogue_training",
        f"llava-instruct={talks}",
        "--steps",
        "6",
    ]
    done = subprocess.run(
        [*command, "--stop", "2", "--seq-len", "128", "--max-pixels", "12544"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 dialogues, 6 kept" in done.stdout
    assert "stopped after 2 and resumed: the same losses" in done.stdout
    assert "tokens" in done.stdout


def _once(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """The turns with an image in the first alone."""
    return [turns[0], *({**turn, "value": turn["value"].removeprefix("<image>\n")} for turn in turns[1:])]
