"""Runs in the child process that reads Parquet: each request is answered by a footer, or by rows of one row group.

A request does not depend on earlier ones, so a new process gives the same answer. The last files and their readers
are kept open, so that the next request continues where the last one stopped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.children.no_pandas import hide_pandas
from curate.sources.columns import decoded_bytes, fitting, unique, value_bytes
from curate.sources.reading import DETAIL, PROBLEM, ROW
from curate.sources.sealed import Sealer
from curate.sources.served import SOCKET, RemoteFile
from curate.storage.filesystems import one_line

TARGET = "curate.sources.parquet_child:reader"
READ_AHEAD = 2**20  # bytes a column; pages are read one by one, so a row group may have any size
ANSWER_BYTES = 64 * 2**20  # of a batch's values; the rows that do not fit come with the next answer
OPEN_AT_ONCE = 4
MAX_NESTING = 32  # of a column's type
CURATE = b"curate"  # the key of curate's own entry in a file's metadata
MAX_TOLD_BYTES = 2**18
OURS = (PROBLEM, DETAIL, ROW)
NO_ROOM = "no_room"  # the reason where this machine lacks the memory to pass rows to the parent
BEYOND = "beyond"  # the reason where a row group decodes to more than it may


class Ask(msgspec.Struct, frozen=True):
    """A request: for the footer, or for rows [start, start + rows) of a row group, counted from the group's first."""

    place: str  # a path, or the address of a served file
    group: int = -1  # -1: the footer is asked for
    start: int = 0
    rows: int = 0
    size: int = 0  # rows that are decoded at a time
    max_value_bytes: int = 0
    max_group_bytes: int = 0  # of a row group's values, decoded; the rows beyond it are not read


class Footer(msgspec.Struct, frozen=True):
    """What a file's footer says; each list has one item for each row group."""

    rows: int
    groups: list[int]  # number of rows
    widths: list[int]  # mean bytes a row, uncompressed, as the footer claims
    packed: list[int]  # bytes in the file
    schema: bytes  # serialized by Arrow


class ReadError(Exception):
    """Rows that cannot be read: `reason` is a slug, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass
class Standing:
    """An open file, and the position of its reader in one of its row groups."""

    file: pq.ParquetFile
    group: int = -1
    size: int = 0
    at: int = 0  # the row that comes next, counted from the group's first
    stream: Iterator[pa.RecordBatch] = field(default_factory=lambda: iter(()))
    rest: pa.RecordBatch | None = None
    left: int = 0  # how many more decoded bytes the group may have
    ended: bool = False  # the group has more decoded bytes than it may: its remaining rows are not read

    def begin(self, ask: Ask) -> None:
        """Move the reader to, or before, the first row that is asked for."""
        if (self.group, self.size) == (ask.group, ask.size) and self.at <= ask.start:
            return
        self.group, self.size, self.at, self.rest = ask.group, ask.size, 0, None
        self.left, self.ended = ask.max_group_bytes, False
        self.stream = self.file.iter_batches(batch_size=ask.size, row_groups=[ask.group], use_threads=False)

    def _decoded(self) -> pa.RecordBatch | None:
        """The group's next batch, cut where the group exceeds its decoded bytes; None at the end."""
        batch = None if self.ended else next(self.stream, None)
        if batch is None:
            return None
        size = sum(map(decoded_bytes, batch.columns))
        if size > self.left:
            batch = batch.slice(0, fitting(batch, self.left))
            self.ended, self.stream = True, iter(())
        self.left -= size
        return batch if batch.num_rows else None

    def next(self, start: int, rows: int) -> pa.RecordBatch | None:
        """The next rows from `start` on, at most `rows` of them; None at the group's end."""
        while (batch := self.rest if self.rest is not None else self._decoded()) is not None:
            skipped = min(max(0, start - self.at), batch.num_rows)
            self.at += skipped
            batch = batch.slice(skipped)
            self.rest = batch if batch.num_rows else None
            if batch.num_rows:
                return batch.slice(0, rows)
        return None

    def take(self, rows: int) -> None:
        """Move the reader forward by `rows` rows, which must be in the current batch."""
        assert self.rest is not None
        self.at += rows
        self.rest = self.rest.slice(rows) if rows < self.rest.num_rows else None


def reader(settings: bytes) -> Callable[[bytes], bytes]:
    """The handler that `curate.children.pool` runs; there are no settings."""
    pa.set_memory_pool(pa.system_memory_pool())  # others reserve more address space than allowed
    pa.set_cpu_count(1)
    hide_pandas()
    opened: OrderedDict[str, Standing] = OrderedDict()
    sealer = Sealer()

    def handle(payload: bytes) -> bytes:
        ask = msgspec.msgpack.decode(payload, type=Ask)
        try:
            standing = _opened(opened, ask.place, fresh=ask.group < 0)
            if ask.group < 0:
                return footer(standing.file)
            batch = rows(standing, ask)
        except BaseException as error:
            opened.pop(ask.place, None)
            raise _named(error, ask) from None
        try:
            return sealer.seal(batch)
        except OSError as error:  # this machine is the cause, not the file
            raise ReadError(NO_ROOM, one_line(error)) from None

    return handle


