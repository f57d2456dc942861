"""Read CSV, TSV and JSON Lines: one pass counts the rows and notes offsets; later, reading begins at such an offset.

TSV has no quoting: a line is a row and a tab ends a field, as in CC3M, CC12M and the format's registration. CSV is
quoted as in RFC 4180. A row that cannot be read still counts as a row, and has its problem in two columns of its own.
"""

from __future__ import annotations

import csv
import functools
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from curate.errors import UnreadableInputError
from curate.manifest.settings import InputSettings
from curate.sources import input_index
from curate.sources.columns import json_text, record_batch, unique
from curate.sources.inputs import Input
from curate.sources.reading import BATCH_BYTES, BATCH_ROWS, DETAIL, PROBLEM, Forward, Source
from curate.sources.shallow import TOO_MUCH, WRITTEN, is_deeper, shallow
from curate.sources.streams import Lines, open_lines

MARK_ROWS = 8192
MAX_COLUMNS = 2048
QUOTED_BYTES = 2**16  # a longer quoted field counts as never closed
NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a]")  # bytes that do not occur in a line of column names
NAME = re.compile(r"\s*[A-Za-z_][\w .:-]{0,63}\s*")

csv.field_size_limit(2**31 - 1)  # the length of a line is limited where it is read
DELIMITERS = (";", "\t", "|")  # besides the comma, in files that are called CSV
UNCLOSED = ("row_malformed", "a quote that is never closed, and a carriage return")

Row = dict[str, Any]
OURS = (PROBLEM, DETAIL)


@dataclass(frozen=True)
class LineGrammar:
    """How a file's lines are split into rows; both functions return None at the end of the file."""

    names: Sequence[str]  # of the columns, where the first line or the manifest gives them; else empty
    row: Callable[[Lines], Row | None]
    fields: Callable[[Lines], list[str] | None] | None = None  # splits the next row only, which is faster


Parser = Callable[[Lines], LineGrammar]


def open_lines_source(source: Input, settings: InputSettings, work: Path, kind: str) -> Source:
    """Open a text file of rows; its `kind` is `csv`, `tsv`, `jsonl`, `lines` (plain text) or `joined` (our own file).

    The index of the file is kept in the folder `work`.

    Raises:
        UnreadableInputError: the file is empty, truncated, or not text.
    """

    def parser(lines: Lines) -> LineGrammar:
        if kind == "jsonl":
            return LineGrammar((), functools.partial(_json_record, settings.max_depth))
        if kind in RECORDS:
            return LineGrammar((), RECORDS[kind])
        split = _tsv_fields
        if kind == "csv":
            split = functools.partial(_csv_fields, settings.delimiter or _delimiter(lines))
        names = _names(lines, split, settings.columns, source.uri)
        return LineGrammar(names, functools.partial(_delimited, names, split), split)

    found = input_index.remembered(
        input_index.place(
            work, source, "rows", (kind, settings.columns, settings.delimiter, limits(settings))
        ),
        lambda: _scan(source, settings, parser),
    )
    schema = input_index.schema(found.columns)
    schema = schema.append(pa.field(PROBLEM, pa.string())).append(pa.field(DETAIL, pa.string()))

    def begin(row: int) -> tuple[int, Iterator[pa.RecordBatch]]:
        nearest = max((mark for mark in found.marks if mark[0] <= row), default=(0, -1))
        return nearest[0], _batches(source, settings, parser, schema, nearest[1])

    return Forward(source.uri, found.rows, schema, begin)


def limits(settings: InputSettings) -> tuple[int, ...]:
    """The limits in the settings that decide which rows of a text file can be read."""
    return settings.max_value_bytes, settings.max_depth, settings.max_expansion


def _scan(source: Input, settings: InputSettings, parser: Parser) -> input_index.RowIndex:
    kinds = input_index.Kinds()
    rows = 0
    with open_lines(source, settings) as lines:
        grammar = parser(lines)
        marks = [(0, lines.at)]
        while count := _pass(lines, grammar, kinds):
            rows += count
            _check_width(source, kinds.columns())
            if lines.seekable:
                marks.append((rows, lines.at))
    if not rows:
        raise UnreadableInputError(f"{source.uri} holds no row", "empty")
    columns = dict.fromkeys(grammar.names, "string") or kinds.columns()
    _check_width(source, columns)
    return input_index.RowIndex(rows, columns, marks if lines.seekable else [])


