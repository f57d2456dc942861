"""Inputs that are small and ask for much: each costs its row, or what is behind it, and nothing else."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import ijson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import InputError
from curate.manifest.settings import InputSettings
from curate.origins.row_budget import RowBudget
from curate.sources import DETAIL, PROBLEM, Source, expand, open_source, parquet, streams
from curate.sources.columns import decoded_bytes
from curate.sources.shallow import MARK, Shallow, depth_of, is_deeper
from tests.curate.tar_files import tar_of

SMALL = InputSettings(max_value_bytes=1000, memory_bytes=700 * 2**20)


def opened(path: Path, settings: InputSettings) -> Source:
    return open_source(expand([str(path)])[0], settings, path.parent / "work")


def rows(source: Source, start: int = 0, stop: int | None = None) -> list[dict[str, Any]]:
    stop = source.rows if stop is None else stop
    return [row for batch in source.batches(start, stop) for row in batch.to_pylist()]


def problems(source: Source) -> list[str | None]:
    return [row[PROBLEM] for row in rows(source)]


def deep(levels: int, kind: str = "[") -> str:
    return '{"a":' * levels + "1" + "}" * levels if kind == "{" else "[" * levels + "]" * levels


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b'url,text\nu,"A good\rhouse\nv,fine\n', ['"A good\rhouse', "fine"]),
        (b'url,text\nu,"A"\rhouse\nv,fine\n', ['"A"\rhouse', "fine"]),
        (b'url,text\n\r"\ru,x\nv,fine\n', ["x", "fine"]),
        (b'url,text\n"\r\nv,fine\n', [None, "fine"]),
        (b'url,text\n"u\x00\r,x\nv,fine\n', ["x", "fine"]),
    ],
)
def test_a_bare_carriage_return_and_an_open_quote_cost_their_row(
    tmp_path: Path, content: bytes, texts: list[str | None]
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    read = rows(opened(path, InputSettings()))
    assert [row["text"] for row in read] == texts
    assert [row[PROBLEM] for row in read][1:] == [None]
    assert read[0][PROBLEM] == "row_malformed"


def test_a_header_with_an_open_quote_and_a_carriage_return_is_only_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'url,"te\rxt\nu,A good house\n')
    assert opened(path, InputSettings()).rows == 1


@pytest.mark.parametrize("kind", ["[", "{"])
@pytest.mark.parametrize("levels", [101, 2_000, 100_000])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.tar"])
def test_what_is_nested_too_deep_costs_its_row_alone(
    tmp_path: Path, name: str, levels: int, kind: str
) -> None:
    lines = [
        '{"url":"u0"}',
        f'{{"x":{deep(levels, kind)},"url":"u1"}}',
        '{"url":"u2","x":"[[\\"]"}',
    ]
    path = tmp_path / name
    if name == "a.tar":
        tar_of(path, [(f"{i}.json", line.encode()) for i, line in enumerate(lines)])
    else:
        path.write_text(f"[{','.join(lines)}]" if name == "a.json" else "\n".join(lines))
    read = rows(opened(path, InputSettings()))
    assert [row["url"] for row in read] == ["u0", "u1", "u2"]
    assert [row[PROBLEM] for row in read] == [None, "row_malformed", None]
    assert read[1]["x"] is None


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 64, 10_000])
def test_what_is_cut_out_of_a_stream_leaves_json(size: int) -> None:
    document = [
        {"a": "x" * 50, "b": [[[[1, "]]"]]]], "c": 'a "quoted" \\'},
        {"b": {"c": {"d": {"e": "\\"}}}, "long": "y" * 300 + '"\\', "end": 1},
    ]
    content = json.dumps(document).encode()
    shallow = Shallow(max_depth=4, max_bytes=200, row_depth=9)
    pieces = [content[i : i + size] for i in range(0, len(content), size)]
    whole = [b""]
    for piece in pieces:  # none may end within an escape
        whole[-1] += piece
        if (len(whole[-1]) - len(whole[-1].rstrip(b"\\"))) % 2 == 0:
            whole.append(b"")
    read = json.loads(b"".join(map(shallow.feed, whole)))
    assert read[0] == document[0] | {"b": [[MARK]]}
    assert read[1]["b"] == {"c": {"d": MARK}} or read[1]["b"] == {"c": MARK}
    assert MARK in read[1]["long"]
    assert len(read[1]["long"]) < 260
    assert read[1]["end"] == 1


def test_depth_is_counted_outside_of_strings() -> None:
    assert depth_of(b'{"a": ["[[[[", "\\"[[[", {"b": 1}]}') == 3
    assert not is_deeper(b'"' + b"[" * 500 + b'"', 100)
    assert is_deeper(b"[" * 500, 100)


def test_a_row_of_a_document_that_is_too_large_in_all_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"url": "u"}, {str(i): i for i in range(50_000)}]))
    with pytest.raises(InputError, match=r"a\.json: a row of more than input\.max_value_bytes = 100000"):
        opened(path, InputSettings(max_value_bytes=100_000))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.tsv.gz", "a.csv.gz", "a.tgz", "a.tar.gz"])
def test_what_a_packed_file_unpacks_to_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(streams, "SMALL", 2**20)
    monkeypatch.setattr(streams, "READ_BYTES", 2**16)
    path = tmp_path / name
    if "t" in name.split(".")[1][:1] and "tsv" not in name:
        tar_of(path, [("a.txt", b"good"), ("b.txt", bytes(20 * 2**20)), ("c.txt", b"lost")], "w:gz")
    else:
        long = "x" * 4000
        plain = {"jsonl": f'{{"url":"u","text":"{long}"}}\n', "tsv": f"u\t{long}\n", "csv": f"u,{long}\n"}
        line = plain[name.split(".")[1]]
        path.write_bytes(gzip.compress(line.encode() * (20 * 2**20 // len(line))))
    source = opened(path, InputSettings(columns=("url", "text"), max_expansion=10))
    read = rows(source)
    assert read[-1][PROBLEM] == "too_large"
    assert "input.max_expansion = 10" in read[-1][DETAIL]
    assert all(row[PROBLEM] is None for row in read[:-1])
    assert len(read) < 1000


def test_a_tar_whose_header_asks_for_gigabytes_is_no_tar(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2**31
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**31 + 2048)
    with pytest.raises(InputError, match="not a whole tar"):
        opened(path, InputSettings())


def cells(path: Path, texts: list[str], **options: Any) -> Path:
    table = pa.table({"url": [f"u{i}" for i in range(len(texts))], "text": texts})
    pq.write_table(table, path, **({"compression": "zstd", "use_dictionary": False} | options))
    return path


def test_a_cell_that_is_too_large_costs_its_row(tmp_path: Path) -> None:
    path = cells(tmp_path / "a.parquet", ["a", "b" * 1001, "c" * 1000, "d"])
    read = rows(opened(path, SMALL))
    assert [(row["url"], row["text"]) for row in read] == [
        ("u0", "a"), ("u1", None), ("u2", "c" * 1000), ("u3", "d"),
    ]  # fmt: skip
    assert [row[PROBLEM] for row in read] == [None, "too_large", None, None]
    assert read[1][DETAIL] == "text: 1001 bytes, more than 1000"


def test_a_cell_beyond_the_readers_memory_costs_its_row_and_those_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parts = [["a"] * 4, ["b", "x" * 150_000_000, "behind"], ["next"]]
    schema = pa.schema([("url", pa.string()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema, use_dictionary=False, write_statistics=False) as writer:
        for texts in parts:
            writer.write_table(pa.table({"url": texts, "text": texts}, schema))
    source = opened(path, SMALL)
    found = problems(source)
    assert found[:4] == [None] * 4
    assert "too_large" in found[4:7]
    assert set(found[4:7]) <= {None, "too_large", "unreadable"}
    assert found[7:] == [None]
    assert problems(source) == found


@pytest.mark.parametrize("kind", ["encoded", "arrow"])
def test_a_dictionary_named_by_every_row_is_read_a_few_rows_at_a_time(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.parquet"
    texts: Any = pa.array(["x" * 2_000_000] * 300).dictionary_encode() if kind == "arrow" else None
    if texts is None:
        with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
            writer.write_table(pa.table({"text": ["x" * 2_000_000] * 400}))
    else:
        pq.write_table(pa.table({"text": texts}), path)
    source = opened(path, InputSettings(memory_bytes=700 * 2**20, max_expansion=10**6))
    counted = 0
    for batch in source.batches(0, 100):
        counted += batch.num_rows
        assert batch.num_rows <= 64
        assert {len(value.as_py()) for value in batch.column("text").slice(0, 1)} == {2_000_000}
    assert counted == 100


def swollen(path: Path, kind: str) -> Path:
    """200 rows of 100,000 bytes in a file of a few kilobytes."""
    value = b"x" * 100_000
    named = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), pa.array([value]))
    long: Any = pa.array([value] * 200)
    how: dict[str, Any] = {"dictionary_pagesize_limit": 2**20, "store_schema": False}
    if kind == "arrow":
        long, how = named, {}
    elif kind == "dictionary":
        long = named
    elif kind == "groups":
        long, how = named, how | {"row_group_size": 10}
    elif kind == "struct":
        long = pa.StructArray.from_arrays([named], names=["bytes"])
    elif kind == "list":
        long = pa.ListArray.from_arrays(list(range(201)), named)
    elif kind == "delta":
        how = {"use_dictionary": False, "column_encoding": {"long": "DELTA_BYTE_ARRAY", "url": "PLAIN"}}
    else:
        how = {"use_dictionary": False}
    table = pa.table({"url": [f"u{i}" for i in range(200)], "long": long})
    pq.write_table(table, path, compression="zstd", write_statistics=False, **how)
    assert path.stat().st_size < 60_000
    return path


@pytest.mark.parametrize("kind", ["arrow", "dictionary", "groups", "struct", "list", "delta", "packed"])
def test_a_group_that_decodes_to_many_times_its_bytes_is_read_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(parquet, "NO_BOMB", 2**21)
    source = opened(swollen(tmp_path / "a.parquet", kind), InputSettings(max_expansion=3))
    read = rows(source)
    problems = [row[PROBLEM] for row in read]
    assert len(problems) == 200
    assert 10 <= problems.count(None) <= 25
    assert problems.count("too_large") == 200 - problems.count(None)
    assert all(len(str(row["long"])) >= 100_000 for row in read if row[PROBLEM] is None)
    assert "input.max_expansion = 3" in read[-1][DETAIL]
    pieces = [row[PROBLEM] for start in range(140, -1, -70) for row in rows(source, start, start + 70)]
    assert pieces[130:] + pieces[60:130] + pieces[:60] == problems  # wherever reading begins


def test_a_table_that_repeats_itself_within_reason_is_read_whole(tmp_path: Path) -> None:
    path = swollen(tmp_path / "a.parquet", "arrow")
    assert problems(opened(path, InputSettings())) == [None] * 200


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.list_(pa.string())])
def test_what_two_slices_take_is_what_the_whole_takes(kind: pa.DataType) -> None:
    value: Any = ["bb", ""] if pa.types.is_list(kind) else "bb"
    plain = pa.array([value, None] * 20, kind)
    for array in (plain, plain if pa.types.is_list(kind) else plain.dictionary_encode()):
        whole = decoded_bytes(array)
        assert whole >= 40
        sums = {decoded_bytes(array.slice(0, at)) + decoded_bytes(array.slice(at)) for at in range(41)}
        assert sums == {whole}


def test_rows_that_a_file_claims_without_bytes_for_them_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"url": pa.nulls(2_000_000, pa.string())}), path)
    with pytest.raises(InputError, match="claims 2000000 rows"):
        opened(path, InputSettings())


def test_columns_by_our_own_names_are_the_publishers(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"url": ["u"], PROBLEM: ["removed"], DETAIL: ["x"]}), path)
    assert problems(opened(path, InputSettings())) == [None]


def test_a_column_nested_too_deep_is_refused(tmp_path: Path) -> None:
    kind, value = pa.int32(), pa.array([1], pa.int32())
    for _ in range(40):
        value = pa.ListArray.from_arrays([0, 1], value)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": value}), path)
    assert kind
    with pytest.raises(InputError, match="nested deeper than 32"):
        opened(path, InputSettings())


@pytest.mark.parametrize("batch_rows", [1, 3, 10])
def test_a_units_rows_beyond_its_budget_are_dropped_however_they_are_batched(batch_rows: int) -> None:
    texts = ["x" * 10_000] * 10
    table = pa.table({"url": [f"u{i}" for i in range(10)], "text": texts, "image": [b"y" * 90_000] * 10})
    budget = RowBudget(InputSettings(max_unit_bytes=35_000))
    spent = [budget.spend(batch) for batch in table.to_batches(max_chunksize=batch_rows)]
    read = [row for batch in spent for row in batch.to_pylist()]
    assert [row.get(PROBLEM) for row in read] == [None] * 3 + ["too_large"] * 7
    assert [row["url"] for row in read] == [f"u{i}" for i in range(10)]
    assert {row["text"] for row in read[3:]} == {None}
    assert "input.max_unit_bytes = 35000" in read[9][DETAIL]


def test_what_each_item_of_a_list_repeats_counts_as_often() -> None:
    table = pa.table({"text": ["x" * 1000], "regions": ['[{"a":1},{"a":2},{"a":3}]']})
    settings = InputSettings(explode=("regions",), max_unit_bytes=2_500)
    (batch,) = table.to_batches()
    assert RowBudget(settings).spend(batch).column(PROBLEM).to_pylist() == ["too_large"]


def test_the_stream_parser_never_sees_what_is_too_deep(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    most = 0
    build = ijson.basic_parse

    def watched(file: Any, **options: Any) -> Any:
        nonlocal most
        depth = 0
        for event, value in build(file, **options):
            depth += event.startswith("start_") - event.startswith("end_")
            most = max(most, depth)
            yield event, value

    monkeypatch.setattr(ijson, "basic_parse", watched)
    path = tmp_path / "a.json"
    path.write_text('{"data":[{"x":' + deep(5000) + "}]}")
    assert problems(opened(path, InputSettings(max_depth=20))) == ["row_malformed"]
    assert most <= 20