def _named(error: BaseException, ask: Ask) -> BaseException:
    """The error as a ReadError with a reason, if the file caused it; else the error itself."""
    if isinstance(error, pa.ArrowMemoryError) and ask.rows > 1:  # one row alone is tried in a new process
        return ReadError("too_much", one_line(error))
    if isinstance(error, ReadError | MemoryError):
        return error
    if isinstance(error, pa.ArrowCapacityError | pa.ArrowNotImplementedError):
        return ReadError("too_much", one_line(error))
    if isinstance(error, OSError | ValueError | EOFError | pa.ArrowException):
        return ReadError("damaged", one_line(error))
    return error


def _opened(opened: OrderedDict[str, Standing], place: str, fresh: bool) -> Standing:
    if fresh:
        opened.pop(place, None)
    if place not in opened:
        opened[place] = Standing(_open(place))
    opened.move_to_end(place)
    while len(opened) > OPEN_AT_ONCE:
        opened.popitem(last=False)
    return opened[place]


def _open(place: str) -> pq.ParquetFile:
    remote = place.startswith(SOCKET)
    return pq.ParquetFile(
        pa.PythonFile(RemoteFile(place), mode="r") if remote else pa.OSFile(place),
        pre_buffer=False,
        buffer_size=READ_AHEAD,
        page_checksum_verification=True,
        arrow_extensions_enabled=False,
    )


def footer(file: pq.ParquetFile) -> bytes:
    """The file's Footer, encoded by msgpack.

    Raises:
        ReadError: a column is nested too deep.
    """
    meta = file.metadata
    schema = file.schema_arrow
    for column in schema:
        _check_nesting(column.type, MAX_NESTING)
    fields = [one.with_name(name) for one, name in zip(schema, _names(schema.names), strict=True)]
    groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    widths = [max(0, one.total_byte_size) // max(1, one.num_rows) for one in groups]
    found = Footer(
        meta.num_rows,
        [one.num_rows for one in groups],
        [min(2**31, width) for width in widths],
        [sum(one.column(i).total_compressed_size for i in range(one.num_columns)) for one in groups],
        pa.schema(fields, _told(schema.metadata)).serialize().to_pybytes(),
    )
    return msgspec.msgpack.encode(found)


def _told(metadata: dict[bytes, bytes] | None) -> dict[bytes, bytes] | None:
    """Of the file's metadata, the entry under `curate` if it is short; the rest is left out."""
    told = (metadata or {}).get(CURATE)
    return {CURATE: told} if told is not None and len(told) <= MAX_TOLD_BYTES else None


def _check_nesting(kind: pa.DataType, left: int) -> None:
    if not left:
        raise ReadError("damaged", f"a column is nested deeper than {MAX_NESTING}")
    for i in range(kind.num_fields):
        _check_nesting(kind.field(i).type, left - 1)


def _names(names: list[str]) -> list[str]:
    """The columns' names, made unique; those that are reserved for our own columns get the prefix `published_`."""
    return unique([f"published_{name}" if name in OURS else name for name in names])


def rows(standing: Standing, ask: Ask) -> pa.RecordBatch:
    """The first of the rows that are asked for, as many as fit into one answer.

    Raises:
        ReadError: the row group decodes to too many bytes (`beyond`), or ends too early (`damaged`).
    """
    standing.begin(ask)
    batch = standing.next(ask.start, ask.rows)
    if batch is None and standing.ended:
        raise ReadError(BEYOND, str(ask.max_group_bytes))
    if batch is None:
        raise ReadError("damaged", f"row group {ask.group} ends before row {ask.start}")
    batch = _fitting(batch)
    standing.take(batch.num_rows)
    return _with_problems(batch, ask.max_value_bytes)


def _fitting(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch's first rows, at least one, halved until they fit into one answer without dictionaries."""
    while batch.num_rows > 1 and sum(map(decoded_bytes, batch.columns)) > ANSWER_BYTES:
        batch = batch.slice(0, batch.num_rows // 2)
    return batch


def _with_problems(batch: pa.RecordBatch, max_value_bytes: int) -> pa.RecordBatch:
    """The batch with the two columns of problems; a value that is too large becomes null, and its row's problem."""
    columns = list(batch.columns)
    names = _names(batch.schema.names)
    details: dict[int, str] = {}
    for i, column in enumerate(columns):
        if decoded_bytes(column) > max_value_bytes:
            columns[i] = _without_large(column, names[i], max_value_bytes, details)
    said = [details.get(row) for row in range(batch.num_rows)] if details else [None] * batch.num_rows
    detail = pa.array(said, pa.string())
    problem = pc.if_else(pc.is_valid(detail), "too_large", pa.scalar(None, pa.string()))
    fields = [one.with_name(name) for one, name in zip(batch.schema, names, strict=True)]
    schema = pa.schema([*fields, (PROBLEM, pa.string()), (DETAIL, pa.string())])
    return pa.record_batch([*columns, problem, detail], schema=schema)


def _without_large(column: pa.Array, name: str, max_value_bytes: int, details: dict[int, str]) -> pa.Array:
    """The column with null for each value of more than `max_value_bytes`; adds the rows' details to `details`."""
    sizes = value_bytes(column) if _is_flat(column.type) else [decoded_bytes(one) for one in _singles(column)]
    kept: list[int | None] = []
    for row, size in enumerate(sizes):
        kept.append(row if size <= max_value_bytes else None)
        if size > max_value_bytes:
            details.setdefault(row, f"{name}: {size} bytes, more than {max_value_bytes}"[:200])
    return column.take(pa.array(kept, pa.int64()))


def _is_flat(kind: pa.DataType) -> bool:
    return not kind.num_fields


def _singles(column: pa.Array) -> Iterator[pa.Array]:
    return (column.slice(row, 1) for row in range(len(column)))
