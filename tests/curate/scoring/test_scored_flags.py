"""Flags and heads of shards that are finished, told by `curate score --flags FILE`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.engine.flagging import with_values
from curate.errors import CurateError
from tests.curate.runs import curate as command
from tests.curate.runs import files, shards, write_pairs
from tests.curate.scored import SCORER, run_shapes, shape
from tests.curate.tasks_runs import curated, write_json
from tests.models.onnx_head import redness

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

WORDS = """
[flags.red]
prompts = ["a red circle", "a red square"]
others = ["a blue circle", "a blue square"]
"""
HEAD = """
[heads.redness]
model = "model.onnx"
"""
RULES = """
[rules.too_red]
column = "heads.redness"
max = 0.45

[rules.says_red]
column = "flags.red"
max = 0.9
"""
ROWS, UNIT = 24, 12


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_shapes(tmp_path_factory.mktemp("plain") / "run", ROWS, UNIT)


def asked(folder: Path, text: str) -> Path:
    (folder / "model.onnx").write_bytes(redness())
    (folder / "models.toml").write_text(text)
    return folder / "models.toml"


def score(folder: Path, flags: Path, **settings: object) -> curate.RunResult:
    return curate.score(
        folder, model=SCORER.model, device="cpu", flags=flags, workers=0, progress=False, **settings
    )  # type: ignore[arg-type]


def copied(folder: Path, where: Path) -> Path:
    return Path(shutil.copytree(folder, where / "run"))


def dropped(folder: Path) -> list[dict[str, object]]:
    return [row for path in sorted(folder.glob("_dropped/*")) for row in pq.read_table(path).to_pylist()]


def test_finished_shards_get_what_a_run_would_have_given_them(plain: Path, tmp_path: Path) -> None:
    flags = asked(tmp_path, WORDS + HEAD + RULES)
    folder = copied(plain, tmp_path)
    scored = score(folder, flags)
    rows = []
    for number in range(ROWS):  # as in `run_shapes`
        image, text = shape(number)
        text = shape(number + 500)[1] if number % 3 == 2 else text
        rows.append(
            {"URL": f"https://shapes.example/{number}.jpg", "TEXT": f"{text} {number:03d}", "image": image}
            | {"WIDTH": 256, "HEIGHT": 256, "similarity": 0.4}
        )
    settings = {
        "scorer.model": SCORER.model,
        "scorer.device": "cpu",
        "rules.clip_score_too_low": False,
        "shard.rows": UNIT,
        "heads.redness.model": str(tmp_path / "model.onnx"),
        "flags.red.prompts": ["a red circle", "a red square"],
        "flags.red.others": ["a blue circle", "a blue square"],
        "rules.too_red.column": "heads.redness",
        "rules.too_red.max": 0.45,
        "rules.says_red.column": "flags.red",
        "rules.says_red.max": 0.9,
    }
    source = write_pairs(tmp_path / "pairs.parquet", rows)
    at_once = curate.run("laion", tmp_path / "once", source, settings=settings, workers=0, progress=False)
    assert isinstance(at_once, curate.RunResult)
    assert scored.dropped == at_once.dropped
    assert {"too_red", "says_red"} <= set(scored.dropped)
    for column in ("key", "extra", "clip_score", "clip_features"):
        assert shards(folder)[column].to_pylist() == shards(tmp_path / "once")[column].to_pylist()
    said = [{key: row[key] for key in ("key", "reason", "stage", "detail")} for row in dropped(folder)]
    once = [
        {key: row[key] for key in ("key", "reason", "stage", "detail")} for row in dropped(tmp_path / "once")
    ]
    assert said == once
    assert curate.verify(folder, workers=0).damaged == {}
    before = files(folder)
    score(folder, flags)
    assert files(folder) == before


def test_a_flag_more_stands_beside_those_that_are_there(plain: Path, tmp_path: Path) -> None:
    folder = copied(plain, tmp_path)
    score(folder, asked(tmp_path, WORDS))
    values = [json.loads(one)["flags"]["red"] for one in shards(folder)["extra"].to_pylist()]
    score(folder, asked(tmp_path, WORDS.replace("flags.red", "flags.rot") + HEAD))
    extra = [json.loads(one) for one in shards(folder)["extra"].to_pylist()]
    assert [one["flags"] for one in extra] == [{"red": value, "rot": value} for value in values]
    assert all(0 <= one["heads"]["redness"] <= 1 for one in extra)
    assert curate.verify(folder, workers=0).damaged == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RULES, "neither [flags.NAME] nor [heads.NAME]"),
        (WORDS + RULES, "rule 'too_red' must have a column flags.NAME or heads.NAME of this file"),
        (WORDS + '[scorer]\nmodel = "x"\n', "has 'scorer': it may have the tables flags.NAME"),
        (WORDS.replace("prompts", "prompt"), "no key 'prompt'"),
        (HEAD.replace("model.onnx", "other.onnx"), "No such file"),
        (HEAD + "output = 5\n", "K more than output = 5"),
        ("[", "is not TOML"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line_and_nothing_is_touched(
    plain: Path, tmp_path: Path, text: str, said: str
) -> None:
    before = files(plain)
    with pytest.raises(CurateError) as refused:
        score(plain, asked(tmp_path, text))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert files(plain) == before


def test_a_field_of_the_source_is_not_taken_for_a_flag() -> None:
    extra = pa.array(['{"a":1}', '{"flags":"US"}'], pa.string())
    with pytest.raises(CurateError, match="field 'flags' of its source"):
        with_values(extra, "flags", {"red": pa.array([0.5, 0.5])})


def test_names_and_flags_do_not_go_together(plain: Path, tmp_path: Path) -> None:
    refused = command(
        "score", plain, "--model", SCORER.model, "--name", "x", "--flags", asked(tmp_path, WORDS)
    )
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].endswith("--flags writes into the shards: give it without --name")


def test_heads_need_no_scorer(plain: Path, tmp_path: Path) -> None:
    folder, flags = copied(plain, tmp_path), asked(tmp_path, HEAD + RULES.partition("[rules.says_red]")[0])
    told = curate.score(folder, model="none", flags=flags, workers=0, progress=False)
    assert told.dropped["too_red"] == sum(row["reason"] == "too_red" for row in dropped(folder)) > 0
    table = shards(folder)
    assert table["clip_features"].null_count == table.num_rows
    assert table["clip_score"].to_pylist() == pytest.approx([0.4] * table.num_rows)  # as published
    assert all(json.loads(one)["heads"]["redness"] <= 0.45 for one in table["extra"].to_pylist())
    assert curate.verify(folder, workers=0).damaged == {}
    before = files(folder)
    curate.score(folder, model="none", flags=flags, workers=0, progress=False)
    assert files(folder) == before
    with pytest.raises(CurateError, match="told by CLIP features"):
        curate.score(folder, model="none", flags=asked(tmp_path, WORDS), workers=0, progress=False)
    with pytest.raises(CurateError, match="--model none is for heads alone"):
        curate.score(folder, model="none", workers=0, progress=False)


SHOWN = [(0,), (1,), (2,), (0, 1), (2, 1), (0, 1, 2), ()]


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dialogues of SHOWN's shapes, in their order; the last one is of text alone."""
    folder = tmp_path_factory.mktemp("talks")
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(shape(number)[0])
    rows = [
        {
            "image": [f"{number}.jpg" for number in shown],
            "conversations": [
                {"from": "human", "value": "<image>" * len(shown) + "What?"},
                {"from": "gpt", "value": f"It is {place}."},
            ],
        }
        for place, shown in enumerate(SHOWN)
    ]
    curated("llava-instruct", folder / "run", [write_json(folder / "talks.json", rows)])
    return folder / "run"


