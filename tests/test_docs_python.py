"""The examples of docs/python.md and docs/plugins.md, run as they stand."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pyarrow.compute as pc
import pytest

import curate
from tests.curate.runs import curate as command
from tests.curate.runs import dropped, shards

DOCS = Path(__file__).parent.parent / "docs"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(DOCS.parent)}


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


def test_the_plug_in_of_the_documents_runs(tmp_path: Path) -> None:
    for language in ("python", "toml"):
        for text in blocks("plugins.md", language):
            (tmp_path / text.partition("\n")[0].removeprefix("# ")).write_text(text)
    (commands,) = blocks("plugins.md", "sh")
    assert len(commands.splitlines()) == 3
    for line in commands.splitlines():
        done = command(*line.removeprefix("curate ").split(), cwd=tmp_path, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr
    texts = shards(tmp_path / "shards")["text"]
    assert not pc.any(pc.match_substring_regex(texts, "(?i)sale|discount|skyline|[“”‘’]")).as_py()
    reasons = set(dropped(tmp_path / "shards").values())
    assert "text_speaks_of" in reasons
    assert "text_missing" not in reasons  # the adapter's doing
    assert set(dropped(tmp_path / "again").values()) == {"text_speaks_of"}
