"""Lines and documents whose rows are bare lists of turns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.curate.tasks_runs import curated

TURNS = [{"role": "user", "content": "What is red?"}, {"role": "assistant", "content": "A colour."}]
OTHER = [{"from": "human", "value": "And blue?"}, {"from": "gpt", "value": "Another one."}]


@pytest.mark.parametrize("name", ["talks.jsonl", "talks.json"])
def test_a_bare_list_of_turns_is_a_dialogue(tmp_path: Path, name: str) -> None:
    rows = [TURNS, OTHER, [], [1, 2], {"messages": [*TURNS[:1], {"role": "assistant", "content": "Tint."}]}]
    whole = "\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows)
    (tmp_path / name).write_text(whole)
    manifest, kept = curated("openai-messages", tmp_path / "out", [tmp_path / name])
    assert kept["target"].to_pylist() == ["A colour.", "Another one.", "Tint."]
    assert manifest["dropped"] == {"row_malformed": 2}
