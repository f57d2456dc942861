"""Read Parquet in batches, in a disposable child process; extension types are refused before any row is read.

A few kilobytes of Parquet can expand to any amount of memory: by a page that unpacks to gigabytes, a dictionary with
one long value that every row names, or runs that repeat. So the child has a memory limit, and the parent asks it for
rows: for fewer at a time where they do not fit, down to one. A row that does not fit alone is `too_large`; the rows
behind it in its row group cannot be reached and are `unreadable`. The child also counts the bytes that a row group
decodes to. Where they are more than `input.max_expansion` allows, it stops, and the rows from there on are `too_large`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import msgspec
import pyarrow as pa

from curate.children.pool import Children, Limits, Outcome
from curate.errors import InputError, MachineError, UnreadableInputError
from curate.manifest.settings import InputSettings
from curate.sources.blame import is_damaged
from curate.sources.inputs import Input
from curate.sources.parquet_child import BEYOND, NO_ROOM, TARGET, Ask, Footer
from curate.sources.reading import BATCH_BYTES, BATCH_ROWS, DETAIL, PROBLEM, Forward, Source
from curate.sources.sealed import opened
from curate.sources.served import Place, served
from curate.storage.filesystems import filesystem, one_line, scheme

EXTENSION = b"ARROW:extension:name"
TIMEOUT_S = 600.0  # for one batch: the rows before it in its row group may have to be decoded first
MAX_ANSWER_BYTES = 512 * 2**20
FEWER = 64  # where a batch does not fit, the next request asks for 1/64 of its rows
ROWS_A_BYTE = 64  # a file that claims more rows than this for each of its bytes is damaged
PROBLEMS = pa.schema([(PROBLEM, pa.string()), (DETAIL, pa.string())])
NO_BOMB = 2**26  # bytes that any file may decode to, however small it is
TOO_MUCH = ("out_of_memory", "too_much", "crashed", "timed_out")


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file as its footer describes it."""

    uri: str
    place: Place
    footer: Footer
    schema: pa.Schema  # of the file, and the two columns of problems
    settings: InputSettings
    bytes: int  # of the file
    lost: dict[int, tuple[int, str, str]] = field(
        default_factory=dict
    )  # group → first row lost, reason, detail

    def ask(self, group: int, start: int, rows: int, size: int) -> Future[Outcome]:
        """Ask the child for rows [start, start + rows) of a row group, which it decodes in batches of `size`."""
        most = self.max_group_bytes(group)
        asked = Ask(self.place.name, group, start, rows, size, self.settings.max_value_bytes, most)
        return _child(self.settings.memory_bytes).submit(msgspec.msgpack.encode(asked))

    def max_group_bytes(self, group: int) -> int:
        """How many bytes a row group may decode to: max_expansion times its own, or its share of NO_BOMB if more."""
        packed = max(0, min(self.footer.packed[group], self.bytes))
        share = NO_BOMB * self.footer.groups[group] // max(1, self.footer.rows)
        return max(share, self.settings.max_expansion * packed)


def open_parquet(source: Input, settings: InputSettings) -> Source:
    """Open a Parquet file as a source; its footer says how many rows there are.

    Raises:
        UnreadableInputError: not Parquet, truncated, encrypted, or with a column type that could run code.
        InputError: the file cannot be read here and now.
    """
    try:
        place = _place(source.uri)
        footer, schema = _footer(place, settings.memory_bytes)
    except (OSError, ValueError, pa.ArrowException) as error:
        kind = UnreadableInputError if is_damaged(source, error) else InputError
        raise kind(
            f"{source.uri} is not a whole Parquet file: {one_line(error)}; fetch it again or leave it out"
        ) from None
    for column in schema:
        refuse_extensions(column, column.name, source.uri)
    _check_counts(source, footer)
    whole = pa.schema([*schema, *PROBLEMS], schema.metadata)
    table = ParquetTable(source.uri, place, footer, whole, settings, source.bytes)
    return Forward(source.uri, footer.rows, whole, lambda row: (row, _batches(table, row)))


def _place(uri: str) -> Place:
    """Where the child finds the file: a local file by its path, a remote one through this process.

    Only this process has the credentials of remote stores.
    """
    system, path = filesystem(uri)
    return Place(path) if scheme(uri) == "file" else served(system.open_input_file(path))


@functools.lru_cache(maxsize=2)
def _child(memory_bytes: int) -> Children:
    """The child process that reads Parquet files for this process; it ends with this process."""
    limits = Limits(
        timeout_s=TIMEOUT_S,
        memory_bytes=memory_bytes,
        recycle_after=1_000_000,
    )
    return Children(TARGET, 1, limits)


def _footer(place: Place, memory_bytes: int) -> tuple[Footer, pa.Schema]:
    """The file's footer and its Arrow schema.

    Raises:
        ValueError: the footer cannot be read.
    """
    outcome = _child(memory_bytes).submit(msgspec.msgpack.encode(Ask(place.name))).result()
    if outcome.value is None:
        raise ValueError(_said(outcome))
    footer = msgspec.msgpack.decode(outcome.value, type=Footer)
    return footer, pa.ipc.read_schema(pa.py_buffer(footer.schema))


def _said(outcome: Outcome) -> str:
    """Why the child gave no answer: the reason and the detail; for `damaged` the detail alone."""
    return str(outcome.detail) if outcome.reason == "damaged" else f"{outcome.reason}: {outcome.detail}"


