"""Write and read the records of units: one small file for each unit, and segments with thousands of records.

The worker that finishes a unit writes its record, which marks the unit as done even after a crash. These files are
spread over 256 folders, as object stores limit the rate of requests by prefix. The driver collects the records that
workers return in segments (Arrow files in `_run/journal`), so that the small files need not be read one by one later.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc

from curate.engine.ledger import DONE_STATE, STAGED_STATE
from curate.engine.record import UnitRecord
from curate.storage.filesystems import NOT_JSON
from curate.storage.store import Store

STAGED = "_run/staged"
DONE = "_run/done"
FOLDERS = {DONE_STATE: DONE, STAGED_STATE: STAGED}
SEGMENTS = "_run/journal"
SEGMENT_RECORDS = 4096  # records in one segment of the journal, at most
DIGEST_BYTES = 16  # of the hash that follows a segment's Arrow file
SPREAD = 256  # folders over which records are spread
THREADS = 32
SEGMENT = pa.schema([("unit", pa.int64()), ("state", pa.uint8()), ("record", pa.binary())])

Given = TypeVar("Given")
Made = TypeVar("Made")
Entry = tuple[int, UnitRecord]  # a unit's state (staged or done), and its record


def record_name(folder: str, unit: int) -> str:
    """Return the name of a unit's record, such as `FOLDER/2a/000042.json` for unit 42."""
    return f"{folder}/{unit % SPREAD:02x}/{unit:06d}.json"


def spread(name: str) -> str:
    """Return the one of SPREAD folders for a record that has a name in place of a number."""
    return f"{zlib.crc32(name.encode()) % SPREAD:02x}"


def write_record(store: Store, folder: str, record: UnitRecord) -> None:
    """Write a unit's record, which marks it as staged or done (`folder`: STAGED or DONE).

    Raises:
        UnitError: its rows do not add up.
    """
    bound = msgspec.structs.replace(record.check(), run=store.run)
    store.write_bytes(record_name(folder, record.unit), msgspec.json.encode(bound))


def read_record(store: Store, folder: str, unit: int) -> UnitRecord | None:
    """Return a unit's record; None if there is none, or only one that was cut off, overwritten or of another run."""
    data = store.read_bytes(record_name(folder, unit))
    try:
        record = msgspec.json.decode(data or b"", type=UnitRecord)
    except NOT_JSON:
        return None
    if record.unit != unit or not _is_of(store, record.run):
        return None
    return msgspec.structs.replace(record, run="")


def _is_of(store: Store, run: str) -> bool:
    """Return whether what names `run` is of the store's run; true if either does not say so."""
    return not store.run or not run or run == store.run


