"""Shards that other software wrote: a row that cannot be costs itself alone, in packs and in exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import api
from curate.schema import SHARD, shard_metadata
from tests.curate.packing.test_pack_dialect import picture

IMAGE = picture(64, 48)


def talk(asked: str | None, *images: bytes | None, **more: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": asked}, {"role": "assistant", "content": "b"}]
    shown = [{"bytes": body, "path": f"d/{number}.jpg"} for number, body in enumerate(images)]
    return {"task": "conversation", "messages": said, "images": shown} | more


ROWS: list[dict[str, Any]] = [
    talk("<image>a", IMAGE),
    talk("a", messages=[]),
    talk("a", messages=None),
    talk(None),
    talk("<image><image>a", IMAGE),
    talk("<image>a", images=[None]),
    talk("<image>a", b"junk"),
    {"task": "dancing", "image": {"bytes": IMAGE, "path": "d/x.jpg"}, "width": 64, "height": 48},
    {"task": None, "image": {"bytes": IMAGE, "path": "d/y.jpg"}, "width": 64, "height": 48},
]
TALKS = {"text_missing": 2, "turn_empty": 1, "image_count": 1, "image_missing": 1}
ALL = TALKS | {"not_an_image": 1, "task_not_in_dialect": 1, "task_missing": 1}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = {"dataset": "d", "language": "en", "text": "x", "prompt": "p", "target": "b", "source": "s"}
    rows = [given | {"key": f"{number:032x}"} | row for number, row in enumerate(ROWS)]
    folder = tmp_path_factory.mktemp("foreign")
    schema = SHARD.with_metadata(shard_metadata("elsewhere"))
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "shard-000000.parquet")
    return folder


@pytest.mark.parametrize(
    ("to", "dropped"),
    [("webdataset", TALKS), ("mds", TALKS), ("qwen-vl", TALKS), ("qwen3-vl", ALL), ("ms-swift", ALL)],
)
def test_an_export_drops_what_cannot_be_by_name(
    shards: Path, tmp_path: Path, to: str, dropped: dict[str, int]
) -> None:
    made = api.export(shards, to, tmp_path / "out", workers=0)
    assert made.dropped == dropped
    assert made.rows_out == len(ROWS) - sum(dropped.values())


def test_a_pack_drops_what_cannot_be_by_name(shards: Path, tmp_path: Path) -> None:
    made = api.pack(shards, tmp_path / "out", dialect="qwen3-vl", workers=0)
    assert (made.dropped, made.rows_out) == (ALL, 1)
    fell = pq.read_table(tmp_path / "out" / "_dropped").to_pylist()
    said = {row["reason"]: row["detail"] for row in fell}
    assert said["not_an_image"] == "image 1: begins with b'junk'"
    assert said["task_not_in_dialect"] == "task=dancing dialect=qwen3-vl"
    plain = api.pack(
        shards, tmp_path / "plain", workers=0
    )  # qwen-vl's images cost the same whatever they are
    assert plain.dropped == TALKS | {"task_missing": 1}
