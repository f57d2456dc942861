"""Every parser of ours on damaged and invented input: it gives rows, a reason, or one line; never anything else.

Each test begins with the corpus: small whole files, of which hypothesis swaps, cuts, doubles and inverts parts.
`make fuzz` gives them five minutes and keeps what failed in `.hypothesis`; a seed that failed becomes an example
here. FUZZ_EXAMPLES says how many inputs each test tries (default: 30, so that they are quick among the others).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from curate.errors import CurateError
from curate.manifest import builtin_files, load, parsing
from curate.manifest.settings import InputSettings
from curate.sources import DETAIL, PROBLEM, Input, open_source
from curate.sources.pickles import PickleError, items
from curate.storage.parquet_pages import value_places
from curate.tasks.parse import parse
from renderers import RenderError, warc

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "30"))
fuzzed = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
REASONS = {None, "row_malformed", "too_large", "unreadable"}
SETTINGS = InputSettings(max_value_bytes=10_000, max_depth=20)

CSV = b'url,text\nu0,"a, ""b""\nc"\nu1,plain\n"u2",\xe4\xb8\xad\r\nu3,\n'
JSONL = b'{"url":"u0","x":[1,{"y":null}]}\n{"url":"u1","n":1e5,"s":"\\ud83d\\ude00"}\n\n[1]\n'
JSON = b'{"info":{"v":1},"images":[{"id":1,"file_name":"a"}],"annotations":[{"image_id":1,"caption":"x \\"y\\""}]}'
TOML = (builtin_files.folder() / "laion.toml").read_bytes()
WARC = (
    b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://e.org/\r\nContent-Type: application/http\r\n"
    b"Content-Length: 69\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html><body>x</body></html>\r\n\r\n"
)
PICKLE = b"\x80\x02]q\x00}q\x01(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00b]q\x02K\x02aua."
PAGE = b"\x15\x00\x15\x1c\x15\x1c\x2c\x15\x04\x15\x00\x15\x06\x15\x06\x00\x00" + b"\x03\x00\x00\x00abc" * 2
TARGETS = (
    " a <ref>dog</ref><box>(1,2),(3,4)</box><box>(5,6),(7,8)</box> runs",
    "<ref>line</ref> <quad>(1,2),(3,2),(3,4),(1,4)</quad>",
)


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in (("a.json", b'{"url":"u"}'), ("a.jpg", b"\xff\xd8"), ("b.txt", b"text")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def parquet() -> bytes:
    out = io.BytesIO()
    table = pa.table({"url": ["u0", "u1", None], "text": ["a", "b" * 50, "c"], "l": [[1], [], None]})
    pq.write_table(table, out, write_page_checksum=False)
    return out.getvalue()


@st.composite
def damaged(draw: st.DrawFn, *whole: bytes) -> bytes:
    """One of these with a few parts cut, doubled, swapped or overwritten."""
    content = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        size = draw(st.integers(0, 40))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8)) * draw(
            st.sampled_from([1, 1, 1, 30, 3000])
        )
        kind = draw(st.sampled_from(["cut", "put", "over", "double", "flip"]))
        if kind == "cut":
            del content[at : at + size]
        elif kind == "put":
            content[at:at] = piece
        elif kind == "over":
            content[at : at + len(piece)] = piece
        elif kind == "double":
            content[at:at] = content[at : at + size] * 3
        elif content:
            content[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(content)


PIECES = [
    b'"',
    b"\r",
    b"\n",
    b"\\",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"\x00",
    b"\xff",
    b"NaN",
    b"\\u",
    b"\xed\xa0\x80",
]
PIECES += [b"1" * 5000, b"-", b"e9", b"<ref>", b"<box>", b"(9999999999,", b"'''", b'"""', b".a", b"#", b"="]
PIECES += [b"\xf0\x9f", b"\x80" * 9, b"\x7f\xff\xff\xff"]


def is_one_line(error: Exception) -> None:
    assert len(str(error)) < 3000


def read(folder: Path, name: str, content: bytes, how: InputSettings = SETTINGS) -> None:
    path = folder / name
    path.write_bytes(content)
    try:
        source = open_source(
            Input(str(path), name, len(content), hashlib.sha256(content).hexdigest()),
            how,
            folder / "work",
        )
        rows = 0
        for batch in source.batches(0, source.rows):
            rows += batch.num_rows
            batch.validate()
            assert {value for value in batch.column(PROBLEM).to_pylist() if value} <= REASONS
            assert all(value is None or len(value) <= 400 for value in batch.column(DETAIL).to_pylist())
        assert rows == source.rows
    except CurateError as error:
        is_one_line(error)