def _check_width(source: Input, columns: Collection[str]) -> None:
    if len(columns) > MAX_COLUMNS:
        raise UnreadableInputError(
            f"{source.uri} has {len(columns)} columns; at most {MAX_COLUMNS} can be read"
        )


def _pass(lines: Lines, grammar: LineGrammar, kinds: input_index.Kinds) -> int:
    """Read past the rows up to the next offset to note, and count them."""
    if grammar.fields is None:
        chunk = _chunk(lines, grammar.row, MARK_ROWS)
        kinds.see(_published(row) if PROBLEM in row else row for row in chunk)
        return len(chunk)
    count, begun = 0, lines.at
    while count < MARK_ROWS and lines.at - begun < BATCH_BYTES and grammar.fields(lines) is not None:
        count += 1
    return count


def _batches(
    source: Input, settings: InputSettings, parser: Parser, schema: pa.Schema, offset: int
) -> Iterator[pa.RecordBatch]:
    with open_lines(source, settings) as lines:
        grammar = parser(lines)
        if offset > lines.at:
            lines.seek(offset)
        while chunk := _chunk(lines, grammar.row, BATCH_ROWS):
            yield record_batch(chunk, schema)


def _chunk(lines: Lines, record: Callable[[Lines], Row | None], rows: int) -> list[Row]:
    chunk: list[Row] = []
    begun = lines.at
    while len(chunk) < rows and lines.at - begun < BATCH_BYTES:
        row = record(lines)
        if row is None:
            break
        chunk.append(row)
    return chunk


def _json_record(max_depth: int, lines: Lines) -> Row | None:
    while (line := lines.next()) is not None:
        if not line.isspace():
            return json_row(line, max_depth) if lines.fault is None else faulty(*lines.fault)
    return None


def faulty(reason: str, detail: str) -> Row:
    """A row that holds nothing but the reason why it cannot be used, and a detail."""
    return {PROBLEM: reason, DETAIL: detail}


def _joined_record(lines: Lines) -> Row | None:
    """The next row of a file that this program wrote; it may hold a problem."""
    line = lines.next()
    if line is None:
        return None
    try:
        row: Row = decode(line)
    except (ValueError, RecursionError):
        row = _leniently(line)
    assert isinstance(row, dict), "a file that we wrote is whole"
    return row


def _plain_record(lines: Lines) -> Row | None:
    """The next line of text as a row."""
    line = _text_line(lines)
    if line is None or lines.fault is None:
        return None if line is None else {"text": line}
    return {"text": None} | faulty(*lines.fault)


RECORDS = {"joined": _joined_record, "lines": _plain_record}


def _published(row: Row) -> Row:
    """The row without our own columns of problems."""
    return {name: value for name, value in row.items() if name not in OURS}


def json_row(line: bytes, max_depth: int) -> Row:
    """The JSON object of a line as a row, or a row with the problem that the line has.

    Values nested deeper than `max_depth` are cut out, and the row then has a problem.
    """
    if line.count(b"[") + line.count(b"{") > max_depth and is_deeper(line, max_depth):
        line = shallow(line, max_depth)
    try:
        row = decode(line)
    except (ValueError, RecursionError):  # msgspec's own among them
        row = _leniently(line)
    if type(row) is not dict:
        found: Row | str = row if type(row) is NotJson else as_row(row)
        if isinstance(found, str):
            return faulty("row_malformed", found)
        row = found
    if PROBLEM in row or DETAIL in row:  # reserved names: only this program may set them
        row = _published(row)
    return without_marked(row) if WRITTEN in line else row


def without_marked(row: Row) -> Row:
    """A row from which a value was cut out: its other values, and the problem."""
    rest = {name: value for name, value in row.items() if WRITTEN not in json_text({name: value}).encode()}
    return rest | faulty(**TOO_MUCH)


