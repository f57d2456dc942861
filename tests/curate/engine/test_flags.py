"""Flags by words: what the scorer's features say, kept in `extra` and judged by rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.engine.flagging import with_values
from curate.errors import CurateError
from tests.curate.runs import files, shards, write_pairs
from tests.curate.scored import HELD_OUT, SCORER, encoded
from tests.models.train_shapes import COLOURS, SHAPES, caption, draw, picture

pytest.importorskip("torch")

ROWS = 40


def prompts(*colours: str) -> list[str]:
    return [f"a {colour} {shape}" for colour in colours for shape in SHAPES]


FLAG = {
    "flags.red.prompts": prompts("red"),
    "flags.red.others": prompts(*(colour for colour in COLOURS if colour != "red")),
    "rules.is_red.column": "flags.red",
    "rules.is_red.max": 0.5,
}
SCORING = {"scorer.model": SCORER.model, "scorer.device": "cpu", "rules.clip_score_too_low": False}


def colour_of(url: str) -> str:
    return draw(np.random.default_rng(HELD_OUT + int(url.rpartition("/")[2].removesuffix(".jpg"))))[1]


def shown(number: int) -> tuple[bytes, str]:
    rng = np.random.default_rng(HELD_OUT + number)
    shape = draw(rng)
    return encoded(picture(rng, *shape, side=256)), caption(rng, *shape, language="en")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = []
    for number in range(ROWS):
        image, text = shown(number)
        rows.append(
            {"URL": f"https://shapes.example/{number}.jpg", "TEXT": f"{text} {number:03d}", "image": image}
            | {"WIDTH": 256, "HEIGHT": 256, "similarity": 0.9}
        )
    return write_pairs(tmp_path_factory.mktemp("in") / "pairs.parquet", rows)


def run(source: Path, out: Path, **settings: Any) -> curate.RunResult:
    asked = {**SCORING, **FLAG, "shard.rows": 16, **settings}
    result = curate.run("laion", out, source, settings=asked, workers=0, progress=False)
    assert isinstance(result, curate.RunResult)
    return result


@pytest.fixture(scope="module")
def flagged(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("flagged") / "out"
    run(source, out)
    return out


def test_what_a_flag_tells_is_dropped_by_its_rule(flagged: Path) -> None:
    dropped = pa.concat_tables(pq.read_table(path) for path in sorted(flagged.glob("_dropped/*.parquet")))
    red = [row for row in dropped.to_pylist() if row["reason"] == "is_red"]
    assert len(red) >= 5
    assert {row["stage"] for row in red} == {"score"}
    assert all(float(row["detail"].removeprefix("flags.red=")) > 0.5 for row in red)
    assert np.mean([colour_of(row["url"]) == "red" for row in red]) > 0.9
    assert sum(colour_of(url) == "red" for url in shards(flagged)["url"].to_pylist()) <= 1


def test_the_values_are_kept_in_extra_and_explained(flagged: Path) -> None:
    table = shards(flagged)
    extra = [json.loads(one) for one in table["extra"].to_pylist()]
    assert all(0 <= one["flags"]["red"] <= 0.5 for one in extra)
    told = curate.explain(flagged, table["url"][0].as_py())
    assert {"score"} == {step["stage"] for step in told.way if step.get("rule") == "is_red"}
    assert curate.verify(flagged, workers=0).damaged == {}


def test_the_same_run_writes_the_same_bytes(source: Path, flagged: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    assert files(tmp_path / "out") == files(flagged) != {}


def test_flags_stand_behind_what_is_in_extra() -> None:
    extra = pa.array(["{}", None, '{"a":"}é"}'], pa.large_string())
    values = {"x": pa.array([0.25, None, 1.0]), "y": pa.array([0.0, 0.5, None], pa.float64())}
    assert [json.loads(one) for one in with_values(extra, "flags", values).to_pylist()] == [
        {"flags": {"x": 0.25, "y": 0.0}},
        {"flags": {"x": None, "y": 0.5}},
        {"a": "}é", "flags": {"x": 1.0, "y": None}},
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scorer.features": False}, "told by CLIP features"),
        ({"flags.red.prompts": []}, "1 to 64 texts"),
        ({"flags.red.others": [" "]}, "1 to 64 texts"),
        ({"flags.Red.prompts": ["a"]}, "must be like 'watermark'"),
        ({"rules.is_red.column": "flags.rad"}, "there is none"),
    ],
)
def test_a_flag_that_makes_no_sense_is_refused(
    source: Path, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(CurateError, match=said):
        run(source, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()
