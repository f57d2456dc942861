from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.engine import score
from curate.engine.score import Scoring, Windows
from curate.engine.spool import Spool
from curate.schema import SAMPLE
from curate.scorer import load
from curate.scorer.weights import check_weights
from tests.curate.runs import ROOT, curate, done, dropped, files, shards, write_pairs, written
from tests.curate.scored import MODEL, SCORER, shape

torch = pytest.importorskip("torch")

ROWS, UNIT = 60, 10
LIMIT = 0.5  # own scores below it fall
ALIKE = 0.9


def pairs(folder: Path, damaged: tuple[int, ...] = ()) -> Path:
    """Shapes, every third with another one's caption; the scores that came with them are of no use."""
    rows = []
    for number in range(ROWS):
        image, text = shape(number)
        text = shape(number + 500)[1] if number % 3 == 2 else text
        rows.append(
            {"URL": f"https://shapes.example/{number}.jpg", "TEXT": f"{text} {number:03d}"}
            | {"image": image[:600] if number in damaged else image}
            | {"WIDTH": 256, "HEIGHT": 256, "similarity": -0.9}
        )
    return write_pairs(folder / "pairs.parquet", rows)


def command(source: Path, out: Path, *more: str) -> list[Any]:
    settings = [f"shard.rows={UNIT}", f"scorer.model={MODEL}", "scorer.device=cpu"]
    settings += [
        f"rules.clip_score_too_low.min_score={LIMIT}",
        f"rules.near_duplicate.max_similarity={ALIKE}",
    ]
    settings += more
    return ["run", "laion", "--input", source, "--out", out, *(w for s in settings for w in ("--set", s))]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pairs(tmp_path_factory.mktemp("in"), damaged=(7,))


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that scores, drops low scores and near duplicates."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done(*command(source, out), "--workers", "0")
    return out


