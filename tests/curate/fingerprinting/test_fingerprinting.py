"""`curate fingerprint`: images and texts of any kind of input into one file."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import InputError, ManifestError
from curate.images.evaluation import EvaluationImages, EvaluationSet, read_set
from tests.curate.runs import curate as command
from tests.curate.runs import done, pair, picture, write_pairs
from tests.curate.tar_files import tar_of


def made(paths: Any, out: Path, **options: Any) -> tuple[curate.FingerprintResult, EvaluationSet]:
    result = curate.fingerprint(paths, out, **options)
    return result, read_set(out.read_bytes(), out)


def test_folders_tars_and_parquet_give_the_same_fingerprints(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "a.jpg").write_bytes(picture(1))
    (tmp_path / "folder" / "deep" / "b.png").write_bytes(picture(2, kind="PNG"))
    tar_of(tmp_path / "set.tar", {"a.jpg": picture(1), "a.json": b"{}", "b.png": picture(2, kind="PNG")})
    rows = [
        {"image": {"bytes": picture(1), "path": "a"}},
        {"image": {"bytes": picture(2, kind="PNG"), "path": "b"}},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set.parquet")
    lists = [{"images": [picture(1), picture(2, kind="PNG")]}]
    pq.write_table(pa.Table.from_pylist(lists), tmp_path / "lists.parquet")
    found = [
        made(tmp_path / name, tmp_path / f"{name}.prints")[1]
        for name in ("folder", "set.tar", "set.parquet", "lists.parquet")
    ]
    assert [one.prints.tobytes() for one in found] == [found[0].prints.tobytes()] * 4
    names = [[one.image_name(0), one.image_name(1)] for one in found]
    assert names == [
        ["a.jpg", "deep/b.png"],
        ["set.tar#0", "set.tar#1"],
        ["set.parquet#0", "set.parquet#1"],
        ["lists.parquet#0", "lists.parquet#0"],
    ]
    assert found[0].header["sources"][0] == {"name": ".", "images": 1, "texts": 0}


def test_images_in_base64_are_found(tmp_path: Path) -> None:
    said = base64.b64encode(picture(1)).decode()
    tsv = f"index\tquestion\timage\n0\tWhat is it?\t{said}\n1\tAnd now?\t0\n2\tAnd here?\t{said[:3000]}\n"
    (tmp_path / "mmbench.tsv").write_text(tsv)
    lines = [{"photo": f"data:image/jpeg;base64,{said}"}, {"photo": "BMW, a car"}, {"photo": None}]
    (tmp_path / "urls.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "lists.jsonl").write_text(json.dumps({"pictures": [said, said]}))
    (tmp_path / "a.jpg").write_bytes(picture(1))
    _, whole = made(tmp_path / "a.jpg", tmp_path / "a.prints")
    for name, left_out in (("mmbench.tsv", {"damaged": 1}), ("urls.jsonl", {}), ("lists.jsonl", {})):
        result, found = made(tmp_path / name, tmp_path / f"{name}.prints")
        assert found.prints[0].tobytes() == whole.prints[0].tobytes()
        assert result.raw["left_out"] == left_out
    assert result.images == 2


def test_shards_of_a_run_are_an_input(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "pairs.parquet", [pair(1), pair(2)])
    done("run", "laion", "--input", source, "--out", tmp_path / "out", "--workers", 0)
    result, _ = made(tmp_path / "out", tmp_path / "out.prints")
    assert result.images == 2


def test_questions_and_answers_become_words(tmp_path: Path) -> None:
    lines = [{"question": "What is it?", "answers": ["a cat", "a cat", "cat"]}, {"question": None}, {"x": 1}]
    (tmp_path / "qa.jsonl").write_text("\n".join(map(json.dumps, lines)))
    result, found = made(tmp_path / "qa.jsonl", tmp_path / "qa.prints")
    assert (result.images, result.texts) == (0, 1)
    assert found.texts()[1].tolist() == [6]  # what is it a cat cat
    result, _ = made(tmp_path / "qa.jsonl", tmp_path / "qa.prints", columns=["question"])
    assert result.texts == 1


def test_pictures_are_kept_small_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(1, 900, 700))
    _, found = made(tmp_path / "a.jpg", tmp_path / "with.prints")
    assert found.picture(0)[:2] == b"\xff\xd8"
    assert len(found.picture(0)) < 8000
    _, without = made(tmp_path / "a.jpg", tmp_path / "without.prints", pictures=False)
    assert without.picture(0) == b""
    assert without.prints.tobytes() == found.prints.tobytes()


def test_what_cannot_be_fingerprinted_is_counted(tmp_path: Path) -> None:
    members = {"a.jpg": picture(1), "b.jpg": picture(2)[:900], "c.jpg": b"no image", "d.npy": b"\x93NUMPY"}
    result, _ = made(tar_of(tmp_path / "set.tar", members), tmp_path / "set.prints")
    assert (result.images, result.left_out) == (1, {"damaged": 1, "not_an_image": 1})


def test_the_command_says_what_it_made(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(1))
    out = tmp_path / "new" / "set.prints"
    said = command("fingerprint", tmp_path / "a.jpg", "--out", out)
    assert (said.returncode, said.stdout.split(",")[0]) == (0, "1 image")
    assert done("fingerprint", tmp_path / "a.jpg", "--out", out)["method"] == "pdq-17"
    assert [path.name for path in out.parent.iterdir()] == ["set.prints"]


def test_nothing_to_fingerprint_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "text.jsonl").write_text('{"x": 1}')
    for name in ("broken.jpg", "text.jsonl", "missing", "broken.jpg/*"):
        with pytest.raises(InputError) as caught:
            curate.fingerprint(tmp_path / name, tmp_path / "out.prints")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.prints").exists()
    said = command("fingerprint", tmp_path / "broken.jpg", "--out", tmp_path / "out.prints")
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("name", ["cut.tar", "cut.parquet", "none.tar"])
def test_a_hostile_container_is_one_line(name: str, tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "whole.tar", {"a.jpg": picture(1)}).read_bytes()
    bodies = {
        "cut.tar": whole[:1000],
        "cut.parquet": b"PAR1" + whole[:300] + b"PAR1",
        "none.tar": b"\0" * 4000,
    }
    (tmp_path / name).write_bytes(bodies[name])
    with pytest.raises(InputError) as caught:
        curate.fingerprint(tmp_path / name, tmp_path / "out.prints")
    assert "\n" not in str(caught.value)


def test_the_file_lies_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(1))
    for out in ("s3://bucket/set.prints", str(tmp_path)):
        with pytest.raises(ManifestError, match="must be a file"):
            curate.fingerprint(tmp_path / "a.jpg", out)


def test_a_list_of_pdq_hashes_is_an_input(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(1))
    _, whole = made(tmp_path / "a.jpg", tmp_path / "a.prints")
    (tmp_path / "bad.txt").write_text(f"\n{whole.prints[0, 0].tobytes().hex().upper()},100\r\n\n")
    result, found = made(tmp_path / "bad.txt", tmp_path / "bad.prints")
    assert (result.images, found.image_name(0)) == (1, "bad.txt:2")
    assert EvaluationImages((found,)).nearest(whole.prints, 31)[0] == (found, 0, 0)


@pytest.mark.parametrize("content", [b"12", b"zz" * 32, b"\xff\x00" * 40, b"a" * 63, b"a" * 65, b"1" * 10**6])
def test_a_list_of_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(InputError, match="line 1 is no PDQ hash") as caught:
        curate.fingerprint(tmp_path / "bad.txt", tmp_path / "out.prints")
    assert len(str(caught.value)) < 200
