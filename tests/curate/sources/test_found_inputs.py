"""Inputs as people have them: img2dataset's folders, lists of captions, dotted names, other delimiters."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.curate.runs import curate, done, dropped, pair, picture, shards, write_pairs
from tests.curate.tar_files import tar_of

HERE = ("--workers", "0")


@pytest.fixture
def downloaded(tmp_path: Path) -> Path:
    """What img2dataset leaves: of four images two, in a tar, and a table of all."""
    folder = tmp_path / "folder"
    folder.mkdir()
    rows, files = [], dict[str, bytes]()
    for number in range(4):
        had = number in (1, 2)
        row = {"url": f"https://a.example/{number}.jpg", "caption": f"The old harbour, number {number}"}
        row |= {"key": f"00000{number}", "status": "success" if had else "failed_to_download"}
        row |= {"error_message": None if had else "HTTP Error 404: Not Found", "similarity": 0.4}
        rows.append(row)
        if had:
            files[f"00000{number}.jpg"] = picture(number)
            files[f"00000{number}.json"] = json.dumps(row).encode()
            files[f"00000{number}.txt"] = str(row["caption"]).encode()
    rows[3]["status"] = "failed_to_resize"
    pq.write_table(pa.Table.from_pylist(rows), folder / "00000.parquet")
    tar_of(folder / "00000.tar", files)
    (folder / "00000_stats.json").write_text('{"count": 4, "successes": 2}')
    return folder


def test_an_img2dataset_folder_gives_its_images_and_what_failed_by_its_status(
    downloaded: Path, tmp_path: Path
) -> None:
    told = done("run", "laion", "--input", downloaded, "--out", tmp_path / "out", *HERE)
    assert (told["rows_in"], told["rows_out"]) == (4, 2)
    assert dropped(tmp_path / "out") == {
        "00000.parquet#0": "failed_to_download",
        "00000.parquet#3": "failed_to_resize",
    }
    details = pq.read_table(tmp_path / "out" / "_dropped")["detail"].to_pylist()
    assert details == ["HTTP Error 404: Not Found"] * 2


def test_a_table_without_its_tar_is_read_whole(downloaded: Path, tmp_path: Path) -> None:
    table = shutil.move(downloaded / "00000.parquet", tmp_path)
    told = done("run", "laion", "--input", table, "--out", tmp_path / "out", "--dry-run")
    assert (told["rows"], told["alive"]) == (4, 4)


def test_a_table_of_which_nothing_failed_adds_nothing(downloaded: Path, tmp_path: Path) -> None:
    table = pq.read_table(downloaded / "00000.parquet")
    pq.write_table(table.slice(1, 2), downloaded / "00000.parquet")
    told = done("run", "laion", "--input", downloaded, "--out", tmp_path / "out", *HERE)
    assert (told["rows_in"], told["rows_out"]) == (2, 2)


def test_a_list_of_captions_gives_a_record_each(tmp_path: Path) -> None:
    rows = [
        pair(n) | {"TEXT": texts}
        for n, texts in enumerate([["The old harbour", "A boat at sea"], ["One text"], None, []])
    ]
    source = write_pairs(tmp_path / "rows.parquet", rows)
    done("run", "laion", "--input", source, "--out", tmp_path / "out", *HERE)
    made = shards(tmp_path / "out")
    assert made["text"].to_pylist() == ["The old harbour", "A boat at sea", "One text"]
    assert made["source"].to_pylist() == ["rows.parquet#0/0", "rows.parquet#0/1", "rows.parquet#1"]
    assert dropped(tmp_path / "out") == {"rows.parquet#2": "text_missing", "rows.parquet#3": "text_missing"}
    refused = curate("select", "laion", "--input", source, "--out", tmp_path / "no")
    assert (refused.returncode, "'TEXT' holds lists of texts" in refused.stderr) == (2, True)


def test_of_several_captions_an_academic_set_keeps_the_longest(tmp_path: Path) -> None:
    captions = [["a boat", "a boat in the old harbour", "boats"], ["two people on a pier"]]
    rows = [
        {"url": f"https://a.example/{n}.jpg", "image": picture(n), "captions": texts}
        for n, texts in enumerate(captions)
    ]
    source = write_pairs(tmp_path / "rows.parquet", rows)
    told = done("run", "sbu", "--input", source, "--out", tmp_path / "out", *HERE)
    assert shards(tmp_path / "out")["text"].to_pylist() == [
        "a boat in the old harbour",
        "two people on a pier",
    ]
    assert told["dropped"] == {"shorter_text_of_same_image": 2}


def test_dotted_names_in_a_tar_are_told_apart(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for name in ("shot.1", "shot.2", "v1.0.cat", "plain"):
        files |= {f"a/{name}.jpg": picture(len(files)), f"a/{name}.txt": f"The harbour of {name}".encode()}
    files |= {"a/plain.seg.png": picture(99, kind="PNG"), "a/plain.json": b'{"similarity": 0.4}'}
    source = tar_of(tmp_path / "rows.tar", files)
    done(
        "run",
        "laion",
        "--input",
        source,
        "--out",
        tmp_path / "out",
        *HERE,
        "--set",
        "rules.clip_score_too_low=false",
    )
    made = shards(tmp_path / "out")
    assert made["text"].to_pylist() == [
        f"The harbour of {n}" for n in ("shot.1", "shot.2", "v1.0.cat", "plain")
    ]
    assert len(made["sha256"].unique()) == 4


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_csv_says_by_its_first_line_what_stands_between_its_fields(delimiter: str, tmp_path: Path) -> None:
    lines = [
        ["URL", "TEXT"],
        ["https://a.example/1.jpg", f'"The old, old{delimiter}harbour"'],
        ["https://a.example/2.jpg", "A boat, a pier"],
    ]
    source = tmp_path / "rows.csv"
    source.write_text("".join(delimiter.join(line) + "\n" for line in lines))
    told = done("run", "laion", "--input", source, "--out", tmp_path / "out", "--dry-run")
    assert [row["text"] for row in told["first_rows"]] == [
        f"The old, old{delimiter}harbour".replace("\t", " "),
        "A boat, a pier",
    ]


def test_a_csvs_delimiter_can_be_set(tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("URL~TEXT\nhttps://a.example/1.jpg~The old, old harbour\n")
    asked = ("run", "laion", "--input", source, "--out", tmp_path / "out", "--dry-run", "--set")
    assert done(*asked, "input.delimiter=~")["first_rows"][0]["text"] == "The old, old harbour"
    refused = curate(*asked, "input.delimiter=~~")
    assert (refused.returncode, "input.delimiter must be one character" in refused.stderr) == (2, True)


def test_the_pictures_of_a_crawl_are_pairs_with_their_alternative_texts(tmp_path: Path) -> None:
    pytest.importorskip("warcio")
    page = b"""<html><head><title>A  walk</title></head><body><img src="/a.jpg" alt="The old harbour &amp; its boats">
        <img src="b.jpg" alt=""><img src="data:image/gif;base64,R0" data-src="//b.example/c.jpg" alt="A boat at sea">
        <img src="javascript:alert(1)" alt="Nothing to fetch"><img alt="No address at all"></body></html>"""
    source = tmp_path / "crawl.warc.gz"
    write_warc(
        source, {"https://a.example/walk/page.html": page, "https://a.example/empty.html": b"<p>no picture"}
    )
    told = done("run", "alt-text", "--input", source, "--out", tmp_path / "out", "--dry-run")
    assert [(row["url"], row["text"]) for row in told["first_rows"] if row["url"]] == [
        ("https://a.example/a.jpg", "The old harbour & its boats"),
        ("https://b.example/c.jpg", "A boat at sea"),
    ]
    assert told["dropped"] == {"no_alt_texts": 1}


def test_a_hostile_page_costs_itself_alone(tmp_path: Path) -> None:
    pages = {f"{n}.html": b'<img alt="A boat at sea" src="https://a.example/%d.jpg">' % n for n in range(2)}
    pages["deep.html"] = b"<div>" * 200_000 + b'<img alt="A deep picture" src="https://a.example/deep.jpg">'
    pages["many.html"] = b"<" * 2_000_000
    pages["wide.html"] = b'<img alt="' + b"x" * 3_000_000 + b'" src="https://a.example/wide.jpg">'
    for name, content in pages.items():
        (tmp_path / name).write_bytes(content)
    told = done("run", "alt-text", "--input", tmp_path, "--out", tmp_path / "out", "--dry-run")
    assert {"https://a.example/0.jpg", "https://a.example/1.jpg"} <= {
        row["url"] for row in told["first_rows"]
    }


def test_an_address_is_found_by_either_spelling_of_its_ampersands(tmp_path: Path) -> None:
    urls = ["https://a.example/?a=1&amp;b=2", "https://a.example/?c=1&d=2"]
    source = write_pairs(tmp_path / "rows.parquet", [pair(n, URL=url) for n, url in enumerate(urls)])
    done("run", "laion", "--input", source, "--out", tmp_path / "out", *HERE)
    for url in urls:
        plain = url.replace("&amp;", "&")
        for name in (plain, plain.replace("&", "&amp;")):
            assert done("explain", tmp_path / "out", name)["url"] == url


def test_a_folder_that_was_reported_on_is_an_input_still(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "rows.parquet", [pair(n) for n in range(3)])
    done("run", "laion", "--input", source, "--out", tmp_path / "out", *HERE)
    done("report", tmp_path / "out")
    again = ("--out", tmp_path / "again", "--set", "columns.clip_score=clip_score", *HERE)
    assert done("run", "laion", "--input", tmp_path / "out", *again)["rows_out"] == 3


def write_warc(path: Path, pages: dict[str, bytes]) -> None:
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for url, content in pages.items():
            told = [("Content-Type", "text/html; charset=utf-8")]
            record = {
                "payload": io.BytesIO(content),
                "http_headers": StatusAndHeaders("200 OK", told, protocol="HTTP/1.1"),
            }
            writer.write_record(writer.create_warc_record(url, "response", **record))
