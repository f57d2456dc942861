"""Files of a run's journal that other processes read, in parts or as a whole, each with a digest of what it holds.

Bits that a disk flips must neither change a result unnoticed nor reach a parser: a flipped bit in an Arrow file or in
an index can crash the process. So no data are parsed before their digest was compared. A digest covers the file's name
and the run (`Store.run`), too, so that no file is taken for another one, or for that of another run.

A file of record batches begins with its batches, each an Arrow stream of its own. Then comes the footer, which has the
end and digest of each batch; last the footer's own digest and its length. So one batch is read without the others.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from functools import lru_cache

import msgspec
import pyarrow as pa
import pyarrow.ipc as ipc

from curate.errors import DamagedStateError
from curate.storage.store import HashingSink, Store

DIGEST_BYTES = 16
# Files that are read after their run: by the next one, and by versions without some rows
OUTLASTING = "_run/prints/"
LENGTH_BYTES = 4  # of the footer's length, which ends a file
TAIL = 2**16  # bytes at the end of a file that are read first: most footers lie in them
HELD_FILES = 8192  # files on an object store whose footers a process keeps in memory
MADE_ANEW = "delete that folder and run the same command again"
WAYS_OUT = {  # by the beginning of a file's name, where it is another one
    "_run/prints/": "--overwrite begins the run anew",
    "_run/staged/": "--overwrite begins the run anew",
    "_run/score/": "take the whole folder from a copy, and give the command again",
}


class BatchFooter(msgspec.Struct, frozen=True, array_like=True):
    """The footer of a file of record batches."""

    ends: list[int]  # of each batch, in bytes from the file's start
    digests: list[bytes]  # of each batch
    told: bytes  # what the writer says of all batches


class _BatchWriter:
    """Writes record batches to a sink, and remembers what the footer needs."""

    def __init__(self, store: Store, name: str, sink: HashingSink) -> None:
        self._store, self._name, self._sink = store, name, sink
        self._ends: list[int] = []
        self._digests: list[bytes] = []

    def add(self, schema: pa.Schema, table: pa.Table) -> None:
        batches = table.combine_chunks().to_batches()
        piece = io.BytesIO()
        with ipc.new_stream(piece, schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_batch(batches[0] if batches else pa.RecordBatch.from_pylist([], schema))
        data = piece.getvalue()
        self._digests.append(digest(self._store, f"{self._name}#{len(self._ends)}", data))
        self._sink.write(data)
        self._ends.append(self._sink.size)

    def finish(self, told: bytes) -> None:
        footer = msgspec.msgpack.encode(BatchFooter(self._ends, self._digests, told))
        length = len(footer).to_bytes(LENGTH_BYTES, "little")
        self._sink.write(footer + digest(self._store, self._name, footer) + length)


def write_batches(
    store: Store, name: str, schema: pa.Schema, tables: Iterable[pa.Table], told: bytes = b""
) -> None:
    """Write a file `name` with one record batch for each table.

    Args:
        store: the folder.
        name: the file's name in it.
        schema: the schema of all tables.
        tables: the tables.
        told: what `read_told` returns. Default: nothing.
    """

    def fill(sink: HashingSink) -> None:
        batches = _BatchWriter(store, name, sink)
        for table in tables:
            batches.add(schema, table)
        batches.finish(told)

    store.write(name, fill)


def read_batch(store: Store, name: str, batch: int) -> pa.Table:
    """Return record batch number `batch` of a file that `write_batches` wrote; see `read_batches`."""
    return read_batches(store, name, range(batch, batch + 1))[0]


def read_batches(store: Store, name: str, wanted: range | None = None) -> list[pa.Table]:
    """Return the record batches of a file whose numbers are in `wanted`, in order; None: all.

    From an object store only these are fetched, and once for each file its footer.

    Raises:
        DamagedStateError: the file is cut, overwritten or of another run, or has fewer batches.
        OSError: it cannot be read.
    """
    footer = (_footer if store.local else _held_footer)(store, name)
    numbers = range(len(footer.ends)) if wanted is None else wanted
    tables = []
    with store.fs.open_input_file(store.path(name)) as file:
        for number in numbers:
            if number >= len(footer.ends):
                raise damaged(store, name)
            start = footer.ends[number - 1] if number else 0
            data = file.read_at(footer.ends[number] - start, start)
            if digest(store, f"{name}#{number}", data) != footer.digests[number]:
                raise damaged(store, name)
            tables.append(ipc.open_stream(data).read_all())
    return tables


def batches_of(store: Store, name: str) -> int:
    """Return the number of record batches of a file. Raises: see `read_batches`."""
    return len((_footer if store.local else _held_footer)(store, name).ends)


def read_told(store: Store, name: str) -> bytes:
    """Return what the writer of a file said of all its batches. Raises: see `read_batches`."""
    return _footer(store, name).told


def write_sealed(store: Store, name: str, data: bytes) -> None:
    """Write `data`, which `read_sealed` returns, as the file `name`."""
    store.write_bytes(name, data + digest(store, name, data))


def read_sealed(store: Store, name: str) -> bytes | None:
    """Return the data of a file that `write_sealed` wrote; None if there is no such file.

    Raises:
        DamagedStateError: it is cut, overwritten or of another run.
    """
    found = store.read_bytes(name)
    if found is None:
        return None
    data, sum_ = found[:-DIGEST_BYTES], found[-DIGEST_BYTES:]
    if sum_ != digest(store, name, data):
        raise damaged(store, name)
    return data


def digest(store: Store, name: str, data: bytes) -> bytes:
    """Return the digest of data that a file has under `name` in the store's run."""
    run = "" if name.startswith(OUTLASTING) else store.run
    key = hashlib.blake2b(f"{name}{run}".encode(), digest_size=DIGEST_BYTES).digest()
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES, key=key).digest()


def damaged(store: Store, name: str) -> DamagedStateError:
    """Return the error for a file in `_run` that is cut, overwritten or of another run, with the way out."""
    folder, _, file = name.rpartition("/")
    way_out = next((out for stem, out in WAYS_OUT.items() if name.startswith(stem)), MADE_ANEW)
    return DamagedStateError(f"{store.uri}/{folder}: {file} is damaged or of another run; {way_out}")


def _footer(store: Store, name: str) -> BatchFooter:
    with store.fs.open_input_file(store.path(name)) as file:
        size = file.size()
        tail = file.read_at(min(size, TAIL), max(0, size - TAIL))
        length = int.from_bytes(tail[-LENGTH_BYTES:], "little") + DIGEST_BYTES + LENGTH_BYTES
        if len(tail) < DIGEST_BYTES + LENGTH_BYTES or length > size:
            raise damaged(store, name)
        if length > len(tail):
            tail = file.read_at(length, size - length)
    footer = tail[-length : -DIGEST_BYTES - LENGTH_BYTES]
    if tail[-DIGEST_BYTES - LENGTH_BYTES : -LENGTH_BYTES] != digest(store, name, footer):
        raise damaged(store, name)
    return msgspec.msgpack.decode(footer, type=BatchFooter)


_held_footer = lru_cache(maxsize=HELD_FILES)(
    _footer
)  # of object stores; each worker of each run has its own `store`
