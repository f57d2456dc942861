"""Heads: small models in child processes, whose values rules read."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curate
from curate.errors import CurateError, ManifestError
from curate.manifest.pinning import NAMED_HEADS
from curate.manifest.settings import HeadSettings
from curate.scorer.heads import Heads, model_path
from tests.curate.runs import curate as command
from tests.curate.runs import files, shards, write_pairs
from tests.curate.scored import encoded
from tests.models.onnx_head import redness

pytest.importorskip("onnxruntime")

FIRST = ("n", 3, 12, 16)  # channels first, 12 high and 16 wide


def plain(red: int, side: int = 200) -> bytes:
    """A picture with so much red, and a little grain."""
    grain = np.random.default_rng(red).integers(0, 8, (side, side, 3))
    grain[..., 0] += red
    return encoded(Image.fromarray(grain.astype(np.uint8)), "PNG")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {"URL": f"https://plain.example/{n}.png", "TEXT": f"a plain picture {n:03d}", "image": plain(24 * n)}
        | {"WIDTH": 200, "HEIGHT": 200, "similarity": 0.9}
        for n in range(10)
    ]
    return write_pairs(tmp_path_factory.mktemp("in") / "pairs.parquet", rows)


def head(folder: Path, content: bytes) -> dict[str, Any]:
    (folder / "model.onnx").write_bytes(content)
    rule = {"rules.too_red.column": "heads.red", "rules.too_red.max": 0.5}
    return {"heads.red.model": str(folder / "model.onnx"), **rule}


def run(source: Path, out: Path, settings: dict[str, Any]) -> curate.RunResult:
    result = curate.run(
        "laion", out, source, settings={"shard.rows": 4, **settings}, workers=0, progress=False
    )
    assert isinstance(result, curate.RunResult)
    return result


def test_a_rule_judges_what_a_head_says(source: Path, tmp_path: Path) -> None:
    settings = head(tmp_path, redness())
    result = run(source, tmp_path / "out", settings)
    assert result.dropped == {"too_red": 4}
    values = [json.loads(one)["heads"]["red"] for one in shards(tmp_path / "out")["extra"].to_pylist()]
    assert values == pytest.approx([(24 * n + 3.5) / 255 for n in range(6)], abs=0.005)
    dropped = pa.concat_tables(pq.read_table(path) for path in sorted((tmp_path / "out").glob("_dropped/*")))
    assert {row["stage"] for row in dropped.to_pylist()} == {"score"}
    assert all(row["detail"].startswith("heads.red=0.") for row in dropped.to_pylist())
    told = curate.explain(tmp_path / "out", "https://plain.example/0.png")
    assert {step["stage"] for step in told.way if step.get("rule") == "too_red"} == {"score"}
    assert curate.verify(tmp_path / "out", workers=0).damaged == {}
    run(source, tmp_path / "again", settings)
    assert files(tmp_path / "again") == files(tmp_path / "out")


def test_channels_sides_and_activations_are_as_the_settings_say(tmp_path: Path) -> None:
    (tmp_path / "first.onnx").write_bytes(redness(FIRST, reduce=(2, 3)))
    first = HeadSettings(model=str(tmp_path / "first.onnx"))
    heads = {
        "red": first,
        "blue": HeadSettings(model=first.model, channels="bgr"),
        "soft": HeadSettings(model=first.model, activation="softmax"),
        "green": HeadSettings(model=first.model, output=0, mean=(0, 5, 0), std=(1, 1, 1)),
    }
    with Heads(heads, 1) as opened:
        found = opened.values([plain(100), None, b"no image", plain(100)[:3000]])
    grain = 3.5 / 255
    assert found["red"] == [pytest.approx(100 / 255 + grain, abs=0.005), None, None, None]
    assert found["blue"][0] == pytest.approx(grain, abs=0.005)
    assert found["soft"][0] == pytest.approx(1 / (1 + np.exp(-100 / 255)), abs=0.005)
    assert found["green"][0] == pytest.approx(-1.5, abs=0.2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (redness(("n", 16, 2000, 3)), r"has the inputs tensor\(float\) .*2000, 3\]: a head has one"),
        (redness(("n", "h", "w", 3)), "a head has one"),
        (redness((8, 16, 16, 3)), "a head has one"),
        (redness(outside=True), "has weights in other files"),
        (redness(operator="Phone"), "is no model that onnxruntime runs by itself"),
        (b"no model", "is no model that onnxruntime runs by itself"),
    ],
)
def test_a_model_that_is_no_head_stops_before_anything_is_written(
    source: Path, tmp_path: Path, content: bytes, said: str
) -> None:
    with pytest.raises(ManifestError, match=said) as refused:
        run(source, tmp_path / "out", head(tmp_path, content))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"heads.red.output": 5}, "K more than output = 5"),
        ({"heads.red.std": [1, 0, 1]}, "std above 0"),
        ({"heads.red.crop": 3.0}, "crop from 0.1 to 1"),
        ({"heads.red.model": "missing.onnx"}, "cannot read"),
        ({"heads.red.model": "https://example.org/model.onnx"}, "cannot read"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    source: Path, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(CurateError, match=said):
        run(source, tmp_path / "out", {**head(tmp_path, redness()), **settings})
    assert not (tmp_path / "out").exists()


def test_another_model_is_another_run(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out", head(tmp_path, redness()))
    with pytest.raises(CurateError, match="heads"):
        run(source, tmp_path / "out", head(tmp_path, redness(("n", 24, 24, 3))))


def test_the_named_head_says_which_package_brings_it(source: Path, tmp_path: Path) -> None:
    named = NAMED_HEADS["open_nsfw"]
    if importlib.util.find_spec(named.module) is not None:
        assert model_path(HeadSettings(model="open_nsfw")).name == named.file
        return
    said = command(
        "run", "laion", "--input", source, "--out", tmp_path / "out", "--set", "heads.nsfw.model=open_nsfw"
    )
    assert (said.returncode, said.stderr.count("\n")) == (3, 1), said.stderr
    assert named.package in said.stderr
