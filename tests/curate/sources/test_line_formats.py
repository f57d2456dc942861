from __future__ import annotations

import bz2
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.errors import InputError, OutputError
from curate.manifest.settings import InputSettings
from curate.sources import DETAIL, PROBLEM, Source, expand, line_formats, open_source, opening, streams

CC3M = InputSettings(columns=("caption", "url"))


def opened(path: Path, content: bytes | str, settings: InputSettings = CC3M) -> Source:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_source(expand([str(path)])[0], settings, path.parent / "work")


def rows(source: Source, start: int = 0, stop: int | None = None) -> list[dict[str, Any]]:
    stop = source.rows if stop is None else stop
    return [row for batch in source.batches(start, stop) for row in batch.to_pylist()]


def bare(source: Source) -> list[dict[str, Any]]:
    """The rows without what says that nothing is wrong with them."""
    return [{k: v for k, v in row.items() if k not in (PROBLEM, DETAIL)} for row in rows(source)]


def test_a_tsv_without_header_takes_the_manifests_columns(tmp_path: Path) -> None:
    source = opened(tmp_path / "a.tsv", 'a "quoted\tu1\r\nb, c\tu2\n\n"x\tu3')
    assert bare(source) == [
        {"caption": 'a "quoted', "url": "u1"},
        {"caption": "b, c", "url": "u2"},
        {"caption": '"x', "url": "u3"},
    ]


@pytest.mark.parametrize("header", ["caption\turl", "Caption\tURL\textra", '"url"\t"caption"'])
def test_a_header_that_names_the_columns_is_not_a_row(tmp_path: Path, header: str) -> None:
    fields = ["v"] * (header.count("\t") + 1)
    source = opened(tmp_path / "a.tsv", f"{header}\n" + "\t".join(fields))
    assert source.rows == 1


def test_a_csv_without_given_columns_reads_its_header(tmp_path: Path) -> None:
    source = opened(tmp_path / "a.csv", "\ufefftext,url,,text\na,b,c,d\n", InputSettings())
    assert bare(source) == [{"text": "a", "url": "b", "column_3": "c", "text_4": "d"}]


def test_csv_quotes_span_commas_and_lines(tmp_path: Path) -> None:
    source = opened(tmp_path / "a.csv", 'caption,url\n"a, ""b""\nc",u1\nd,u2\n')
    assert bare(source) == [{"caption": 'a, "b"\nc', "url": "u1"}, {"caption": "d", "url": "u2"}]


def test_a_quote_that_never_closes_costs_its_own_row_alone(tmp_path: Path) -> None:
    good = "".join(f"text {i},u{i}\n" for i in range(5000))
    source = opened(tmp_path / "a.csv", f'caption,url\n"never closed,u\n{good}')
    read = rows(source)
    assert source.rows == 5001
    assert read[0]["caption"] == '"never closed'
    assert read[5000] == {"caption": "text 4999", "url": "u4999", PROBLEM: None, DETAIL: None}


def test_ragged_rows_are_marked_and_stay_in_place(tmp_path: Path) -> None:
    read = rows(opened(tmp_path / "a.tsv", "a\tu1\nonly caption\nb\tu2\tmore\nc\tu3\n"))
    assert [row[PROBLEM] for row in read] == [None, "row_malformed", "row_malformed", None]
    assert read[1][DETAIL] == "1 fields, not 2"
    assert read[2] == {"caption": "b", "url": "u2", PROBLEM: "row_malformed", DETAIL: "3 fields, not 2"}


def test_broken_utf8_and_nul_pass_through_to_be_judged_by_row(tmp_path: Path) -> None:
    source = opened(tmp_path / "a.tsv", b"good\tu1\ncaf\xe9\tu2\nnul \x00 here\tu3\n")
    batch = next(source.batches(0, 3))
    assert batch.column("caption").cast(pa.binary()).to_pylist() == [b"good", b"caf\xe9", b"nul \x00 here"]


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress)])
def test_packed_files_read_as_unpacked(tmp_path: Path, suffix: str, pack: Any) -> None:
    plain = "".join(f"text {i}\tu{i}\n" for i in range(20_000)).encode()
    packed = opened(tmp_path / f"a.tsv.{suffix}", pack(plain[:100_000]) + pack(plain[100_000:]))
    assert rows(packed) == rows(opened(tmp_path / "b.tsv", plain))
    assert rows(packed, 15_000, 15_002)[0]["url"] == "u15000"


def test_zstd_files_read_as_unpacked(tmp_path: Path) -> None:
    packed = pa.compress(b"a\tu\n" * 9, codec="zstd", asbytes=True)
    assert opened(tmp_path / "a.tsv.zst", packed).rows == 9


def test_a_truncated_packed_file_is_refused(tmp_path: Path) -> None:
    plain = "".join(f"{random.Random(i).random()}\tu{i}\n" for i in range(5000)).encode()
    with pytest.raises(InputError, match=r"cannot read .*a\.tsv\.gz") as caught:
        opened(tmp_path / "a.tsv.gz", gzip.compress(plain)[:-2000])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl", "a.jsonl.gz"])
def test_any_range_is_read_exactly(tmp_path: Path, name: str) -> None:
    separator = "," if "csv" in name else "\t"
    plain = "".join(f"t{i}{separator}u{i}\n" for i in range(30_000))
    if "jsonl" in name:
        plain = "".join(json.dumps({"caption": f"t{i}", "url": f"u{i}"}) + "\n" for i in range(30_000))
    source = opened(tmp_path / name, gzip.compress(plain.encode()) if name.endswith("gz") else plain)
    draw = random.Random(2)
    for _ in range(12):
        start = draw.randrange(30_000)
        stop = min(30_000, start + draw.randrange(9_000))
        assert [row["url"] for row in rows(source, start, stop)] == [f"u{i}" for i in range(start, stop)]