def _check_counts(source: Input, footer: Footer) -> None:
    """Compare the footer's row counts with each other and with the file's size.

    Raises:
        UnreadableInputError: the counts cannot be true.
    """
    held, sizes = sum(footer.groups), source.bytes
    if held != footer.rows or min(footer.groups, default=0) < 0:
        raise UnreadableInputError(f"{source.uri} is damaged: row groups hold {held} rows, not {footer.rows}")
    if sizes and footer.rows > max(ROWS_A_BYTE * sizes, BATCH_ROWS):
        raise UnreadableInputError(
            f"{source.uri} is damaged: it claims {footer.rows} rows in {sizes} bytes; leave it out"
        )


def _batches(table: ParquetTable, row: int) -> Iterator[pa.RecordBatch]:
    """The file's rows from `row` on. Nothing is read before the first `next`."""
    first = 0
    for group, rows in enumerate(table.footer.groups):
        if row < first + rows:
            yield from _group(table, group, max(0, row - first), rows)
        first += rows


def _group(table: ParquetTable, group: int, start: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield a row group's rows from its row `start` on; while batches come complete, the next is asked for ahead."""
    size = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, table.footer.widths[group])))
    ahead: Future[Outcome] | None = None
    at = start
    while at < (end := table.lost[group][0] if group in table.lost else rows):
        count = min(size, end - at)
        outcome = (ahead or table.ask(group, at, count, size)).result()
        more = at + count < end and outcome.value is not None
        ahead = table.ask(group, at + count, min(size, end - at - count), size) if more else None
        if outcome.value is not None:
            batch = _batch(outcome.value, table)
            yield batch
            at += batch.num_rows
            ahead = ahead if batch.num_rows == count else None
        elif outcome.reason == BEYOND:
            yield from _beyond(table, group, at, end)
            at = end
        elif outcome.reason == NO_ROOM:
            raise MachineError(
                f"no room to hand over the rows of {table.uri}: {outcome.detail}; give more memory, or a higher "
                "limit on file sizes (ulimit -f), then the same command"
            )
        elif outcome.reason not in TOO_MUCH:
            raise OSError(_said(outcome))
        elif count > 1:
            size = max(1, min(size, count) // FEWER)
        else:
            _lose(table, group, at, outcome)
    if group in table.lost:
        yield from _lost(table, group, max(at, start), rows)


def _batch(answer: bytes, table: ParquetTable) -> pa.RecordBatch:
    """The child's answer as a batch.

    Raises:
        OSError: the answer is no batch, has no rows, or has other columns than the footer says.
    """
    with pa.ipc.open_stream(opened(answer, MAX_ANSWER_BYTES)) as stream:
        if not stream.schema.equals(table.schema):
            raise OSError("its columns are not those of its footer")
        batch = stream.read_next_batch()
    batch.validate()
    if not batch.num_rows:
        raise OSError("it ends before the rows that its footer counts")
    return batch


def _lose(table: ParquetTable, group: int, row: int, outcome: Outcome) -> None:
    """Record that this row group cannot be read from `row` on, and why."""
    reason = "too_large" if outcome.reason in ("out_of_memory", "too_much") else "unreadable"
    limit = f"it cannot be read within input.memory_bytes = {table.settings.memory_bytes}"
    table.lost[group] = (row, reason, limit if reason == "too_large" else _said(outcome)[:200])


def _lost(table: ParquetTable, group: int, start: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a row group that cannot be read: the row that does not fit, and those behind it."""
    culprit, reason, detail = table.lost[group]
    if start == culprit:
        yield _nothing(table.schema, 1, reason, detail)
        start += 1
    behind = f"behind row {culprit} of row group {group}, which is {reason}"
    for first in range(start, rows, BATCH_ROWS):
        yield _nothing(table.schema, min(BATCH_ROWS, rows - first), "unreadable", behind)


def _beyond(table: ParquetTable, group: int, start: int, end: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows [start, end) of a row group whose earlier rows decode to all the bytes that it may have."""
    limit = f"input.max_expansion = {table.settings.max_expansion} times the bytes of row group {group}"
    detail = (
        f"the rows before it decode to {table.max_group_bytes(group)} bytes, which is the most by {limit}"
    )
    for first in range(start, end, BATCH_ROWS):
        yield _nothing(table.schema, min(BATCH_ROWS, end - first), "too_large", detail)


def _nothing(schema: pa.Schema, rows: int, reason: str, detail: str) -> pa.RecordBatch:
    """Rows that hold nothing but the reason why they cannot be read, and a detail."""
    said = {PROBLEM: reason, DETAIL: detail}
    columns = [
        pa.repeat(said[one.name], rows) if one.name in said else pa.nulls(rows, one.type) for one in schema
    ]
    return pa.record_batch(columns, schema=schema)


def refuse_extensions(column: pa.Field, name: str, uri: str) -> None:
    """Refuse a column with an extension type that is not Arrow's own, because reading such a type may run code.

    `name` is the column's, for the message. (Arrow's own extension types are read as their storage type.)

    Raises:
        UnreadableInputError: the column, or a field within it, has such a type.
    """
    kind = column.type
    known = kind.extension_name if isinstance(kind, pa.BaseExtensionType) else ""
    said = (column.metadata or {}).get(EXTENSION, b"").decode("utf-8", "replace")
    for extension in (known, said):
        if extension and not extension.startswith("arrow."):
            raise UnreadableInputError(
                f"{uri}: column {name!r} has the extension type {extension!r}, which can run code when read: "
                "write it again as a plain type, or leave the file out"
            )
    for child in _children(kind):
        refuse_extensions(child, f"{name}.{child.name}", uri)


def _children(kind: pa.DataType) -> list[pa.Field]:
    if isinstance(kind, pa.BaseExtensionType):
        return [pa.field("storage", kind.storage_type)]
    if pa.types.is_dictionary(kind):
        return [pa.field("values", kind.value_type)]
    return [kind.field(i) for i in range(kind.num_fields)]
