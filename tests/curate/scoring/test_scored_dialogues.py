"""`score`, `verify`, `report` and `explain` of dialogues."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("torch")

import curate
from curate import reporting
from curate.reporting.explain import explain, lines
from curate.scoring import score
from curate.storage.image_index import LEAVES, read_index
from curate.verifying.command import verify
from tests.curate.runs import shards
from tests.curate.scored import SCORER, asked, cosines, plain_features, shape
from tests.curate.tasks_runs import curated, write_json


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dialogue of two shapes, one of one, and one of text alone."""
    folder = tmp_path_factory.mktemp("talks")
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(shape(number)[0])
    said = [(["0.jpg", "1.jpg"], "<image><image>Which?"), (["2.jpg"], "<image>What?"), ([], "Why?")]
    rows = [
        {
            "image": images,
            "conversations": [{"from": "human", "value": asks}, {"from": "gpt", "value": f"It is {n}."}],
        }
        for n, (images, asks) in enumerate(said)
    ]
    curated("llava-instruct", folder / "out", [write_json(folder / "talks.json", rows)])
    return folder / "out"


def test_a_dialogue_is_scored_by_the_mean_of_its_images(talks: Path) -> None:
    before = shards(talks).drop_columns(["clip_score", "clip_features"])
    score(str(talks), asked())
    table = shards(talks)
    assert table.drop_columns(["clip_score", "clip_features"]).equals(before)
    assert table["clip_score"].is_valid().to_pylist() == [True, True, False]
    images, texts = plain_features(
        [one["bytes"] for row in table["images"].to_pylist() for one in row],
        [table["text"][row].as_py() for row in (0, 0, 1)],
    )
    each = cosines(images, texts)
    expected = [(each[0] + each[1]) / 2, each[2]]
    np.testing.assert_allclose(table["clip_score"].to_pylist()[:2], expected, atol=5e-3)
    feature = np.array(table["clip_features"][0].as_py(), np.float32)
    mean = images[0] + images[1]
    assert float(feature @ mean / np.linalg.norm(mean) / np.linalg.norm(feature)) > 0.999
    assert verify(str(talks))["damaged"] == {}


def test_a_run_scores_dialogues_as_score_does(talks: Path, tmp_path: Path) -> None:
    score(str(talks), asked())
    settings = {"scorer.model": SCORER.model, "scorer.device": "cpu"}
    inputs = [talks.parent / "talks.json"]
    curate.run("llava-instruct", out=tmp_path / "all", inputs=inputs, settings=settings, workers=0)
    assert shards(tmp_path / "all").equals(shards(talks))
    settings["rules.clip_score_too_low.min_score"] = 1.0
    fell = curate.run("llava-instruct", out=tmp_path / "low", inputs=inputs, settings=settings, workers=0)
    assert fell.dropped == {"clip_score_too_low": 2}
    assert shards(tmp_path / "low")["text"].to_pylist() == ["Why?\nIt is 2."]  # text alone is no pair


def test_a_report_shows_turns_and_images(talks: Path) -> None:
    reporting.write(str(talks))
    page = (talks / "report.html").read_text()
    assert page.count('<img src="data:image/') >= 3
    assert "Images a dialogue" in page
    assert "Turns a dialogue" in page
    assert "It is 0." in page


def test_explain_says_what_is_shown_and_said(talks: Path) -> None:
    row = shards(talks).to_pylist()[0]
    told = explain(str(talks), row["key"])
    assert [turn["role"] for turn in told["messages"]] == ["user", "assistant"]
    assert [one["path"] for one in told["images"]] == [one["path"] for one in row["images"]]
    said = "\n".join(lines(told))
    assert row["images"][1]["path"] in said
    assert "Which?" in said


def test_verify_names_a_dialogue_image_that_was_changed(talks: Path) -> None:
    path = next(talks.glob("shard-*.parquet"))
    whole, index = path.read_bytes(), read_index(pq.ParquetFile(path), LEAVES[1])
    assert index is not None
    body, place = bytearray(whole), int(index[0].offset[1])
    body[place : place + 40] = b"\0" * 40
    path.write_bytes(bytes(body))
    assert path.name in verify(str(talks))["damaged"]
    path.write_bytes(whole)


def test_verify_names_messages_that_do_not_fit_the_images(talks: Path) -> None:
    from tests.curate.scored import change_rows

    manifest, path = talks / "_manifest.json", next(talks.glob("shard-*.parquet"))
    kept = manifest.read_bytes(), path.read_bytes()
    change_rows(talks, lambda rows: rows[0]["images"].pop())
    problems = json.dumps(verify(str(talks))["damaged"])
    assert "a prompt or target is not what its row's columns say" in problems
    manifest.write_bytes(kept[0])
    path.write_bytes(kept[1])
