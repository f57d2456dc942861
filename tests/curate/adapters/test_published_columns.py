from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.curate.runs import curate, pair, shards, write_pairs

MANIFEST = """
name = "mine"
title = "t"
licence = "l"
homepage = "h"
[columns]
url = ["URL"]
text = ["TEXT"]
image = ["image"]
"""


def run(folder: Path, rows: list[dict[str, Any]], rules: str, *more: str) -> tuple[int, str, dict[str, str]]:
    """Exit code, what was said, and the reason of each dropped row by its text."""
    (folder / "mine.toml").write_text(MANIFEST + rules)
    write_pairs(folder / "in.parquet", rows)
    out = folder / "out"
    done = curate(
        "run", folder / "mine.toml", "--input", folder / "in.parquet", "--out", out, "--workers", 0, *more
    )
    files = sorted((out / "_dropped").glob("*.parquet"))
    dropped = pa.concat_tables([pq.read_table(file) for file in files]).to_pylist() if files else []
    return done.returncode, done.stderr, {row["text"]: f"{row['reason']} {row['detail']}" for row in dropped}


def test_a_published_column_decides_in_its_place_among_the_rules(tmp_path: Path) -> None:
    rows = [
        pair(0, TEXT="safe", punsafe=0.1),
        pair(1, TEXT="unsafe", punsafe=0.9),
        pair(2, TEXT="x", punsafe=0.9),
        pair(3, TEXT="unknown", punsafe=None),
    ]
    rules = "[rules.text_too_short]\nmin_chars = 2\n[rules.unsafe]\ncolumn = 'PUNSAFE'\nmax = 0.5\n"
    code, said, dropped = run(tmp_path, rows, rules)
    assert code == 0, said
    assert dropped == {
        "unsafe": "unsafe PUNSAFE=0.9",
        "x": "text_too_short chars=1",
        "unknown": "unsafe PUNSAFE=null",
    }
    kept = shards(tmp_path / "out")
    assert kept["text"].to_pylist() == ["safe"]
    assert '"punsafe":0.1' in kept["extra"][0].as_py()


def test_a_field_of_structs_and_of_lists_of_structs_decides(tmp_path: Path) -> None:
    def row(number: int, score: float, faces: list[float]) -> dict[str, Any]:
        return pair(
            number, TEXT=f"row {number}", scores={"nsfw": score}, faces=[{"p": face} for face in faces]
        )

    rows = [row(0, 0.1, [0.1]), row(1, 0.9, [0.1]), row(2, 0.1, [0.1, 0.9]), row(3, 0.1, [])]
    rules = "[rules.a]\ncolumn = 'scores.nsfw'\nmax = 0.5\n[rules.b]\ncolumn = 'faces.p'\nmax = 0.5\n"
    code, said, dropped = run(tmp_path, rows, rules)
    assert code == 0, said
    assert {text: why.split()[0] for text, why in dropped.items()} == {"row 1": "a", "row 2": "b"}


def test_a_rule_that_is_off_needs_no_column_and_can_be_switched_on(tmp_path: Path) -> None:
    rules = "[rules.unsafe]\non = false\ncolumn = 'punsafe'\nmax = 0.5\n"
    assert run(tmp_path, [pair(0)], rules)[::2] == (0, {})
    rows = [pair(0, TEXT="unsafe", punsafe=0.9)]
    code, said, dropped = run(tmp_path, rows, rules, "--set", "rules.unsafe.on=true", "--overwrite")
    assert (code, list(dropped)) == (0, ["unsafe"]), said


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (
            "column = 'punsave'\nmax = 0.5",
            "reads the column 'punsave', and there is none (did you mean 'punsafe'?)",
        ),
        ("column = 'scores'\nmax = 0.5", "cannot judge the column 'scores', which holds struct<"),
        ("column = 'punsafe'\nmin = 2\nmax = 1", "min 2 is above max 1"),
        ("column = 'punsafe'\nmost = 1", "has no setting 'most'"),
        ("column = 3", "it takes text, not a whole number (3)"),
        ("max = 1", "no rule 'mine'"),
    ],
)
def test_a_rule_on_no_column_is_refused_before_anything_is_written(
    tmp_path: Path, rules: str, says: str
) -> None:
    rows = [pair(0, punsafe=0.1, scores={"a": 1})]
    code, said, _ = run(tmp_path, rows, f"[rules.mine]\n{rules}\n")
    assert code == 2
    assert says in said
    assert not (tmp_path / "out").exists()


def test_documents_have_no_columns_to_judge(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some text.")
    rule = ("--set", "rules.mine.column=punsafe", "--set", "rules.mine.max=1")
    done = curate("run", "text", "--input", tmp_path, "--out", tmp_path / "out", "--workers", 0, *rule)
    assert done.returncode == 2
    assert "reads the column 'punsafe', and there is none" in done.stderr


def test_a_field_of_an_object_in_json_lines_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MANIFEST + "[rules.nsfw]\ncolumn = 'm.nsfw'\nmax = 0.5\n")
    (tmp_path / "in.jsonl").write_text(
        '{"URL": "http://x.example/1", "TEXT": "a text", "m": {"nsfw": 0.9}}\n'
    )
    done = curate(
        "run",
        tmp_path / "mine.toml",
        "--input",
        tmp_path / "in.jsonl",
        "--out",
        tmp_path / "out",
        "--workers",
        0,
    )
    assert done.returncode == 2
    assert (
        "reads the field 'm.nsfw' of a JSON object: rules read fields of objects from Parquet only"
        in done.stderr
    )


@pytest.mark.parametrize("value", ["[1, 2]", "[]", '{"a": 1}'])
def test_lists_of_numbers_in_json_lines_are_refused_with_the_way_out(tmp_path: Path, value: str) -> None:
    (tmp_path / "mine.toml").write_text(MANIFEST + "[rules.mine]\ncolumn = 'm'\nmax = 5\n")
    rows = f"""{{"URL": "http://x.example/1", "TEXT": "a text", "m": {value}}}
{{"URL": "http://x.example/2", "TEXT": "a text", "m": [3]}}
"""
    (tmp_path / "in.jsonl").write_text(rows)
    files = ("--input", tmp_path / "in.jsonl", "--out", tmp_path / "out")
    done = curate("run", tmp_path / "mine.toml", *files, "--workers", 0)
    assert done.returncode == 2
    assert "rules read lists of numbers from Parquet only" in done.stderr


def test_a_column_of_the_key_that_is_not_there_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    code, said, _ = run(tmp_path, [pair(0)], "", "--set", 'key=["URLS", "text"]')
    assert code == 2
    assert "no column 'URLS', which the manifest's key needs (did you mean 'URL'?)" in said
    assert not (tmp_path / "out").exists()
    assert run(tmp_path, [pair(0)], "", "--set", 'key=["similarity"]')[0] == 0


def test_a_column_of_a_dialogues_key_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = curate(
        "run", "llava-instruct", "--out", tmp_path / "out", "--workers", 0, "--set", 'key=["nosuch"]'
    )
    assert (done.returncode, (tmp_path / "out").exists()) == (2, False)
    assert "no column 'nosuch', which the manifest's key needs" in done.stderr