def test_a_run_judges_the_scores_of_its_own_scorer(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = json.loads((whole / "_manifest.json").read_text())
    assert result["dropped"]["clip_score_too_low"] > 10
    assert result["dropped"]["damaged"] == 1
    kept = shards(whole)
    assert min(kept["clip_score"].to_pylist()) >= LIMIT
    assert result["scorer"]["dimension"] == 64
    said = json.loads(pq.read_schema(next(whole.glob("shard-*"))).metadata[b"curate"])
    assert said["scorer"] == result["scorer"]
    monkeypatch.chdir(whole)  # where the model does not lie under its relative name
    with load(str(whole), cores=1) as scorer:
        row = kept.slice(3, 1).to_pylist()[0]
        (image,), (text,) = scorer.embed_images([row["image"]["bytes"]]), scorer.embed_texts([row["text"]])
    assert np.abs(image - row["clip_features"]).max() < 1e-3
    assert image @ text == pytest.approx(row["clip_score"], abs=1e-5)
    assert json.loads(curate("verify", whole, "--json").stdout)["damaged"] == {}


def test_near_duplicates_are_those_of_a_plain_comparison_over_all_units(source: Path, whole: Path) -> None:
    out = whole.parent / "all"
    done(*command(source, out, "rules.near_duplicate=false"), "--workers", "0")
    assert "near_duplicate" not in dropped(out).values()
    everything = shards(out)
    features = np.array(everything["clip_features"].to_pylist(), np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    stays: list[int] = []
    for row, feature in enumerate(features):
        if all(feature @ features[other] <= ALIKE for other in stays):
            stays.append(row)
    assert len(stays) < len(features)
    assert shards(whole)["key"].to_pylist() == everything["key"].take(stays).to_pylist()
    fell = [r for path in (whole / "_dropped").glob("*") for r in pq.read_table(path).to_pylist()]
    fell = [row for row in fell if row["reason"] == "near_duplicate"]
    assert {row["key"] for row in fell} == {*everything["key"].to_pylist()} - {
        *shards(whole)["key"].to_pylist()
    }
    told = json.loads(curate("explain", whole, fell[0]["key"], "--json").stdout)
    assert (told["reason"], told["stage"]) == ("near_duplicate", "across")
    witness = told["detail"].rpartition(" ")[2]
    assert json.loads(curate("explain", whole, witness, "--json").stdout)["fate"] == "kept"


@pytest.mark.parametrize("workers", [1, 2])
def test_scorers_on_ray_write_the_same_bytes(source: Path, whole: Path, tmp_path: Path, workers: int) -> None:
    done(*command(source, tmp_path / "run"), "--workers", workers)
    assert files(tmp_path / "run") == files(whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_a_random_moment_a_scoring_run_resumes_to_the_same_bytes(
    source: Path, whole: Path, tmp_path: Path, workers: int
) -> None:
    out, lottery = tmp_path / "run", random.Random(workers)
    arguments = [*command(source, out), "--workers", workers]
    for _ in range(int(os.environ.get("CURATE_KILLS", "1"))):
        begun = written(out)
        enough = begun + lottery.randint(1, len(files(whole)))
        killed = curate(*arguments, until=lambda: written(out) >= enough)  # noqa: B023
        assert begun or killed.returncode == -signal.SIGKILL
        assert files(out).items() <= files(whole).items()
    assert curate(*arguments).returncode == 0
    assert files(out) == files(whole)


@pytest.mark.parametrize("damaged", ["shard-000002.parquet", "_dropped/dropped-000000.parquet"])
def test_a_damaged_file_of_a_scoring_run_is_made_anew(whole: Path, tmp_path: Path, damaged: str) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    (out / damaged).write_bytes(b"nothing")
    curate("verify", out, "--repair")
    if damaged.startswith("shard"):
        assert files(out) == files(whole)
    assert (out / damaged).read_bytes() != b"nothing"


@pytest.fixture(scope="module")
def scorer_here() -> Iterator[Scoring]:
    opened = Scoring(SCORER, cores=1)
    yield opened
    opened.close()


def test_scores_do_not_depend_on_the_order_in_which_images_come(
    scorer_here: Scoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "WINDOW", 8)
    bodies = [shape(number) for number in range(30)]
    texts = pa.chunked_array([[text for _, text in bodies]])
    table = pa.table([pa.nulls(30, field.type) for field in SAMPLE], schema=SAMPLE)
    missing, dead = {5, 16, 17, 18, 19, 20, 21, 22, 23}, {2, 29}

    def scored(order: list[int]) -> pa.Table:
        with Spool() as spool, Windows(scorer_here, spool) as windows:
            for row in sorted({*range(30)} - dead):
                windows.expect(row)
            windows.read(texts.slice(0, 10))
            windows.read(texts.slice(10))
            for row in order:
                if row not in missing:
                    spool.put(row, bodies[row][0])
                windows.settle(row)
            return windows.fill(table)

    rows = sorted({*range(30)} - dead)
    straight = scored(rows)
    assert np.flatnonzero(straight["clip_score"].is_null().to_numpy()).tolist() == sorted(missing | dead)
    for seed in range(3):
        assert scored(random.Random(seed).sample(rows, len(rows))).equals(straight)


def test_a_scorer_that_cannot_be_had_ends_the_run_with_its_error(tmp_path: Path) -> None:
    source, model = pairs(tmp_path), tmp_path / "model"
    model.mkdir()
    for path in (ROOT / MODEL).iterdir():
        (model / path.name).write_bytes(path.read_bytes()[: 500 if path.suffix == ".safetensors" else None])
    for workers in (0, 1):
        out = tmp_path / f"out-{workers}"
        ended = curate(*command(source, out, f"scorer.model={model}"), "--workers", workers)
        assert (ended.returncode, len(ended.stderr.splitlines()[-1:])) == (3, 1), ended.stderr
        assert "cannot load" in ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("damage", ["cut", "code", "html", "empty", "legacy"])
def test_weights_that_cannot_be_read_are_found_before_anything_is_written(
    source: Path, tmp_path: Path, damage: str
) -> None:
    weights = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(1000)}, weights)
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-500])
    elif damage == "code":
        torch.save({"a": os.system}, weights)
    elif damage == "html":
        weights.write_text("<!doctype html><title>404</title>")
    elif damage == "empty":
        torch.save({}, weights)
    else:
        torch.save({"a": torch.zeros(1000)}, weights, _use_new_zipfile_serialization=False)
        weights.write_bytes(weights.read_bytes()[:100])
    arguments = command(source, tmp_path / "run", f"scorer.pretrained={weights}")
    ended = curate(*arguments, "--workers", "0")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (3, 1), ended.stderr
    assert f"cannot load {weights}" in ended.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_of_torchs_old_and_new_form_are_opened(tmp_path: Path, zipped: bool) -> None:
    weights = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(1000)}, weights, _use_new_zipfile_serialization=zipped)
    check_weights(weights)


@pytest.mark.parametrize(
    ("setting", "code", "says"),
    [
        ("scorer.model=ViT-L14", 2, "did you mean 'ViT-L-14'"),
        ("scorer.pretrained=gone/weights.pt", 2, "no weights file"),
        ("scorer.features=false", 2, "rule 'near_duplicate' compares CLIP features"),
        ("rules.near_duplicate.max_similarity=1.5", 2, "a cosine, above 0 and at most 1, not 1.5"),
        ("scorer.device=cuda", 3, "0 usable GPUs"),
    ],
)
def test_a_scorer_that_is_not_there_is_missed_before_anything_is_read_or_written(
    source: Path, tmp_path: Path, setting: str, code: int, says: str
) -> None:
    if code == 3 and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    arguments = command(source, tmp_path / "run")
    ended = curate(*arguments, "--set", setting, "--workers", "2")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (code, 1), ended.stderr
    assert says in ended.stderr
    assert not (tmp_path / "run").exists()


def test_near_duplicates_need_a_scorer(source: Path, tmp_path: Path) -> None:
    ended = curate(
        "run", "laion", "--input", source, "--out", tmp_path / "run",
        "--set", "rules.near_duplicate.max_similarity=0.9",
    )  # fmt: skip
    assert ended.returncode == 2
    assert "give it a [scorer]" in ended.stderr
