"""Documents and seeds, through the whole path."""

from __future__ import annotations

import io
import json
import shutil
import signal
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.manifest.load import load
from curate.origins.collection import Collection, collect
from curate.origins.seeds import Seeds
from curate.reporting.explain import lines
from tests.curate.runs import ROOT, curate, done, dropped, files, shards, written

SAMPLES = ROOT / "manifests" / "samples"
HERE = ("--workers", "0")


def records(folder: Path) -> list[tuple[Any, ...]]:
    """What a person would compare of two runs' records: everything but where they came from."""
    rows = shards(folder).select(["text", "target", "sha256", "width", "height"]).to_pylist()
    return sorted(tuple(row.values()) for row in rows)


def as_tar(folder: Path, to: Path) -> Path:
    with tarfile.open(to.with_suffix(".tar"), "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    return to.with_suffix(".tar")


def as_packed_tar(folder: Path, to: Path) -> Path:
    with tarfile.open(to.with_suffix(".tar.gz"), "w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    return to.with_suffix(".tar.gz")


def as_zip(folder: Path, to: Path) -> Path:
    with zipfile.ZipFile(to.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return to.with_suffix(".zip")


def as_warc(folder: Path, to: Path, content_type: str) -> Path:
    warcwriter = pytest.importorskip("warcio.warcwriter")
    headers = pytest.importorskip("warcio.statusandheaders")
    with to.with_suffix(".warc.gz").open("wb") as file:
        writer = warcwriter.WARCWriter(file, gzip=True)
        for path in sorted(folder.iterdir()):
            answer = headers.StatusAndHeaders("200 OK", [("Content-Type", content_type)], protocol="HTTP/1.1")
            record = writer.create_warc_record(
                f"https://pages.example/{path.name}",
                "response",
                io.BytesIO(path.read_bytes()),
                http_headers=answer,
            )
            writer.write_record(record)
    return to.with_suffix(".warc.gz")


@pytest.fixture(scope="module")
def pdfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pymupdf")
    out = tmp_path_factory.mktemp("pdfs")
    done("run", "pdf", "--out", out, *HERE)
    return out


def test_every_pdf_ends_as_pages_or_as_a_drop_with_its_reason(pdfs: Path) -> None:
    manifest = json.loads((pdfs / "_manifest.json").read_text())
    assert manifest["inputs_in"] == len(list((SAMPLES / "pdf").glob("*.pdf")))
    assert manifest["rows_in"] == manifest["rows_out"] + sum(manifest["dropped"].values())
    assert {"encrypted", "no_text_layer"} <= set(dropped(pdfs).values())
    row = shards(pdfs).to_pylist()[0]
    assert row["task"] == "ocr"
    assert row["source"].endswith("#1")
    for region in row["regions"]:
        assert row["text"][region["start"] : region["end"]] == region["text"]
        assert all(0 <= x <= row["width"] for x in region["quad"][0::2])
        assert all(0 <= y <= row["height"] for y in region["quad"][1::2])
    assert row["target"].startswith(f" <ref>{row['regions'][0]['text']}</ref> <quad>(")
    assert done("verify", pdfs)["damaged"] == {}


@pytest.mark.parametrize("pack", [as_tar, as_packed_tar, as_zip])
def test_an_archive_gives_the_records_of_the_folder_in_it(
    pdfs: Path, tmp_path: Path, pack: Callable[[Path, Path], Path]
) -> None:
    archive = pack(SAMPLES / "pdf", tmp_path / "documents")
    done("run", "pdf", "--input", archive, "--out", tmp_path / "out", *HERE)
    assert records(tmp_path / "out") == records(pdfs)
    members = {source.partition("!")[2] for source in shards(tmp_path / "out")["source"].to_pylist()}
    assert members == set(shards(pdfs)["source"].to_pylist())
    assert shards(tmp_path / "out")["source"][0].as_py().startswith(f"{archive.name}!")


def test_a_warc_gives_the_records_of_the_documents_in_it(pdfs: Path, tmp_path: Path) -> None:
    archive = as_warc(SAMPLES / "pdf", tmp_path / "documents", "application/pdf")
    done("run", "pdf", "--input", archive, "--out", tmp_path / "out", *HERE)
    assert records(tmp_path / "out") == records(pdfs)
    assert shards(tmp_path / "out")["url"][0].as_py().startswith("https://pages.example/")


def test_a_pdf_without_a_type_is_known_by_its_beginning(pdfs: Path, tmp_path: Path) -> None:
    archive = as_warc(SAMPLES / "pdf", tmp_path / "documents", "application/octet-stream")
    done("run", "pdf", "--input", archive, "--out", tmp_path / "out", *HERE)
    assert records(tmp_path / "out") == records(pdfs)


def test_a_page_has_its_number_and_key_whatever_else_is_drawn(tmp_path: Path) -> None:
    pymupdf = pytest.importorskip("pymupdf")
    pdf = pymupdf.open()
    for number in range(1, 9):
        pdf.new_page(width=300, height=300).insert_text(
            (20, 50), f"This is page {number} of a book " * 3, fontsize=6
        )
    (tmp_path / "in").mkdir()
    pdf.save(tmp_path / "in" / "book.pdf")
    found = []
    for most in (3, 100):
        out = tmp_path / str(most)
        few = ("--set", f"render.max_pages={most}", "--set", "rules.image_too_small=false")
        done("run", "pdf", "--input", tmp_path / "in", "--out", out, *few, *HERE)
        found.append({row["source"]: (row["key"], row["sha256"]) for row in shards(out).to_pylist()})
    assert len(found[0]) == 3
    assert found[0].items() <= found[1].items()
    assert set(found[1]) == {f"book.pdf#{number}" for number in range(1, 9)}
    fates = [done("explain", tmp_path / "3", f"book.pdf#{number}") for number in range(1, 9)]
    assert [fate["fate"] for fate in fates].count("kept") == 3
    assert {fate.get("reason") for fate in fates} == {None, "beyond_max_pages"}
    assert len(done("explain", tmp_path / "3", "book.pdf")["also"]) == 7


def test_a_document_that_is_none_costs_itself_alone(pdfs: Path, tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "pdf", tmp_path / "in")
    (tmp_path / "in" / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing more")
    (tmp_path / "in" / "empty.pdf").write_bytes(b"")
    (tmp_path / "in" / "picture.pdf").write_bytes(b"\xff\xd8\xff\xe0" + bytes(500))
    done("run", "pdf", "--input", tmp_path / "in", "--out", tmp_path / "out", *HERE)
    assert records(tmp_path / "out") == records(pdfs)
    reasons = dropped(tmp_path / "out")
    assert reasons["empty.pdf"] == "empty"
    assert {"broken.pdf", "picture.pdf"} <= set(reasons)


def test_killed_pdf_runs_resume_to_the_same_bytes(pdfs: Path, tmp_path: Path) -> None:
    command = ["run", "pdf", "--out", tmp_path, *HERE]
    for more in (1, 3):
        enough = written(tmp_path) + more
        killed = curate(*command, until=lambda: written(tmp_path) >= enough)  # noqa: B023
        assert killed.returncode == -signal.SIGKILL
    assert curate(*command).returncode == 0
    assert files(tmp_path) == files(pdfs)


def test_an_unknown_setting_of_a_renderer_is_refused_with_the_nearest(tmp_path: Path) -> None:
    pytest.importorskip("pymupdf")
    refused = curate("run", "pdf", "--out", tmp_path / "out", "--set", "render.long_sid=900")
    assert refused.returncode == 2
    assert "did you mean 'long_side'?" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Debian's chromium")
def test_a_warc_of_web_pages_gives_the_records_of_the_pages(tmp_path: Path) -> None:
    pytest.importorskip("pyppeteer")
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("english.html", "chinese.html"):
        shutil.copy(SAMPLES / "html" / name, folder)
    result = done("run", "html", "--input", folder, "--out", tmp_path / "pages", *HERE)
    assert result["inputs_in"] == 2
    assert {row["language"] for row in shards(tmp_path / "pages").to_pylist()} == {"en", "zh"}
    archive = as_warc(folder, tmp_path / "crawl", "text/html; charset=utf-8")
    done("run", "html", "--input", archive, "--out", tmp_path / "crawled", *HERE)
    kept = [shards(tmp_path / name).select(["text", "target"]).to_pylist() for name in ("pages", "crawled")]
    assert sorted(map(str, kept[0])) == sorted(map(str, kept[1]))


NEEDS_SYNTHTIGER = pytest.mark.skipif(find_spec("synthtiger") is None, reason="needs the extra synthdog")


@NEEDS_SYNTHTIGER
@pytest.mark.parametrize("language", ["en", "zh"])
def test_synthetic_documents_resume_to_the_same_bytes(tmp_path: Path, language: str) -> None:
    few = ("--limit", "6", "--seed", "7", "--set", "shard.rows=2", *HERE)
    done("run", f"synthdog-{language}", "--out", tmp_path / "whole", *few)
    command = ["run", f"synthdog-{language}", "--out", tmp_path / "cut", *few]
    killed = curate(*command, until=lambda: any((tmp_path / "cut").glob("_run/done/*/*.json")))
    assert killed.returncode == -signal.SIGKILL
    done(*command)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    row = shards(tmp_path / "whole").to_pylist()[0]
    assert (row["language"], row["task"]) == (language, "ocr")
    assert json.loads(row["extra"])["seed"] == 7


@NEEDS_SYNTHTIGER
def test_synthetic_documents_are_the_same_whatever_the_units_and_children(tmp_path: Path) -> None:
    manifest = load("synthdog-en")
    once = Seeds(manifest, children=1)
    whole = pa.concat_tables(once.read(3, 11))
    once.close()
    parted = Seeds(manifest, children=2)
    units = [pa.concat_tables(parted.read(*unit)) for unit in ((3, 6), (6, 9), (2, 4), (9, 11))]
    parted.close()
    assert pa.concat_tables([*units[:2], units[3]]).equals(whole)
    assert units[2].slice(1).equals(whole.slice(0, 1))
    assert whole["source"].to_pylist() == [f"seed-0#{index}" for index in range(3, 11)]


@NEEDS_SYNTHTIGER
def test_a_synthetic_run_takes_paths_from_where_it_was_started_and_records_what_it_used(
    tmp_path: Path,
) -> None:
    saying = "Now is the time for all good men to come to the aid. "
    (tmp_path / "corpus.txt").write_text(saying * 20)
    setting = 'render.document.content.text.paths=["corpus.txt"]'
    done(
        "run", "synthdog-en", "--out", tmp_path / "out", "--limit", "2", "--set", setting, *HERE, cwd=tmp_path
    )
    words = set(" ".join(shards(tmp_path / "out")["text"].to_pylist()).split())
    assert words <= set(saying.split())
    (used,) = json.loads((tmp_path / "out" / "_manifest.json").read_text())["inputs"]
    kinds = {part["uri"].partition(":")[0] for part in used["parts"]}
    assert kinds == {"font", "corpus", "backgrounds", "papers"}


@NEEDS_SYNTHTIGER
def test_another_seed_gives_other_documents(tmp_path: Path) -> None:
    for seed in (1, 2):
        done("run", "synthdog-en", "--out", tmp_path / str(seed), "--limit", "1", "--seed", seed, *HERE)
    assert shards(tmp_path / "1")["text"] != shards(tmp_path / "2")["text"]


def test_threads_that_read_one_archive_get_their_own_documents(tmp_path: Path) -> None:
    contents = {f"{number}.pdf": bytes([number]) * 50_000 for number in range(200)}
    with tarfile.open(tmp_path / "documents.tar", "w") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (found,) = collect([str(tmp_path)], (".pdf",))
    collection = Collection(found, (".pdf",), (), tmp_path / "work")
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            read = pool.map(lambda entry: collection.content(entry, 10**6), collection.documents)
            assert list(read) == list(contents.values())


def test_a_limit_takes_the_first_pages(tmp_path: Path) -> None:
    pymupdf = pytest.importorskip("pymupdf")
    (tmp_path / "documents").mkdir()
    for name, count in (("a", 3), ("b", 30), ("c", 4)):
        with pymupdf.open() as book:
            for number in range(1, count + 1):
                text = f"{name} has a page with the number {number}, and some more words on it"
                book.new_page(width=300, height=300).insert_text((20, 50), text, fontsize=8)
            book.save(tmp_path / "documents" / f"{name}.pdf")
    inputs = ("--input", tmp_path / "documents", "--set", "render.max_pages=20", *HERE)
    result = done("run", "pdf", "--out", tmp_path / "out", *inputs, "--limit", 7)
    assert (result["rows_in"], result["rows_out"], result["inputs_in"]) == (7, 7, 2)
    done("run", "pdf", "--out", tmp_path / "whole", *inputs)
    assert shards(tmp_path / "out")["key"].to_pylist() == shards(tmp_path / "whole")["key"].to_pylist()[:7]
    assert done("verify", tmp_path / "out")["damaged"] == {}


def test_a_long_page_is_several_records(tmp_path: Path) -> None:
    pymupdf = pytest.importorskip("pymupdf")
    with pymupdf.open() as pdf:
        page = pdf.new_page(width=600, height=4000)
        for line in range(100):
            page.insert_text((40, 60 + 38 * line), f"{line} has words of a page that is long", fontsize=11)
        pdf.save(tmp_path / "long.pdf")
    done("run", "pdf", "--input", tmp_path / "long.pdf", "--out", tmp_path / "out", *HERE)
    found = shards(tmp_path / "out")
    parts = range(1, found.num_rows + 1)
    assert found["source"].to_pylist() == [f"long.pdf#1.{part}" for part in parts]
    assert len(set(found["key"].to_pylist())) == len(parts) > 4
    for name in ("long.pdf", "long.pdf#1"):
        told = done("explain", tmp_path / "out", name)
        assert [one["source"] for one in (told, *told["also"])] == found["source"].to_pylist()
        assert [(one["page"], one["part"]) for one in told["also"]] == [(1, part) for part in parts[1:]]
    said = list(lines(told))
    assert any(line.startswith("  page 1, part 2: kept: shard-000000.parquet, row 1, key ") for line in said)
    assert done("explain", tmp_path / "out", "long.pdf#1.2")["source"] == "long.pdf#1.2"
