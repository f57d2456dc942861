from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from curate.adapters.plain_text import text
from curate.errors import InputError
from curate.manifest.load import load
from tests.curate.runs import dropped
from tests.curate.tasks_runs import curated

DATA = Path(__file__).parents[4] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs the read-only test data beside the repository")


def test_text_files_are_a_document_each_whatever_holds_them(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbfOne.\nStill one.\n")
    (folder / "deep" / "b.txt").write_text("二。")
    (folder / "bad.txt").write_bytes(b"caf\xe9")
    (folder / "notes.jsonl").write_text('{"text": "Three"}\n{"text": " "}\n')
    with tarfile.open(tmp_path / "more.tar", "w") as archive:
        archive.add(folder / "a.txt", "c.txt")
    manifest, kept = curated("text", tmp_path / "out", [folder, tmp_path / "more.tar"])
    assert sorted(kept["target"].to_pylist()) == ["One.\nStill one.", "Three", "二。"]
    assert kept["image"].null_count == kept.num_rows
    assert set(kept["prompt"].to_pylist()) == {""}
    assert dict(zip(kept["text"].to_pylist(), kept["language"].to_pylist(), strict=True))["二。"] == "zh"
    assert manifest["dropped"] == {"id_repeated": 1, "text_missing": 1, "text_not_utf8": 1}
    assert dropped(tmp_path / "out")["bad.txt#0"] == "text_not_utf8"


def test_lines_are_documents_on_request(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("One\tline\n\nTwo\n")
    _, kept = curated("text", tmp_path / "out", [tmp_path / "corpus.txt"], ["input.format=lines"])
    assert kept["text"].to_pylist() == ["One\tline", "Two"]


def test_paragraphs_are_one_text() -> None:
    made = text(pa.table({"paragraphs": [["Eins.", "Zwei."], [], None]}), load("text"), "poems", 0)
    assert made["text"].to_pylist() == ["Eins.\nZwei.", None, None]
    assert made["dropped"].to_pylist() == [None, "text_missing", "text_missing"]


def test_a_folder_without_texts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_text("no")
    with pytest.raises(InputError, match="no input at"):
        curated("text", tmp_path / "out", [tmp_path])


@real
@pytest.mark.parametrize("path", ["text/udhr/udhr_article1.jsonl", "text/chinese_poetry/lunyu.jsonl"])
def test_real_texts_all_arrive(path: str, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (DATA / path).read_text().splitlines()]
    manifest, kept = curated("text", tmp_path / "out", [DATA / path])
    texts = {"\n".join(row["paragraphs"]) if "paragraphs" in row else row["text"].strip() for row in rows}
    assert set(kept["target"].to_pylist()) == {one.strip() for one in texts} - {""}
    assert manifest["rows_in"] == len(rows)
