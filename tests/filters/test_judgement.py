from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from filters import CLEANERS, RULES, judge, judgement

RULES_OF_A1 = {
    "image_too_elongated": {"max_ratio": 3.0},
    "image_too_small": {"min_side": 200},
    "clip_score_too_low": {"min_score": 0.28},
    "text_has_other_script": {},
    "text_has_emoji": {},
    "text_too_short": {"min_chars": 5},
    "text_too_long": {"max_chars": 20},
}


def pairs(*rows: tuple[int | None, int | None, float | None, str | None]) -> pa.Table:
    width, height, score, text = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.table(
        {
            "width": pa.array(width, pa.int32()),
            "height": pa.array(height, pa.int32()),
            "clip_score": pa.array(score, pa.float32()),
            "text": pa.array(text, pa.large_string()),
            "url": pa.array(["u"] * len(rows)),
        }
    )


FALLEN = pairs(
    (300, 300, 0.3, "a good caption"),
    (901, 300, 0.1, "Ж"),
    (190, 190, 0.1, "Ж"),
    (300, 300, 0.2, "Ж \U0001f602"),
    (300, 300, 0.3, "Ж \U0001f602"),
    (300, 300, 0.3, "ok \U0001f602"),
    (300, 300, 0.3, "four"),
    (300, 300, 0.3, "a caption that is too long"),
)


@pytest.mark.parametrize("compact_below", [0.0, 0.5, 1.1])
def test_the_first_rule_that_fails_gives_the_reason(
    compact_below: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judgement, "COMPACT_BELOW", compact_below)
    judged = judge(FALLEN, RULES_OF_A1)
    assert judged.reason.to_pylist() == [None, *RULES_OF_A1]
    assert judged.unjudged == {}


@pytest.mark.parametrize("compact_below", [0.0, 0.5, 1.1])
def test_rows_that_lack_a_value_are_judged_by_the_others_and_reported(
    compact_below: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judgement, "COMPACT_BELOW", compact_below)
    table = pairs(
        (None, 300, 0.3, "a good caption"),
        (None, None, 0.1, "a good caption"),
        (900, 300, None, "a good caption"),
        (300, 300, 0.3, None),
        (100, 100, None, None),
    )
    judged = judge(table, RULES_OF_A1)
    assert judged.reason.to_pylist() == [None, "clip_score_too_low", None, None, "image_too_small"]
    assert {name: mask.to_pylist() for name, mask in judged.unjudged.items()} == {
        "image_too_elongated": [True, False, False, False, False],
        "image_too_small": [True, False, False, False, False],
        "clip_score_too_low": [False, False, True, False, False],
        **{name: [False, False, False, True, False] for name in RULES_OF_A1 if name.startswith("text")},
    }


def test_a_table_without_rows_and_a_manifest_without_rules_are_judged() -> None:
    assert judge(pairs(), RULES_OF_A1).reason.to_pylist() == []
    assert judge(FALLEN, {}).reason.to_pylist() == [None] * 8


def test_a_table_in_chunks_is_judged_as_one() -> None:
    chunks = pa.concat_tables([FALLEN.slice(0, 3), FALLEN.slice(3, 2), FALLEN.slice(5)])
    assert judge(chunks, RULES_OF_A1).reason.equals(judge(FALLEN, RULES_OF_A1).reason)


def test_every_rule_of_the_contract_that_is_judged_here_is_registered() -> None:
    for name in [
        *RULES_OF_A1,
        "text_has_special_tag",
        "text_has_latin_extended",
        "text_has_private_use",
        "shorter_text_of_same_image",
        "duplicate_pair",
        "placeholder_image",
    ]:
        assert name in RULES
    assert {"html", "patterns"} <= set(CLEANERS)


def test_importing_the_package_loads_no_library_but_pyarrow() -> None:
    code = "import sys, filters; print(*{'regex', 'selectolax', 'pandas', 'PIL'} & set(sys.modules))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == ""
    )