@fuzzed
@given(content=damaged(CSV))
@example(content=b'url,text\nu,"A good\rhouse\n')
@example(content=b'url,"te\rxt\nu,A good house\n')
def test_csv(tmp_path: Path, content: bytes) -> None:
    read(tmp_path, "a.csv", content)
    read(tmp_path, "a.tsv", content)


@fuzzed
@given(content=damaged(JSONL, CSV))
@example(content=b'{"a":' * 3000 + b"1" + b"}" * 3000)
@example(content=b'{"a":' + b"1" * 5000 + b"}")
def test_json_lines(tmp_path: Path, content: bytes) -> None:
    read(tmp_path, "a.jsonl", content)


@fuzzed
@given(content=damaged(JSON, JSONL[:33], b'[{"a":1},{"a":[2]}]', b'{"a":["x"],"b":["y"]}', b'{"k":{"a":1}}'))
@example(content=b"[" * 3000)
@example(content=b'[{"a":' + b"1" * 5000 + b"}]")
def test_json(tmp_path: Path, content: bytes) -> None:
    read(tmp_path, "a.json", content)


@fuzzed
@given(content=damaged(tar()))
def test_tar(tmp_path: Path, content: bytes) -> None:
    read(tmp_path, "a.tar", content)


@fuzzed
@given(content=damaged(parquet()))
def test_parquet(tmp_path: Path, content: bytes) -> None:
    read(tmp_path, "a.parquet", content)


@fuzzed
@given(content=damaged(TOML))
@example(content=b"a=" + b"[" * 50_000)
def test_toml_and_manifest(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    try:
        load.load(str(path))
    except CurateError as error:
        is_one_line(error)


@fuzzed
@given(text=damaged(b"a.b = [1, {c = 'x'}]").map(lambda content: content.decode("utf-8", "replace")))
def test_toml_text(text: str) -> None:
    with contextlib.suppress(ValueError):
        parsing.loads(text)


@fuzzed
@given(content=damaged(WARC, WARC * 3))
def test_warc(content: bytes) -> None:
    stream = io.BytesIO(content)
    try:
        for found in warc.scan(stream):
            if found.dropped is None:
                warc.load(stream, found, max_bytes=10_000)
    except (RenderError, ValueError) as error:
        is_one_line(error)


@fuzzed
@given(content=damaged(PICKLE))
@example(content=b"\x80\x02(lp0\n" + b"(l" * 3000)
def test_pickle(content: bytes) -> None:
    if len(content) > 50_000:
        return
    with contextlib.suppress(PickleError, MemoryError):
        items(content)


@fuzzed
@given(
    target=damaged(*(one.encode() for one in TARGETS)).map(lambda content: content.decode("utf-8", "replace"))
)
def test_task_parse(target: str) -> None:
    with contextlib.suppress(ValueError):
        for task in ("grounded_caption", "referring", "region_caption", "ocr", "caption"):
            parse(task, target, 640, 480)


@fuzzed
@given(
    chunk=damaged(
        b"\x15\x00\x15\x1c\x15\x1c\x2c\x15\x04\x15\x00\x15\x06\x15\x06\x00\x00" + b"\x03\x00\x00\x00abc" * 2
    )
)
def test_page_walker(chunk: bytes) -> None:
    class Column:
        compression, path_in_schema, data_page_offset = "UNCOMPRESSED", "image", 0
        has_dictionary_page = False

    column: Any = Column()
    with contextlib.suppress(ValueError):
        value_places(chunk, column, 0)


@pytest.mark.parametrize("value", [json.dumps({"a": "x"}), "", "{}"])
def test_the_corpus_itself_is_read(tmp_path: Path, value: str) -> None:
    read(tmp_path, "a.jsonl", value.encode() + b"\n")
    for name, content in (("a.csv", CSV), ("b.jsonl", JSONL), ("a.json", JSON), ("a.tar", tar())):
        path = tmp_path / name
        path.write_bytes(content)
        assert open_source(Input(str(path), name, len(content), name), SETTINGS, tmp_path / "w").rows
