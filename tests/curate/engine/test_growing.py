"""A finished run that takes in more inputs: its bytes beside those of a run on all of them at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import curate
from curate.errors import CurateError, OutputError
from tests.curate.crasher import Interrupting
from tests.curate.runs import dropped, files, pair, picture, write_pairs

FOUR = {"shard.rows": 4}


def run(out: Path, inputs: Sequence[Path], manifest: str = "laion", **settings: Any) -> Any:
    return curate.run(
        manifest, out, [str(one) for one in inputs], settings=FOUR | settings, workers=0, progress=False
    )


def rows(first: int, count: int = 10) -> list[dict[str, Any]]:
    """Rows of which one is too short, one damaged, one the same pair as before it, one the same behind another URL."""
    made = [pair(first + number) for number in range(count)]
    made[2]["TEXT"] = "no"
    made[4]["image"] = picture(first + 4)[:900]
    made[6] |= {name: made[1][name] for name in ("URL", "TEXT", "image")}
    made[7] |= {"TEXT": made[3]["TEXT"], "image": made[3]["image"]}
    return made


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three files; the later ones repeat pairs of the first, and bring its placeholder over the threshold."""
    folder = tmp_path_factory.mktemp("parts")
    first, second, third = rows(0), rows(100), rows(200)
    second[8] |= {name: first[0][name] for name in ("URL", "TEXT", "image")}
    third[8] |= {"TEXT": first[5]["TEXT"], "image": first[5]["image"]}
    for number, part in enumerate((first, second, third)):
        part += [
            pair(1000 + 10 * number + n, image=picture(7), TEXT=f"Not the picture you look for, {number} {n}")
            for n in range(4)
        ]
    return [write_pairs(folder / f"part-{n}.parquet", part) for n, part in enumerate((first, second, third))]


