"""Inputs that are damaged or empty: one dropped row each beside others, and the end of a run that has no others."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate as package
from curate.engine.command import request, survey
from curate.errors import UnreadableInputError
from curate.manifest.load import load
from curate.origins import open_origin
from curate.sources import Input, blame
from tests.curate.runs import pair, write_pairs

ROWS = [{name: value for name, value in pair(n).items() if name != "image"} for n in range(4)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
JUNK = random.Random(7).randbytes(4000)


def tar(mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for number, row in enumerate(ROWS):
            for name, body in ((f"{number}.jpg", JUNK), (f"{number}.json", json.dumps(row).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(body)
                archive.addfile(member, io.BytesIO(body))
    return out.getvalue()


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), out)
    return out.getvalue()


def cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def lost(folder: Path) -> list[dict[str, str]]:
    """The rows that were dropped."""
    return [row for path in folder.glob("_dropped/*.parquet") for row in pq.read_table(path).to_pylist()]


BROKEN = {
    "cut.parquet": cut(parquet()),
    "cut.json": cut(json.dumps(ROWS).encode()),
    "cut.jsonl.gz": cut(gzip.compress(LINES)),
    "cut.csv.gz": cut(gzip.compress(b"URL,TEXT\n" + b"a,b\n" * 9000)),
    "cut.tar": cut(tar("w")),
    "cut-packed.tgz": cut(tar("w:gz")),
    "page.jsonl": b"<html>502 Bad Gateway</html>\n",
    "wide.csv": ("URL,TEXT\n".encode("utf-16")),
    **{f"junk.{kind}": JUNK for kind in ("parquet", "json", "jsonl", "csv", "tar", "tgz", "jsonl.zst")},
    **{f"zeros.{kind}": bytes(2000) for kind in ("parquet", "json", "jsonl", "csv", "tsv", "csv.bz2")},
}
EMPTY = {
    "nothing.csv": b"",
    "header.csv": b"URL,TEXT\n",
    "list.json": b"[]",
    "zeros.tar": bytes(10240),
    "nothing.tgz": b"",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("in")
    write_pairs(made / "good.parquet", [pair(n) for n in range(3)])
    for name, content in (BROKEN | EMPTY).items():
        (made / name).write_bytes(content)
    return made


def test_inputs_that_cannot_be_read_cost_themselves_alone(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = package.run("laion", out=tmp_path / "out", inputs=[folder], workers=0, progress=False)
    assert result.rows_out == 3
    assert result.dropped == {"unreadable": len(BROKEN), "empty": len(EMPTY)}
    assert result.rows_in == 3 + len(BROKEN) + len(EMPTY)
    rows = lost(tmp_path / "out")
    assert {row["source"]: row["reason"] for row in rows} == dict.fromkeys(BROKEN, "unreadable") | (
        dict.fromkeys(EMPTY, "empty")
    )
    assert all(row["source"] in row["detail"] for row in rows)
    assert f"{len(BROKEN) + len(EMPTY)} inputs cannot be read, counted as one dropped row each" in caplog.text
    assert package.explain(tmp_path / "out", "cut.tar").reason == "unreadable"
    assert not package.verify(tmp_path / "out").damaged
    again = package.retry(
        tmp_path / "out", reasons=["unreadable"], out=tmp_path / "again", workers=0, progress=False
    )
    assert again.dropped == {"unreadable": len(BROKEN)}


def test_a_selection_and_a_calibration_count_them_too(folder: Path, tmp_path: Path) -> None:
    selected = package.select("laion", out=tmp_path / "out", inputs=[folder], workers=0, progress=False)
    assert (selected.rows_out, Counter(selected.dropped)) == (
        3,
        Counter(unreadable=len(BROKEN), empty=len(EMPTY)),
    )
    settings = {"rules.pretty.column": "similarity", "rules.pretty.min": 0.1}  # a column that those lack
    found = package.calibrate("laion", inputs=[folder], settings=settings)
    of = 3 + len(BROKEN) + len(EMPTY)
    assert found.table[0]["alone"]["share"] == round(1 - 3 / of, 6)


@pytest.mark.parametrize("name", [*BROKEN, *EMPTY])
def test_an_input_that_cannot_be_read_is_refused_by_itself(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(package.InputError, match=r"\S") as caught:
        package.run("laion", out=tmp_path / "out", inputs=[folder / name], workers=0, progress=False)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_run_of_nothing_but_inputs_that_cannot_be_read_is_refused(folder: Path, tmp_path: Path) -> None:
    inputs = [folder / "cut.tar", folder / "nothing.csv"]
    with pytest.raises(package.InputError, match=r"none of the 2 inputs can be read: .*cut\.tar"):
        package.run("laion", out=tmp_path / "out", inputs=inputs, workers=0, progress=False)


def test_archives_of_documents_cost_themselves_alone(tmp_path: Path) -> None:
    flipped = bytearray(gzip.compress(random.Random(3).randbytes(9000).hex().encode()))
    flipped[3000] ^= 255
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a.txt", "The tide comes in twice a day, and goes out as often.")
    broken = {
        "cut.zip": cut(whole.getvalue()),
        "cut.tar": cut(tar("w")),
        "flipped.tgz": flipped,
        "empty.zip": b"",
    }
    for name, content in ({"whole.zip": whole.getvalue()} | broken).items():
        (tmp_path / name).write_bytes(content)
    result = package.run("text", out=tmp_path / "out", inputs=[tmp_path], workers=0, progress=False)
    assert (result.rows_out, result.dropped) == (1, {"unreadable": len(broken)})
    assert {row["source"] for row in lost(tmp_path / "out")} == set(broken)


@pytest.mark.parametrize(("manifest", "name"), [("laion", "%s.csv"), ("text", "%s.txt"), ("text", "%s.zip")])
def test_what_is_no_file_in_a_folder_costs_itself_alone(tmp_path: Path, manifest: str, name: str) -> None:
    folder, link, pipe = tmp_path / "in", name % "link", name % "pipe"
    (folder / "deep").mkdir(parents=True)
    (folder / link).symlink_to(tmp_path / "gone")
    os.mkfifo(folder / pipe)
    write_pairs(folder / "deep" / "good.parquet", [pair(n) for n in range(3)])
    (folder / "good.txt").write_text("The tide comes in twice a day, and goes out as often.")
    result = package.run(manifest, out=tmp_path / "out", inputs=[folder], workers=0, progress=False)
    assert result.dropped["unreadable"] == 2
    rows = [row for row in lost(tmp_path / "out") if row["reason"] == "unreadable"]
    assert {row["source"].removesuffix("#0") for row in rows} == {link, pipe}
    assert all("a broken link, a pipe or a device" in row["detail"] for row in rows)
    again = package.retry(
        tmp_path / "out", reasons=["unreadable"], out=tmp_path / "again", workers=0, progress=False
    )
    assert again.dropped == {"unreadable": 2}


def test_a_file_that_cannot_be_had_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cut.tgz").write_bytes(BROKEN["cut-packed.tgz"])
    (asked,) = request(load("laion"), [str(tmp_path)]).inputs

    def fails(source: Input) -> int:
        raise OSError("connection reset")

    monkeypatch.setattr(blame, "_bytes", fails)
    with pytest.raises(package.InputError) as caught:
        open_origin(asked, load("laion"), tmp_path / "work")
    assert not isinstance(caught.value, UnreadableInputError)


def test_a_survey_tells_why_an_input_is_one_row(folder: Path, tmp_path: Path) -> None:
    asked = request(load("laion"), [str(folder / "list.json")])
    found = survey(asked.inputs[0], asked, tmp_path)
    assert found.fault is not None
    assert (found.rows, found.fault.reason) == (1, "empty")
