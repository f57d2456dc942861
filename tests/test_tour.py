"""docs/tour.md is run, command by command, in the order in which it is read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
TOUR = ROOT / "docs" / "tour.md"


class Step(NamedTuple):
    language: str  # sh or python
    code: str
    output: str  # what the page says comes out; may be empty


def steps() -> Iterator[Step]:
    """The page's blocks of code, each with the block of output behind it, if there is one."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", TOUR.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for (language, code), (after, output) in zip(blocks, [*blocks[1:], ("sh", "")], strict=True):
        if language:
            yield Step(language, code, "" if after else output)


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def follows(told: list[str], shown: list[str]) -> bool:
    """Whether the lines told come in that order; `…` stands for any lines, at a line's end for any rest."""
    places = iter(shown)
    return all(
        any(line.startswith(want.removesuffix("…").strip()) for line in places)
        for want in told
        if want != "…"
    )


def test_every_command_of_the_tour_runs_and_shows_what_the_page_says(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "curate").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m curate "$@"\n')
    (bin / "curate").chmod(0o755)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{bin}:{os.environ['PATH']}"}
    found = list(steps())
    assert len(found) > 8
    for step in found:
        command = ["sh", "-eu", "-c"] if step.language == "sh" else [sys.executable, "-c"]
        done = subprocess.run(
            [*command, step.code],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{step.code}\n{done.stdout}"
        assert follows(squeezed(step.output), squeezed(done.stdout)), f"{step}\n{done.stdout}"
