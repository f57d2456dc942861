"""The examples of docs/python.md and docs/plugins.md, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import curate

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.+?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def test_the_examples_in_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "examples"}
    examples = blocks("python.md", "python")
    assert len(examples) >= 5
    for example in examples:
        exec(compile(example, "docs/python.md", "exec"), names)
    result, park, made = (names[name] for name in ("result", "park", "made"))
    assert isinstance(result, curate.RunResult)
    assert result.rows_in == result.rows_out + sum(result.dropped.values())
    assert isinstance(park, curate.ExplainResult)
    assert (park.fate, park.reason, park.detail) == ("dropped", "image_too_small", "width=336 height=223")
    assert isinstance(made, curate.ExportResult)
    assert all((tmp_path / "tars" / name).exists() for name in made.files)