def test_json_lines_keep_their_types(tmp_path: Path) -> None:
    content = (
        '{"i":1,"f":1.5,"s":"x","b":true,"mixed":1,"l":["a"],"o":{"k":[1]},"big":18446744073709551616}\n'
    )
    content += '{"i":9007199254740993,"f":2,"s":null,"b":false,"mixed":"x","l":[],"new":"late"}\n'
    source = opened(tmp_path / "a.jsonl", content)
    assert bare(source) == [
        {
            "i": 1,
            "f": 1.5,
            "s": "x",
            "b": True,
            "mixed": "1",
            "l": ["a"],
            "o": '{"k":[1]}',
            "big": "18446744073709551616",
            "new": None,
        },
        {
            "i": 9007199254740993,
            "f": 2.0,
            "s": None,
            "b": False,
            "mixed": "x",
            "l": [],
            "o": None,
            "big": None,
            "new": "late",
        },
    ]


def test_lines_that_are_no_object_are_marked(tmp_path: Path) -> None:
    content = b'{"url":"u0"}\n{"url":\n[1]\n\n{"url":NaN}\n{"url":"caf\xe9"}\n{"url":"\\ud800"}\n'
    content += b'{"curate.problem":3,"url":"u6"}\n'
    source = opened(tmp_path / "a.jsonl", content)
    batch = next(source.batches(0, 9))
    problems = batch.column(PROBLEM).to_pylist()
    assert problems == [None, "row_malformed", "row_malformed", None, None, None, None]
    urls = [b"u0", None, None, None, b"caf\xe9", b"\xed\xa0\x80", b"u6"]
    assert batch.column("url").cast(pa.binary()).to_pylist() == urls
    assert source.rows == 7


def test_a_line_of_any_length_costs_a_bounded_part_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "READ_BYTES", 1000)
    long = b'{"url":"' + b"x" * 60_000 + b'"}\n'
    content = b'{"url":"u0"}\n' + long + b'{"url":"u2"}\n'
    read = rows(opened(tmp_path / "a.jsonl", content, InputSettings(max_value_bytes=5000)))
    assert [(row["url"], row[PROBLEM]) for row in read] == [
        ("u0", None),
        (None, "row_malformed"),
        ("u2", None),
    ]


def test_reading_begins_at_marks_whatever_the_size_of_the_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "READ_BYTES", 77)
    monkeypatch.setattr(line_formats, "MARK_ROWS", 10)
    content = "caption,url\n" + "".join(f'"t\n{i}",u{i}\n' for i in range(300))
    source = opened(tmp_path / "a.csv", content)
    for start in (0, 9, 10, 11, 155, 299):
        assert [row["url"] for row in rows(source, start, 300)] == [f"u{i}" for i in range(start, 300)]


def test_what_one_pass_taught_is_not_learnt_again(tmp_path: Path) -> None:
    opened(tmp_path / "a.tsv", "a\tu1\n" * 100)
    kept = list((tmp_path / "work").iterdir())
    assert len(kept) == 1
    stamp = kept[0].stat().st_mtime_ns
    opening._opened.cache_clear()
    again = open_source(expand([str(tmp_path / "a.tsv")])[0], CC3M, tmp_path / "work")
    assert (again.rows, kept[0].stat().st_mtime_ns) == (100, stamp)


def test_a_work_folder_that_cannot_be_written_is_the_outputs_trouble(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("in the way")
    with pytest.raises(OutputError, match="work"):
        opened(tmp_path / "a.tsv", "a\tu1\n")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
@pytest.mark.parametrize("content", ["\n\n", "caption,url\n", "\ufeff"])
def test_a_file_without_rows_is_refused(tmp_path: Path, name: str, content: str) -> None:
    if "\t" not in content and "caption" in content:
        content = {"a.csv": content, "a.tsv": "caption\turl\n", "a.jsonl": " \n"}[name]
    with pytest.raises(InputError, match="holds no row"):
        opened(tmp_path / name, content)


def test_utf16_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="convert it to UTF-8"):
        opened(tmp_path / "a.csv", "caption,url\na,b\n".encode("utf-16"))


@pytest.mark.parametrize("name", ["mac.csv", "mac.tsv", "mac.jsonl", "mac.csv.gz"])
def test_lines_that_end_in_carriage_returns_alone_are_lines(name: str, tmp_path: Path) -> None:
    lines = [
        ("u0", "A boat"),
        ("u1", "The harbour, old and new" if "csv" not in name else '"A ""b"",\rtwice"'),
    ]
    text = "url\ttext\r" + "".join(f"{url}\t{said}\r" for url, said in lines)
    if "csv" in name:
        text = text.replace("\t", ",")
    if "jsonl" in name:
        text = "".join(json.dumps({"url": url, "text": said}) + "\r" for url, said in lines)
    packed = gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
    found = rows(opened(tmp_path / name, packed, InputSettings()))
    said = 'A "b",\ntwice' if "csv" in name else lines[1][1]
    expected = [("u0", "A boat", None), ("u1", said, None)]
    assert [(row["url"], row["text"], row[PROBLEM]) for row in found] == expected
