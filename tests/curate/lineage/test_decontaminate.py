"""Finished shards lose what evaluation sets hold: altered copies of their images, and their texts."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curate
from curate.errors import CurateError, InputError, ManifestError
from tests.curate.lineage.test_remove import FOUR, numbers
from tests.curate.runs import ROOT, pair, write_pairs
from tests.curate.runs import curate as command

PHOTOGRAPHS = sorted((ROOT / "manifests" / "samples" / "images").glob("*.jpg"))[:6]


def altered(body: bytes) -> bytes:
    """Less 3 % on two sides, half the size, at quality 50."""
    with Image.open(io.BytesIO(body)) as image:
        width, height = image.size
        small = image.crop((width * 3 // 100, 0, width, height * 97 // 100)).resize((width // 2, height // 2))
        out = io.BytesIO()
        small.convert("RGB").save(out, "JPEG", quality=50)
    return out.getvalue()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, and behind them pictures of noise, in three units."""
    folder = tmp_path_factory.mktemp("whole")
    rows = [pair(n) for n in range(10)]
    for row, path in zip(rows, PHOTOGRAPHS, strict=False):
        row["image"] = path.read_bytes()
    source = write_pairs(folder / "rows.parquet", rows)
    curate.run("laion", folder / "out", source, settings=FOUR, workers=0, progress=False)
    assert numbers(folder / "out") == list(range(10))
    return folder / "out"


@pytest.fixture(scope="module")
def prints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation set of a copy of the third photograph, and a question that says what the ninth text does."""
    folder = tmp_path_factory.mktemp("set")
    table = {"image": [altered(PHOTOGRAPHS[2].read_bytes())], "question": [f"{pair(8)['TEXT']}!"]}
    pq.write_table(pa.table(table), folder / "bench.parquet")
    curate.fingerprint(folder / "bench.parquet", folder / "bench.prints")
    return folder / "bench.prints"


def test_copies_and_texts_go_and_stay_out(whole: Path, prints: Path, tmp_path: Path) -> None:
    found = curate.remove(whole, None, tmp_path / "new", against=prints)
    assert found.overlaps == {"image_in_evaluation_set": 1, "text_in_evaluation_set": 1}
    assert (found.rows_removed, numbers(tmp_path / "new")) == (2, [0, 1, 3, 4, 5, 6, 7, 9])
    (copy,) = found.raw["copies"]
    assert copy["image"] == "bench: bench.parquet#0"
    assert copy["distance"] <= 56
    assert curate.verify(tmp_path / "new", workers=0).damaged == {}
    manifest = json.loads((tmp_path / "new" / "_manifest.json").read_text())
    assert {one["kind"] for one in manifest["removed"]} == {"key", "pair", "sha256"}
    assert {one["reason"] for one in manifest["removed"]} == {"in an evaluation set"}
    source = whole.parent / "rows.parquet"
    (tmp_path / "new" / "_manifest.json").unlink()  # as if it had to be finished again
    curate.run("laion", tmp_path / "new", source, settings=FOUR, workers=0, progress=False, overwrite=True)
    assert numbers(tmp_path / "new") == [0, 1, 3, 4, 5, 6, 7, 9]


def test_a_list_and_a_set_together(whole: Path, prints: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("https://pictures.example/0.jpg\n")
    ended = command(
        "remove", whole, "--list", tmp_path / "list.txt", "--against", prints, "--out", tmp_path / "new"
    )
    assert ended.returncode == 0, ended.stderr
    assert "image_in_evaluation_set: 1 row\n" in ended.stdout
    assert "shows bench: bench.parquet#0" in ended.stdout
    assert numbers(tmp_path / "new") == [1, 3, 4, 5, 6, 7, 9]
    again = curate.remove(whole, tmp_path / "list.txt", tmp_path / "new", against=[prints])
    assert (again.rows_removed, again.overlaps["text_in_evaluation_set"]) == (3, 1)
    with pytest.raises(CurateError, match="something else already"):
        curate.remove(whole, tmp_path / "list.txt", tmp_path / "new")


def test_nothing_asked_for_and_nothing_found_are_one_line(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--list FILE, or --against"):
        curate.remove(whole, None, tmp_path / "new")
    (tmp_path / "other.jpg").write_bytes(altered((ROOT / "manifests/samples/images/sutra.jpg").read_bytes()))
    curate.fingerprint(tmp_path / "other.jpg", tmp_path / "other.prints")
    with pytest.raises(CurateError, match="is in the evaluation set other: nothing was written"):
        curate.remove(whole, None, tmp_path / "new", against=tmp_path / "other.prints")
    (tmp_path / "junk.prints").write_bytes(b"junk")
    for name in ("junk.prints", "missing.prints"):
        with pytest.raises(ManifestError, match=name):
            curate.remove(whole, None, tmp_path / "new", against=tmp_path / name)
    assert not (tmp_path / "new").exists()


def test_a_dialogue_is_judged_by_each_of_its_turns(tmp_path: Path) -> None:
    turns = [["What is it?", "A ship."], ["And here?", pair(8)["TEXT"]]]
    for number, (question, answer) in enumerate(turns):
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        with (tmp_path / "dialogues.jsonl").open("a") as file:
            file.write(json.dumps({"id": number, "messages": messages}) + "\n")
    curate.run("openai-messages", tmp_path / "out", tmp_path / "dialogues.jsonl", workers=0, progress=False)
    pq.write_table(pa.table({"answer": [pair(8)["TEXT"]]}), tmp_path / "set.parquet")
    curate.fingerprint(tmp_path / "set.parquet", tmp_path / "set.prints")
    found = curate.remove(tmp_path / "out", None, tmp_path / "new", against=tmp_path / "set.prints")
    assert (found.rows_removed, found.rows_out) == (1, 1)