class NotJson(str):
    """A text that says why a line is no JSON."""


def _leniently(line: bytes) -> Any:
    """Parse a line with NaN, broken UTF-8 or lone surrogates, which the fast parser refuses."""
    try:
        return json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        return NotJson(f"not JSON: {error}"[:200])


def as_row(value: Any) -> Row | str:
    """A JSON value as a row, or a text that says why it is none; a bare list of turns becomes a row with `messages`."""
    if isinstance(value, list) and value and all(is_turn(one) for one in value):
        return {"messages": value}
    return value if isinstance(value, dict) else f"not an object but {type(value).__name__}"


def is_turn(value: Any) -> bool:
    """Whether a JSON value is a turn of a dialogue: an object that has `role` or `from`."""
    return isinstance(value, dict) and ("role" in value or "from" in value)


decode = msgspec.json.Decoder().decode


def _delimited(names: Sequence[str], split: Callable[[Lines], list[str] | None], lines: Lines) -> Row | None:
    fields = split(lines)
    if fields is None:
        return None
    row: Row = dict(zip(names, fields, strict=False))
    if lines.fault is not None:
        return row | faulty(*lines.fault)
    if len(fields) != len(names):
        return row | faulty("row_malformed", f"{len(fields)} fields, not {len(names)}")
    return row


def _tsv_fields(lines: Lines) -> list[str] | None:
    line = _text_line(lines)
    return None if line is None else line.split("\t")


def _delimiter(lines: Lines) -> str:
    """The delimiter of a CSV file: a comma, or, if the first line has none, its most frequent of DELIMITERS."""
    first = lines.next() or b""
    lines.put_back([first] if first else [])
    found = [one for one in DELIMITERS if one.encode() in first]
    return "," if b"," in first or not found else max(found, key=lambda one: first.count(one.encode()))


def _csv_fields(delimiter: str, lines: Lines) -> list[str] | None:
    """The fields of one CSV record, which spans several lines if quotes do.

    If a quote is never closed, the record is the first line alone.
    """
    first = _text_line(lines)
    if first is None or '"' not in first:
        return None if first is None else first.split(delimiter)
    taken: list[bytes] = []
    fault = lines.fault

    def more() -> Iterator[str]:
        yield first + "\n"
        size = 0
        while size < QUOTED_BYTES and lines.fault is None and (line := lines.next()) is not None:
            taken.append(line)
            size += len(line)
            yield line.decode("utf-8", "surrogateescape")
        raise EOFError

    try:
        return next(csv.reader(more(), strict=True, delimiter=delimiter))
    except (EOFError, csv.Error):
        lines.put_back(taken)
        lines.fault = fault or (UNCLOSED if "\r" in first else None)
        return first.split(delimiter)


def _text_line(lines: Lines) -> str | None:
    while (line := lines.next()) is not None:
        line = line.rstrip(b"\r\n")
        if line:
            return line.decode("utf-8", "surrogateescape")
    return None


def _names(
    lines: Lines, split: Callable[[Lines], list[str] | None], given: Sequence[str], uri: str
) -> Sequence[str]:
    """The columns' names: those in the file's first line if it is a header, else those that the manifest gives.

    Without names in the manifest, the first line is always taken as the header.
    """
    first = lines.next()
    if first is None:
        raise UnreadableInputError(f"{uri} holds no row", "empty")
    lines.put_back([first])
    if given and not _is_header(first, given):
        return given
    if NO_TEXT.search(first):
        raise UnreadableInputError(f"{uri} is no text: its first line holds {first[:16]!r}")
    return unique([name.strip() for name in split(lines) or ()])


def _is_header(line: bytes, given: Sequence[str]) -> bool:
    """Whether every field of the line looks like a name, and one is a name that the manifest gives."""
    fields = re.split(r"[\t,;|]", line.decode("utf-8", "replace").strip().replace('"', ""))
    known = {name.casefold() for name in given}
    return all(NAME.fullmatch(f) for f in fields) and any(f.strip().casefold() in known for f in fields)
