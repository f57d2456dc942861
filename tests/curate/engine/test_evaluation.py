"""Nothing of the evaluation sets is trained on: copies of their images and runs of their words are dropped."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curate
from curate.engine.evaluation_copies import EvaluationCopy
from curate.errors import CurateError, ManifestError
from tests.curate.runs import curate as command
from tests.curate.runs import files, pair, shards, write_pairs

PHOTOS = sorted((Path(__file__).parents[3] / "manifests" / "samples" / "images").glob("*.jpg"))
NAMES = ("astronaut.jpg", "bus.jpg", "cat.jpg", "church.jpg", "harbour.jpg")
RULE = "rules.image_in_evaluation_set.against"


def photo(name: str, crop: float = 0.0, quality: int = 90) -> dict[str, Any]:
    image = Image.open(next(path for path in PHOTOS if path.name == name)).convert("RGB")
    image = image.resize((480, 480 * image.height // image.width))
    out = io.BytesIO()
    image.crop((round(crop * image.width), 0, image.width, image.height)).save(out, "JPEG", quality=quality)
    size = {"WIDTH": image.width, "HEIGHT": image.height}
    return pair(sum(name.encode()) + round(crop * 1000) + quality, image=out.getvalue(), **size)


@pytest.fixture(scope="module")
def prints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prints") / "test-set.prints"
    curate.fingerprint([path for path in PHOTOS if path.name in NAMES[:3]], out)
    return out


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [photo(NAMES[0], 0.05, 50), photo(NAMES[3]), photo(NAMES[1], quality=50), photo(NAMES[4], 0.03)]
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.parquet", rows)


def run(source: Path, out: Path, **settings: Any) -> curate.RunResult:
    result = curate.run("laion", out, source, settings=settings, workers=0, progress=False)
    assert isinstance(result, curate.RunResult)
    return result


def test_copies_of_evaluation_images_are_dropped(prints: Path, source: Path, tmp_path: Path) -> None:
    result = run(source, tmp_path / "out", **{RULE: [str(prints)]})
    assert (result.rows_out, result.dropped) == (2, {"image_in_evaluation_set": 2})
    (dropped,) = (tmp_path / "out" / "_dropped").glob("*.parquet")
    rows = pq.read_table(dropped).to_pylist()
    assert [row["stage"] for row in rows] == ["copies", "copies"]
    assert rows[0]["detail"].endswith(f" to test-set: {NAMES[0]}")
    stages = {stage["name"]: (stage["rows_in"], stage["rows_out"]) for stage in result.raw["stages"]}
    assert stages["copies"] == (4, 2)
    assert curate.verify(tmp_path / "out").damaged == {}
    told = curate.explain(tmp_path / "out", rows[0]["url"])
    assert (told.reason, told.way[-1]["stage"]) == ("image_in_evaluation_set", "copies")


def test_pictures_of_both_are_kept_for_the_report(prints: Path, source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out", **{RULE: [str(prints)]})
    (path,) = (tmp_path / "out" / "_evaluation").iterdir()
    shown = msgspec.json.decode(path.read_bytes(), type=list[EvaluationCopy])
    assert [one.name for one in shown] == [NAMES[0], NAMES[1]]
    assert all(Image.open(io.BytesIO(body)).width for one in shown for body in (one.image, one.picture))


def test_the_fingerprint_is_a_column_where_it_is_wanted(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out", **{"image.fingerprints": True})
    column = shards(tmp_path / "out")["fingerprint"].to_pylist()
    assert len(column) == 4
    assert all(len(one) == 64 and int(one, 16) for one in column)
    assert curate.verify(tmp_path / "out").damaged == {}
    run(source, tmp_path / "without")
    assert "fingerprint" not in shards(tmp_path / "without").column_names
    assert (
        "fingerprints"
        not in json.loads((tmp_path / "without" / "_manifest.json").read_text())["manifest"]["image"]
    )


def test_the_same_run_writes_the_same_bytes(prints: Path, source: Path, tmp_path: Path) -> None:
    settings = {RULE: [str(prints)], "image.fingerprints": True, "shard.rows": 2}
    run(source, tmp_path / "one", **settings)
    run(source, tmp_path / "two", **settings)
    assert files(tmp_path / "one") == files(tmp_path / "two") != {}


def test_another_fingerprint_file_is_another_run(prints: Path, source: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.prints"
    mine.write_bytes(prints.read_bytes())
    run(source, tmp_path / "out", **{RULE: [str(mine)]})
    run(source, tmp_path / "out", **{RULE: [str(mine)]})  # nothing to do
    curate.fingerprint([path for path in PHOTOS if path.name == NAMES[4]], mine)
    with pytest.raises(CurateError):
        run(source, tmp_path / "out", **{RULE: [str(mine)]})


def test_a_file_that_is_none_stops_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.prints").write_bytes(b"curate fingerprints\n" + bytes(90))
    for rule in ("image_in_evaluation_set", "text_in_evaluation_set"):
        with pytest.raises(ManifestError, match="no whole fingerprint file"):
            run(source, tmp_path / "out", **{f"rules.{rule}.against": [str(tmp_path / "bad.prints")]})
    assert not (tmp_path / "out").exists()
    said = command("run", "laion", "--out", tmp_path / "out", "--set", f"{RULE}={tmp_path / 'missing'}")
    assert (said.returncode, said.stderr.count("\n")) == (2, 1), said.stderr


def test_texts_of_evaluation_sets_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "qa.jsonl").write_text(
        json.dumps({"question": "What is the tall bridge over the wide river made of?", "answer": "steel"})
    )
    curate.fingerprint(tmp_path / "qa.jsonl", tmp_path / "qa.prints")
    rows = [pair(1, TEXT="Quiz: what is the tall bridge over the wide river called"), pair(2)]
    source = write_pairs(tmp_path / "pairs.parquet", rows)
    against = {"rules.text_in_evaluation_set.against": [str(tmp_path / "qa.prints")]}
    result = run(source, tmp_path / "out", **against)
    assert (result.rows_out, result.dropped) == (1, {"text_in_evaluation_set": 1})
    curate.report(tmp_path / "out")
    assert '<td>qa</td><td class="n">1</td>' in (tmp_path / "out" / "report.html").read_text()
    result = run(source, tmp_path / "longer", **against, **{"rules.text_in_evaluation_set.ngram": 12})
    assert result.rows_out == 2


def test_a_dialogue_falls_for_any_of_its_images(prints: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in (NAMES[0], NAMES[3]):
        (tmp_path / "images" / name).write_bytes(
            next(path for path in PHOTOS if path.name == name).read_bytes()
        )

    def dialogue(number: int, *names: str) -> dict[str, Any]:
        asked = "<image>" * len(names) + f"What do these {number} pictures show?"
        talk = [{"from": "human", "value": asked}, {"from": "gpt", "value": "A place and what is in it."}]
        return {"id": str(number), "image": list(names), "conversations": talk}

    rows = [dialogue(1, NAMES[3], NAMES[0]), dialogue(2, NAMES[3])]
    (tmp_path / "talks.json").write_text(json.dumps(rows))
    result = curate.run(
        "llava-instruct",
        tmp_path / "out",
        tmp_path / "talks.json",
        settings={RULE: [str(prints)], "image.folder": str(tmp_path / "images")},
        workers=0,
        progress=False,
    )
    assert isinstance(result, curate.RunResult)
    assert (result.rows_out, result.dropped) == (1, {"image_in_evaluation_set": 1})


def test_flat_images_are_never_copies(prints: Path, tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.fromarray(np.full((220, 240, 3), 200, np.uint8)).save(out, "JPEG")
    source = write_pairs(tmp_path / "pairs.parquet", [pair(1, image=out.getvalue())])
    assert run(source, tmp_path / "out", **{RULE: [str(prints)]}).rows_out == 1


def test_the_report_shows_which_set_how_many_and_both_pictures(
    prints: Path, source: Path, tmp_path: Path
) -> None:
    run(source, tmp_path / "out", **{RULE: [str(prints)]})
    curate.report(tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text()
    section = html.partition('<section id="overlaps">')[2].partition("</section>")[0]
    assert section.count("<img src=") == 4
    assert "test-set: astronaut.jpg" in section
    assert '<td>test-set</td><td class="n">2</td>' in section
    run(source, tmp_path / "without")
    curate.report(tmp_path / "without")
    assert "overlaps" not in (tmp_path / "without" / "report.html").read_text()
