"""Archives of every kind as inputs: what is read, what is refused by name, what costs itself alone."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from curate.errors import InputError
from curate.manifest.load import load
from curate.origins import collection
from curate.origins.collection import Collection, collect
from curate.origins.table_rows import find_tables
from curate.sources import Input

SUFFIXES = (".html",)
TYPES = ("text/html",)


def warc(*pages: tuple[str, bytes], kind: str = "response") -> bytes:
    stream = io.BytesIO()
    writer = WARCWriter(stream, gzip=True)
    writer.write_record(writer.create_warcinfo_record("test.warc", {"software": "a test"}))
    http = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
    for url, body in pages:
        headers = http if kind == "response" else None
        given = "" if headers else "text/plain"
        record = writer.create_warc_record(
            url, kind, payload=io.BytesIO(body), http_headers=headers, warc_content_type=given
        )
        writer.write_record(record)
    return stream.getvalue()


def opened(path: Path) -> Collection:
    (found,) = collect([str(path)], SUFFIXES)
    return Collection(found, SUFFIXES, TYPES, path.parent / "work")


def test_a_wacz_file_gives_the_pages_of_all_its_warc_files(tmp_path: Path) -> None:
    path = tmp_path / "site.wacz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/a.warc.gz", warc(("http://site.test/a", b"<p>a")))
        archive.writestr(
            "archive/b.warc.gz", warc(("http://site.test/b", b"<p>b"), ("http://site.test/c", b"<p>c"))
        )
        archive.writestr("pages/pages.jsonl", "{}")
    pages = opened(path)
    assert [entry.name[-1] for entry in pages.documents] == ["a", "b", "c"]
    assert [pages.content(entry, 99) for entry in reversed(pages.documents)] == [b"<p>c", b"<p>b", b"<p>a"]
    pages.close()


def test_a_wacz_file_that_unpacks_to_far_more_than_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.wacz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/a.warc.gz", bytes(40 << 20))
    with pytest.raises(InputError, match="more than 20 times its size"):
        opened(path)


@pytest.mark.parametrize("name", ["none.warc.gz", "none.zip", "none.wacz"])
def test_an_archive_without_a_page_is_one_input_that_gave_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith(".warc.gz"):
        path.write_bytes(warc())
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/a.warc.gz", warc())
    (only,) = opened(path).documents
    assert only.dropped == "no_pages"


REFUSED = {
    "crawl.warc.wet.gz": "WET file",
    "crawl.warc.wat.gz": "WAT file",
    "urls.txt": "list or a table",
    "urls.parquet": "list or a table",
    "urls.csv.gz": "list or a table",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_pages_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"https://site.test/")
    with pytest.raises(InputError, match=REFUSED[name]):
        collect([str(tmp_path / name)], SUFFIXES)


@pytest.mark.parametrize(("kind", "what"), [("conversion", "WET"), ("metadata", "WAT")])
def test_an_extract_under_another_name_is_known_by_its_records(tmp_path: Path, kind: str, what: str) -> None:
    (tmp_path / "crawl.warc.gz").write_bytes(warc(("http://site.test/a", b"text"), kind=kind))
    with pytest.raises(InputError, match=f"a {what} file"):
        opened(tmp_path / "crawl.warc.gz")


def test_what_is_no_document_is_passed_over_in_a_folder(tmp_path: Path) -> None:
    for name in ("a.html", "urls.txt", "crawl.warc.wet.gz"):
        (tmp_path / name).write_bytes(b"<p>a")
    (found,) = collect([str(tmp_path)], SUFFIXES)
    assert [entry.name for entry in Collection(found, SUFFIXES, TYPES, tmp_path / "_work").documents] == [
        "a.html"
    ]


def packed_tar(path: Path, size: int) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in (("a.html", b"<p>a"), ("filler.bin", bytes(size))):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_many_files_are_not_compared_with_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes time by the square of their number: 20,000 documents took a minute to list."""
    for number in range(9):
        (tmp_path / f"{number}.txt").write_text("A tide.")
        (tmp_path / f"instances{number}.json").write_text("{}")
    monkeypatch.setattr(Input, "__eq__", lambda one, other: pytest.fail("compared"))
    assert [one.name for one in collect([str(tmp_path)], (".txt",))] == [""]
    assert len(find_tables(load("vgqa"), [str(tmp_path)])[0].parts) == 9


def test_a_packed_tar_that_unpacks_to_far_more_than_itself_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "SMALL", 2**20)
    path = packed_tar(tmp_path / "bomb.tar.gz", 40 << 20)
    with pytest.raises(
        InputError, match=r"bomb\.tar\.gz: it unpacks to more than .* see input\.max_expansion"
    ):
        opened(path)
    assert [one for one in (tmp_path / "work").iterdir() if one.stat().st_size] == []
    assert [entry.name for entry in opened(packed_tar(tmp_path / "b.tgz", 2**19)).documents] == ["a.html"]


def test_a_tar_of_documents_whose_header_asks_for_gigabytes_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2**31
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**31 + 2048)
    with pytest.raises(InputError, match="a header of 2147483648 bytes"):
        opened(path)
