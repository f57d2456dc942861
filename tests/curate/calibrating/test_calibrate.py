"""What each rule drops of a sample, and the threshold that keeps a share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate as package
from curate.calibrating.blocks import draw_blocks
from curate.calibrating.shares import Sampled, share_of
from curate.errors import InputError
from tests.curate.runs import curate, done, pair, write_pairs

ROWS = 6000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of LAION's columns, their scores, sizes and texts drawn by lot; each pair is there once."""
    folder, chance = tmp_path_factory.mktemp("in"), np.random.default_rng(0)
    for number in range(2):
        names = [f"{number}-{row}" for row in range(ROWS // 2)]
        words = chance.integers(1, 9, len(names))
        table = pa.table(
            {
                "URL": [f"https://a.example/{name}.jpg" for name in names],
                "TEXT": [
                    " ".join(["harbour"] * count) + f" {n}" for n, count in zip(names, words, strict=True)
                ],
                "WIDTH": chance.integers(100, 900, len(names)).astype(np.int32),
                "HEIGHT": chance.integers(100, 900, len(names)).astype(np.int32),
                "similarity": chance.normal(0.3 + 0.02 * number, 0.03, len(names)),
                "punsafe": chance.random(len(names)).astype(np.float32),
            }
        )
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=700)
    return folder


def calibrated(source: Path, *arguments: object) -> dict[str, Any]:
    return done("calibrate", "laion", "--input", source, *arguments)


def of_rule(found: dict[str, Any], name: str | None) -> dict[str, Any]:
    (row,) = (row for row in found["table"] if row["rule"] == name)
    return row


def test_a_rules_shares_are_those_that_counting_gives(source: Path) -> None:
    found = calibrated(source)
    table = pa.concat_tables([pq.read_table(source / f"{n}.parquet") for n in range(2)])
    width, height, score = (table[name].to_numpy() for name in ("WIDTH", "HEIGHT", "similarity"))
    elongated = np.maximum(width, height) > 3 * np.minimum(width, height)
    small, low = np.minimum(width, height) < 200, score.astype(np.float32) < np.float32(0.32)
    expected = {
        "image_too_elongated": (elongated, elongated, elongated & ~small & ~low),
        "image_too_small": (small, small & ~elongated, small & ~elongated & ~low),
        "clip_score_too_low": (low, low & ~elongated & ~small, low & ~elongated & ~small),
    }
    for name, shares in expected.items():
        row = of_rule(found, name)
        told = [row[what]["share"] for what in ("alone", "in_order", "only")]
        assert told == [pytest.approx(np.mean(share), abs=1e-6) for share in shares], name
    assert found["kept"]["share"] == pytest.approx(np.mean(~(elongated | small | low)), abs=1e-6)
    assert found["sample"] == {"rows": ROWS, "of": ROWS, "blocks": 6, "inputs": 2, "whole": True}
    assert found["paper"] == 0.14


def test_the_threshold_found_keeps_the_share_when_select_uses_it(source: Path, tmp_path: Path) -> None:
    found = calibrated(source, "--keep", "14%", "--rule", "clip_score_too_low")
    assert (found["rule"], found["setting"]) == ("clip_score_too_low", "min_score")
    assert found["keep"] == pytest.approx(0.14, abs=0.0005)
    setting = found["set"][0].split(" ", 1)[1]
    told = done(
        "select", "laion", "--input", source, "--out", tmp_path / "out", "--set", setting, "--workers", 0
    )
    assert told["rows_out"] / told["rows_in"] == pytest.approx(found["keep"], abs=1e-6)


def test_a_sample_comes_near_and_says_how_near(source: Path) -> None:
    whole = calibrated(source)
    part = calibrated(source, "--rows", 2000)
    assert (part["sample"]["rows"], part["sample"]["of"], part["sample"]["inputs"]) == (2000, ROWS, 2)
    for name in ("image_too_small", "clip_score_too_low"):
        exact, share = (of_rule(found, name)["alone"] for found in (whole, part))
        assert exact["error"] == 0
        assert 0 < share["error"] < 0.05
        assert abs(share["share"] - exact["share"]) < 2 * share["error"]
    assert "duplicate_pair: not in these figures" in part["notes"][0]


def test_twenty_thresholds_tell_what_each_would_keep(source: Path) -> None:
    (curve,) = of_rule(calibrated(source), "image_too_small")["thresholds"]
    keeps = [step["keep"] for step in curve["steps"]]
    assert len(keeps) == 20
    assert keeps == sorted(keeps, reverse=True)
    step = curve["steps"][9]
    again = calibrated(source, "--set", f"rules.image_too_small.min_side={step['threshold']}")
    assert again["kept"]["share"] == pytest.approx(step["keep"], abs=1e-6)


def test_several_thresholds_are_found_in_their_order(source: Path) -> None:
    rules = ("--rule", "image_too_small", "--rule", "clip_score_too_low")
    found = calibrated(source, "--keep", "40%", "--keep", "20%", *rules)
    sizes, scores = found["solved"]
    assert sizes["keep"] == pytest.approx(0.4, abs=0.003)
    assert scores["keep"] == pytest.approx(0.2, abs=0.001)
    assert isinstance(sizes["threshold"], int)
    settings = [word for line in found["set"] for word in line.split()]
    assert calibrated(source, *settings)["kept"]["share"] == pytest.approx(scores["keep"], abs=1e-6)
    parted = calibrated(source, "--keep", "20%", *rules)["solved"]
    base = calibrated(
        source, *(w for n in ("image_too_small", "clip_score_too_low") for w in ("--set", f"rules.{n}=false"))
    )
    factors = parted[0]["keep"] / base["kept"]["share"], 0.2 / parted[0]["keep"]
    assert factors[0] == pytest.approx(factors[1], abs=0.01)


def test_a_rule_that_is_off_and_one_on_any_column_are_calibrated(source: Path) -> None:
    found = calibrated(source, "--keep", "10%", "--rule", "unsafe")
    assert (found["setting"], found["keep"]) == ("max", pytest.approx(0.1, abs=0.001))
    own = ("--set", "rules.fine.column=punsafe", "--set", "rules.fine.min=0.2", "--set", "rules.fine.max=0.9")
    assert calibrated(source, *own, "--keep", "10%", "--rule", "fine.min")["setting"] == "min"
    refused = curate("calibrate", "laion", "--input", source, *own, "--keep", "10%", "--rule", "fine")
    assert (refused.returncode, "write fine.min or fine.max" in refused.stderr) == (2, True)


def test_calibrate_is_a_function_too(source: Path) -> None:
    found = package.calibrate("laion", source, keep="14%", rules="clip_score_too_low")
    assert found.raw == calibrated(source, "--keep", "0.14", "--rule", "clip_score_too_low")
    assert found.keep == pytest.approx(0.14, abs=0.0005)


def test_a_person_reads_a_table(source: Path) -> None:
    told = curate(
        "calibrate", "laion", "--input", source, "--keep", "14%", "--rule", "clip_score_too_low"
    ).stdout
    assert "laion: all 6,000 rows" in told
    assert "(Qwen-VL's table 2: 14%)" in told
    assert told.splitlines()[-1].startswith("--set rules.clip_score_too_low.min_score=0.")


def test_what_was_scored_here_is_calibrated(tmp_path: Path) -> None:
    rows = [pair(n, similarity=0.3 + n / 1000) for n in range(40)]
    source = write_pairs(tmp_path / "rows.parquet", rows)
    mild = ("--set", "rules.clip_score_too_low.min_score=0.1", "--workers", 0)
    done("run", "laion", "--input", source, "--out", tmp_path / "out", *mild)
    found = calibrated(tmp_path / "out", "--rows", 1000, "--keep", "50%", "--rule", "clip_score_too_low")
    assert 0.319 < found["threshold"] <= 0.32
    assert found["keep"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("--keep", "90%", "--rule", "clip_score_too_low"),
            "the other rules, and rows without a value, leave 7",
        ),
        (("--keep", "14", "--rule", "clip_score_too_low"), "'14' is no share to keep: write one above 0%"),
        (("--keep", "much", "--rule", "clip_score_too_low"), "'much' is no share: write 14% or 0.14"),
        (("--keep", "14%"), "--keep needs --rule"),
        (("--keep", "14%", "--rule", "clip_score"), "has no rule 'clip_score'"),
        (("--keep", "14%", "--rule", "text_has_emoji"), "has no threshold"),
        (
            (
                "--set",
                "rules.text_has_too_few_words.on=true",
                "--keep",
                "13%",
                "--rule",
                "text_has_too_few_words",
            ),
            "as many rows have the same value",
        ),
        (("--limit", "0"), "--limit must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(arguments: tuple[str, ...], says: str, source: Path) -> None:
    refused = curate("calibrate", "laion", "--input", source, *arguments)
    assert refused.returncode == 2, refused.stdout
    assert says in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_threshold_that_no_value_reaches_is_noted(source: Path) -> None:
    found = calibrated(source, "--set", "rules.clip_score_too_low.min_score=0.9")
    assert any("no value reaches rules.clip_score_too_low.min_score = 0.9" in note for note in found["notes"])


def test_what_is_no_row_of_a_table_is_refused(tmp_path: Path) -> None:
    for manifest in ("pdf", "synthdog-en", "llava-instruct"):
        refused = curate("calibrate", manifest)
        assert (refused.returncode, "thresholds are measured on rows of tables" in refused.stderr) == (
            2,
            True,
        )


def test_an_empty_sample_is_refused(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "rows.parquet", [pair(n, TEXT=None) for n in range(3)])
    refused = curate("calibrate", "laion", "--input", source)
    assert (refused.returncode, "the sample is empty: none of its 3 rows" in refused.stderr) == (2, True)


def test_scores_of_two_models_are_refused(tmp_path: Path) -> None:
    for model in ("ViT-B-32", "ViT-L-14"):
        told = {b"curate": json.dumps({"scorer": {"model": model, "pretrained": "openai"}}).encode()}
        table = pa.Table.from_pylist([pair(0)]).replace_schema_metadata(told)
        pq.write_table(table, tmp_path / f"{model}.parquet")
    refused = curate("calibrate", "laion", "--input", tmp_path)
    assert refused.returncode == 2
    assert "one threshold cannot serve both" in refused.stderr


def test_blocks_are_spread_over_all_inputs_and_every_row_is_as_likely() -> None:
    counts = np.zeros(60)
    for seed in range(400):
        for block in draw_blocks([10, 0, 30, 20], 20, seed):
            first = (0, 10, 10, 40)[block.input]
            counts[first + block.start : first + block.stop] += 1
    assert counts.sum() == 400 * 20
    assert counts.min() > 80
    assert counts.max() < 190
    assert [(b.input, b.start, b.stop) for b in draw_blocks([3, 2], 9, 0)] == [(0, 0, 3), (1, 0, 2)]


def test_the_error_of_a_share_is_that_of_its_blocks() -> None:
    block = np.repeat(np.arange(50), 100)
    alike = np.repeat(np.arange(50) % 2 == 0, 100)  # whole blocks fall
    drawn = Sampled(block, 10**9)
    assert drawn.error(alike) == pytest.approx(1.96 * np.sqrt(0.25 / 49), rel=1e-4)
    assert Sampled(block, 5000).error(alike) == 0


def test_a_share_is_written_in_two_ways() -> None:
    assert (share_of("14%"), share_of("0.14"), share_of(0.14)) == (0.14, 0.14, 0.14)
    with pytest.raises(InputError):
        share_of("0%")


def test_a_selection_is_judged_again_and_said_so(source: Path, tmp_path: Path) -> None:
    out, settings = tmp_path / "out", ("--set", "rules.clip_score_too_low.min_score=0.35")
    done("select", "laion", "--input", source, "--out", out, "--workers", 0)
    ended = curate("calibrate", "laion", "--input", out, *settings, "--json")
    found = json.loads(ended.stdout)
    assert "judged again" not in ended.stderr
    assert of_rule(found, "clip_score_too_low")["alone"]["share"] > 0.1
    (note,) = (note for note in found["notes"] if "already" in note)
    assert "clip_score_too_low" in note
    assert "`curate run` does not judge them again" in note