@pytest.mark.parametrize(("limit", "worst"), [("max = 2.0", max), ("min = -1.0", min)])
def test_a_dialogue_is_as_bad_as_the_worst_of_its_images(
    talks: Path, tmp_path: Path, limit: str, worst: Callable[[list[float]], float]
) -> None:
    folder = copied(talks, tmp_path)
    rules = f"""
[rules.too_red]
column = "heads.redness"
null = "keep"
{limit}
[rules.says_red]
column = "flags.red"
null = "keep"
{limit}
"""
    curate.score(folder, model=SCORER.model, device="cpu", workers=0, progress=False)
    score(folder, asked(tmp_path, WORDS + HEAD + rules))  # the shard keeps a dialogue's mean feature alone
    extra = [json.loads(one) for one in shards(folder)["extra"].to_pylist()]
    for group, name in (("flags", "red"), ("heads", "redness")):
        values = [one[group][name] for one in extra]
        single = values[:3]
        assert len(set(single)) == 3
        assert values[3:6] == [worst([single[number] for number in shown]) for shown in SHOWN[3:6]]
        assert values[6] is None
    assert curate.verify(folder, workers=0).damaged == {}


def test_a_dialogue_falls_for_one_image(talks: Path, tmp_path: Path) -> None:
    told, folder = copied(talks, tmp_path / "told"), copied(talks, tmp_path)
    curate.score(told, model="none", flags=asked(tmp_path, HEAD), workers=0, progress=False)
    found = [json.loads(one)["heads"]["redness"] for one in shards(told)["extra"].to_pylist()]
    single = found[:3]
    limit = sorted(single)[1]
    rule = f'[rules.too_red]\ncolumn = "heads.redness"\nnull = "keep"\nmax = {limit}\n'
    done = curate.score(folder, model="none", flags=asked(tmp_path, HEAD + rule), workers=0, progress=False)
    reddest = single.index(max(single))
    assert done.dropped["too_red"] == sum(reddest in shown for shown in SHOWN)
    assert {row["detail"] for row in dropped(folder)} == {f"heads.redness={max(single)}"}
