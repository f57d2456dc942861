"""Raw text that looks like a marker is never taken for one, in any dialect: its row is dropped, or it is text."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from curate.schema import SHARD
from curate.tasks import dialect_names, load_dialect
from curate.tasks.shard_rows import shard_faults, shard_pieces
from curate.tasks.turns import PLACEHOLDERS

MARKS = sorted(
    {
        *PLACEHOLDERS,
        "<img>",
        "<imgpad>",
        *(token for name in dialect_names() for token in load_dialect(name).tokens),
    }
)


def shard(task: str, mark: str) -> pa.Table:
    """A row of a shard with the mark in each text that its task writes."""
    said = f"the {mark} tag"
    row = {"task": task, "language": "en", "text": said, "width": 64, "height": 48, "target": f" {said}"}
    row["prompt"] = f"<img>d/a.jpg</img> {said} Answer:"
    row["image"] = {"path": "d/a.jpg", "bytes": b"x"}
    row["regions"] = [{"text": said, "start": 0, "end": len(said), "quad": [1, 1, 9, 1, 9, 9, 1, 9]}]
    return pa.Table.from_pylist([row], SHARD)


@pytest.mark.parametrize("name", dialect_names())
def test_raw_text_never_becomes_an_image_or_another_token(name: str) -> None:
    dialect = load_dialect(name)
    token = re.compile("|".join(map(re.escape, sorted(dialect.tokens, key=len, reverse=True))))

    def tokens(task: str, mark: str) -> list[str]:
        pieces = shard_pieces(shard(task, mark), dialect).text.to_pylist()
        return token.findall("".join(pieces))

    for task in dialect.tasks:
        wanted = tokens(task, "plain")
        assert wanted.count("<img>" if name == "qwen-vl" else dialect.image.pad) == (task != "text")
        for mark in MARKS:
            fault = shard_faults(shard(task, mark), dialect).to_pylist()
            if mark in dialect.tokens:
                assert fault == ["text_has_control_token"], (task, mark)
            elif fault == [None]:
                assert tokens(task, mark) == wanted, (task, mark)