@pytest.fixture(scope="module")
def together(parts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("together") / "out"
    run(out, parts)
    return out


@pytest.fixture(scope="module")
def first(parts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first") / "out"
    run(out, parts[:1])
    return out


def told(folder: Path) -> dict[str, Any]:
    """What a manifest says that does not depend on when and in how many steps it came about."""
    manifest = json.loads((folder / "_manifest.json").read_text())
    for stage in manifest["stages"]:
        stage["seconds"] = 0
    return {name: of for name, of in manifest.items() if name not in ("started", "finished", "grown")}


def test_a_run_grown_in_three_steps_has_the_bytes_of_a_run_on_all(
    parts: list[Path], first: Path, together: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(first, tmp_path / "out"))
    run(out, parts[:2])
    run(out, parts)
    assert files(out) == files(together)
    assert told(out) == told(together)
    assert "placeholder_image" in dropped(out).values()
    assert curate.verify(out, workers=0).damaged == {}
    assert len(json.loads((out / "_manifest.json").read_text())["grown"]) == 2
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    run(out, parts)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before


def test_what_was_kept_is_not_written_again(parts: list[Path], first: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(first, tmp_path / "out"))
    before = {path.name: path.stat().st_ino for path in out.glob("shard-*.parquet")}
    run(out, parts[:2])
    after = {path.name: path.stat().st_ino for path in out.glob("shard-*.parquet")}
    assert {name: after[name] for name in before} == before


def test_a_run_whose_journal_is_gone_grows_by_what_its_files_say(
    parts: list[Path], first: Path, together: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(first, tmp_path / "out"))
    shutil.rmtree(out / "_run")
    run(out, parts)
    assert files(out) == files(together)
    assert told(out) == told(together)


def test_rules_that_judge_rows_alone_need_no_look_at_what_was_there(
    parts: list[Path], tmp_path: Path
) -> None:
    alone = dict.fromkeys(("rules.duplicate_pair", "rules.placeholder_image"), False)
    run(tmp_path / "all", parts, **alone)
    run(tmp_path / "out", parts[:1], **alone)
    run(tmp_path / "out", parts[:2], **alone)
    run(tmp_path / "out", parts, **alone)
    assert files(tmp_path / "out") == files(tmp_path / "all")
    assert told(tmp_path / "out") == told(tmp_path / "all")
    assert [*curate.verify(tmp_path / "out", workers=0).damaged.values()] == [["4 keys occur twice"]]


@pytest.mark.parametrize("call", ["replace", "link", "unlink"])
def test_growth_that_is_stopped_anywhere_goes_on_to_the_same_bytes(
    parts: list[Path], first: Path, together: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    out = Path(shutil.copytree(first, tmp_path / "out"))
    interrupting = Interrupting(monkeypatch, call)
    for _ in range(200):
        interrupting.seen = 0
        try:
            run(out, parts)
        except (CurateError, KeyboardInterrupt):
            interrupting.at += 1 + interrupting.at // 4
            continue
        break
    monkeypatch.undo()
    run(out, parts)
    assert files(out) == files(together)
    assert told(out) == told(together)


def test_an_input_before_the_others_is_refused_and_nothing_changes(parts: list[Path], tmp_path: Path) -> None:
    run(tmp_path / "out", parts[1:2])
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(CurateError, match=r"part-0.parquet comes before inputs that it has") as refused:
        run(tmp_path / "out", parts[:2])
    assert refused.value.exit_code == 2
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_a_folder_that_lies_among_its_inputs_is_no_input(parts: list[Path], tmp_path: Path) -> None:
    shutil.copy(parts[0], tmp_path / "a.parquet")
    out = tmp_path / "out"
    first = run(out, [tmp_path])
    assert run(out, [tmp_path]).raw == first.raw
    shutil.copy(parts[1], tmp_path / "b.parquet")
    assert run(out, [tmp_path]).rows_in > first.rows_in
    with pytest.raises(OutputError, match=r"shard-000000.parquet lies in --out"):
        run(out, [out])


def test_another_list_of_inputs_is_another_run(parts: list[Path], first: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(first, tmp_path / "out"))
    with pytest.raises(OutputError, match="is of another run: inputs"):
        run(out, parts[1:])


def test_a_longer_text_for_an_image_that_was_fetched_is_refused_and_the_run_stays_whole(
    tmp_path: Path,
) -> None:
    old = [pair(n) for n in range(5)]
    new = [pair(50), pair(3, TEXT="A much longer text for the very picture that was there before")]
    parts = [write_pairs(tmp_path / "a.parquet", old), write_pairs(tmp_path / "b.parquet", new)]
    longest = {"rules.shorter_text_of_same_image": {}}
    run(tmp_path / "out", parts[:1], **longest)
    before = files(tmp_path / "out")
    with pytest.raises(
        CurateError, match=r"row 3 of unit 0 .*shorter_text_of_same_image with them"
    ) as refused:
        run(tmp_path / "out", parts, **longest)
    assert refused.value.exit_code == 2
    assert files(tmp_path / "out") == before
    assert curate.verify(tmp_path / "out", workers=0).damaged == {}
    run(tmp_path / "out", parts[:1], **longest)


def test_a_longer_text_behind_another_address_takes_the_place_of_the_older_one(tmp_path: Path) -> None:
    old = [pair(n) for n in range(5)]
    new = [
        pair(50),
        pair(51, image=picture(3), TEXT="A much longer text for the picture that was there before"),
    ]
    parts = [write_pairs(tmp_path / "a.parquet", old), write_pairs(tmp_path / "b.parquet", new)]
    longest = {"rules.shorter_text_of_same_image": {}}
    run(tmp_path / "all", parts, **longest)
    run(tmp_path / "out", parts[:1], **longest)
    run(tmp_path / "out", parts, **longest)
    assert files(tmp_path / "out") == files(tmp_path / "all")
    assert dropped(tmp_path / "out")["a.parquet#3"] == "shorter_text_of_same_image"


def test_rows_that_were_not_written_down_cannot_be_compared_with(parts: list[Path], tmp_path: Path) -> None:
    run(tmp_path / "out", parts[:1], **{"drops.sample": 0.5})
    with pytest.raises(CurateError, match=r"drops.sample = 0.5 did not write down all rows"):
        run(tmp_path / "out", parts, **{"drops.sample": 0.5})
    assert (tmp_path / "out" / "_manifest.json").exists()