def write_segment(store: Store, number: int, entries: Sequence[Entry], stem: str = "segment") -> None:
    """Write these records as segment `number` of the journal; `stem` begins the segment's name."""
    columns = [
        pa.array([record.unit for _, record in entries], pa.int64()),
        pa.array([state for state, _ in entries], pa.uint8()),
        pa.array([msgspec.json.encode(record) for _, record in entries], pa.binary()),
    ]
    sink = io.BytesIO()
    schema = SEGMENT.with_metadata({"run": store.run})
    with ipc.new_file(sink, schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(pa.table(columns, schema=schema))
    content = sink.getvalue()
    store.write_bytes(segment_name(number, stem), content + _digest(content))


def write_records(
    store: Store, records: Iterable[UnitRecord], state: int = DONE_STATE, stem: str = "segment"
) -> None:
    """Write these records, all with the same state, as segments; the journal must have none with this `stem`."""
    waiting: list[Entry] = []
    number = 0
    for record in records:
        waiting.append((state, record))
        if len(waiting) >= SEGMENT_RECORDS:
            write_segment(store, number, waiting, stem)
            number, waiting = number + 1, []
    if waiting:
        write_segment(store, number, waiting, stem)


def before_stem(growth: int) -> str:
    """Return how segments are named with the records from before inputs were added; `growth` counts that, from 1."""
    return f"before-{growth:04d}"


def grown_stem(growth: int) -> str:
    """Return how segments are named after inputs were added `growth` times; `segment` if they never were."""
    return f"grown-{growth:04d}" if growth else "segment"


def segment_name(number: int, stem: str = "segment") -> str:
    """Return a segment's file name, such as `_run/journal/segment-000003.arrow`."""
    return f"{SEGMENTS}/{stem}-{number:06d}.arrow"


def segment_names(store: Store) -> list[str]:
    """Return the names of all segments, in the order in which they were written."""
    return [f"{SEGMENTS}/{name}" for name in store.names(SEGMENTS) if name.endswith(".arrow")]


def read_segments(store: Store, names: Iterable[str]) -> Iterator[Entry]:
    """Yield every record of these segments, with its state; a damaged segment gives none."""
    decode = msgspec.json.Decoder(UnitRecord).decode
    for table in in_parallel(lambda name: _read_segment(store, name), names):
        for state, record in zip(table["state"].to_pylist(), table["record"], strict=True):
            yield state, decode(record.as_buffer())


def read_marks(store: Store, state: int, known: np.ndarray) -> Iterator[UnitRecord]:
    """Return the single records for `state` of units whose state in `known` is lower.

    A record that was cut off is left out: its unit was never finished.

    Args:
        store: the run's folder.
        state: STAGED_STATE or DONE_STATE.
        known: the state of each unit (N units).
    """
    folder = FOLDERS[state]
    named = _numbers(store, folder)
    wanted = [unit for unit in named if unit < len(known) and known[unit] < state]
    found = in_parallel(lambda unit: read_record(store, folder, unit), wanted)
    return (record for record in found if record is not None)


def record_in_segments(store: Store, state: int, unit: int) -> UnitRecord | None:
    """Return the record of a unit that is staged or done (`state`) from the journal's segments; None if they lack it.

    All segments are read: this is for the rare record whose own file is damaged.
    """
    every = read_segments(store, segment_names(store))
    return next((record for found, record in every if found == state and record.unit == unit), None)


def every_record(store: Store, state: int = DONE_STATE) -> Iterator[UnitRecord]:
    """Yield the record of every unit that is staged or done (`state`), each once, in any order."""
    seen: set[int] = set()
    for found, record in read_segments(store, segment_names(store)):
        if found == state and record.unit not in seen:
            seen.add(record.unit)
            yield record
    left = sorted(set(_numbers(store, FOLDERS[state])) - seen)
    for one in in_parallel(lambda unit: read_record(store, FOLDERS[state], unit), left):
        if one is not None:
            yield one


def in_parallel(work: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
    """Yield `work(item)` for each item, in order, computed by THREADS threads, which work ahead by a bounded number."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: list[Any] = []
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 4 * THREADS:
                yield from (future.result() for future in waiting[:THREADS])
                del waiting[:THREADS]
        yield from (future.result() for future in waiting)


def _numbers(store: Store, folder: str) -> list[int]:
    """Return the numbers of the units that have a file in a folder of records, ascending."""
    parts = in_parallel(store.names, store.folders(folder))
    names = (name for part in parts for name in part if name.endswith(".json"))
    return sorted(int(name[:-5]) for name in names if name[:-5].isdecimal())


def _read_segment(store: Store, name: str) -> pa.Table:
    """Read a segment; one that is damaged or of another run is empty, as its units' single records are read instead.

    Damaged data are not parsed: a flipped bit in an Arrow file can crash the process.
    """
    data = store.read_bytes(name) or b""
    content, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if digest != _digest(content):  # cut off when the power failed, or a flipped bit
        return SEGMENT.empty_table()
    table = ipc.open_file(pa.py_buffer(content)).read_all()
    run = (table.schema.metadata or {}).get(b"run", b"").decode()
    return table if _is_of(store, run) else SEGMENT.empty_table()


def _digest(content: bytes) -> bytes:
    """Return the hash that follows a segment's content and shows whether it is complete."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES, person=b"curate segment").digest()
