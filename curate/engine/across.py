"""Rules that look across the whole run: duplicates, the longest text of an image, placeholder pictures.

Nothing of this is ever held in memory as a whole. Each slice of the run (about a million rows) spills one
small row a pair, partitioned by the image's hash; each partition is judged by itself, as all pairs of one
image are in one partition; the verdicts are gathered by slice again, where units look them up. Every step
writes one file, whose presence means that it is done, so a kill costs only the step under way.

It happens up to three times: first for rows with the same key (`keys`, where the key stands for the image);
before fetching, an image is its URL (`seen`), so that no duplicate is ever fetched; after it, an image is its
bytes (`bytes`), which finds what hides behind different URLs. Then come copies that were altered, by their
fingerprints (`similar`, see `curate.engine.similar`), and last what no hash finds (`near`): images that look alike, by
their features (`curate.engine.near_duplicates`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc

import filters
from curate.engine.records import in_parallel
from curate.errors import OrderForbidsError
from curate.storage.store import HashingSink, Store
from filters.duplicates import fingerprint

PARTITION_ROWS = 4_000_000
HELD_FILES = 8192  # on an object store, of which a process keeps the footer

SPILL = pa.schema(
    [
        ("image", pa.binary(16)),  # hash of the key, of the URL, or of the bytes
        ("text", pa.binary(16)),  # hash of the clean text
        ("length", pa.int32()),  # of the clean text, in code points
        ("unit", pa.int32()),
        ("row", pa.int32()),  # within the unit
    ]
)
VERDICT = pa.schema([("unit", pa.int32()), ("row", pa.int32()), ("reason", pa.string())])

PHASES: Mapping[str, tuple[str, ...]] = {
    "keys": ("id_repeated",),
    "seen": ("duplicate_pair", "shorter_text_of_same_image"),
    "bytes": ("duplicate_pair", "placeholder_image", "shorter_text_of_same_image"),
    "near": ("near_duplicate",),
}


BEFORE_IMAGES, AFTER_IMAGES = ("keys", "seen"), ("bytes", "near")

ACROSS = frozenset({"similar_image"}.union(*PHASES.values()))


def rules_of(phase: str, active: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The switched-on rules that are judged in this phase, in the manifest's order."""
    return {name: settings for name, settings in active.items() if name in PHASES[phase]}


def spill_rows(image: pa.Array, text: pa.Array, unit: int, rows: pa.Array) -> pa.Table:
    """What the judging of one unit's pairs needs (N rows); pairs whose image is unknown (null) are left out.

    `image` is the identity of each image, `rows` the rows' places within the unit.
    """
    table = pa.table(
        [
            fingerprint(image),
            fingerprint(text),
            pc.utf8_length(text).fill_null(0).cast(pa.int32()),
            pa.repeat(pa.scalar(unit, pa.int32()), len(rows)),
            rows.cast(pa.int32()),
        ],
        schema=SPILL,
    )
    return table.filter(pc.is_valid(image))


class PhaseFiles:
    """Where the files of a phase lie: what its slices spill, what its partitions find, its verdicts by slice."""

    phase: str

    def verdicts(self, store: Store, number: int) -> pa.Table:
        """The rows of slice `number` that fall in this phase, in source order."""
        return read_batch(store, self.verdict_name(number), 0).combine_chunks()

    def spill_name(self, number: int) -> str:
        """The file that a slice spills."""
        return f"_run/{self.phase}/spill-{number:06d}.arrow"

    def partition_name(self, partition: int) -> str:
        """The file of what a partition finds."""
        return f"_run/{self.phase}/partition-{partition:06d}.arrow"

    def verdict_name(self, number: int) -> str:
        """The file of a slice's verdicts."""
        return f"_run/{self.phase}/verdict-{number:06d}.arrow"


@dataclass(frozen=True)
class Across(PhaseFiles):
    """One phase of one run, and how it is cut."""

    phase: str
    rules: Mapping[str, Mapping[str, Any]]
    partitions: int
    slices: int
    before: int = (
        0  # units that were finished before inputs were added: of these only what changes is a verdict
    )

    def spill(self, store: Store, number: int, rows: Sequence[pa.Table]) -> None:
        """Write a slice's rows, one record batch a partition."""
        table = pa.concat_tables([SPILL.empty_table(), *rows]).combine_chunks()
        partition = _partition(table["image"], self.partitions)
        order = np.argsort(partition, kind="stable")
        bounds = np.searchsorted(partition[order], np.arange(self.partitions + 1))
        ordered = table.take(pa.array(order))
        batches = [ordered.slice(start, stop - start) for start, stop in pairwise(bounds)]
        write_batches(store, self.spill_name(number), SPILL, batches)

    def resolve(self, store: Store, partition: int) -> None:
        """Judge one partition; write its verdicts, one record batch a slice."""
        names = map(self.spill_name, range(self.slices))
        parts = list(in_parallel(lambda name: read_batch(store, name, partition), names))
        sizes = [part.num_rows for part in parts]
        table = pa.concat_tables(parts).combine_chunks()
        reason = filters.judge(table, self.rules).reason
        if self.before:
            reason = self._since(table, reason)
        verdicts = pa.table([table["unit"], table["row"], reason], schema=VERDICT)
        start, batches = 0, []
        for size in sizes:
            mine = verdicts.slice(start, size)
            batches.append(mine.filter(pc.is_valid(mine["reason"])))
            start += size
        write_batches(store, self.partition_name(partition), VERDICT, batches)

    def _since(self, table: pa.Table, reason: pa.Array) -> pa.Array:
        """The verdicts (N) on the new units' rows, and on the others' those that the new rows have changed.

        Raises:
            OrderForbidsError: a row of a finished unit would have been treated otherwise from the beginning.
        """
        old = pc.less(table["unit"], self.before).combine_chunks()
        was = filters.judge(table.filter(old), self.rules).reason
        now = reason.filter(old)
        same = pc.equal(pc.fill_null(was, ""), pc.fill_null(now, ""))
        there = self.phase == "bytes"  # the rows that fall now can be taken out
        forbidden = pc.and_(pc.is_valid(was), pc.is_null(now)) if there else pc.invert(same)
        if pc.any(forbidden, min_count=0).as_py():
            first = pc.index(forbidden, True).as_py()
            row = table.filter(old).slice(first, 1).to_pylist()[0]
            raise OrderForbidsError(
                f"the inputs that were added would change what became of row {row['row']} of unit {row['unit']} "
                f"({_said(was[first])} so far, {_said(now[first])} with them), before its image was fetched: run all "
                "inputs together into another --out"
            )
        changed = pc.if_else(same, pa.scalar(None, pa.string()), now)
        places = np.full(table.num_rows, -1)
        places[old.to_numpy(zero_copy_only=False)] = np.arange(len(now))
        return pc.if_else(old, changed.take(pa.array(places, mask=places < 0)), reason)

    def gather(self, store: Store, number: int) -> None:
        """Bring a slice's verdicts together, in source order."""
        names = map(self.partition_name, range(self.partitions))
        parts = list(in_parallel(lambda name: read_batch(store, name, number), names))
        table = pa.concat_tables(parts).sort_by([("unit", "ascending"), ("row", "ascending")])
        write_batches(store, self.verdict_name(number), VERDICT, [table])


def _said(reason: pa.StringScalar) -> str:
    return reason.as_py() or "kept"


def of_unit(verdicts: pa.Table, unit: int, column: str) -> dict[int, str]:
    """One unit's rows among a slice's verdicts, each with what `column` says of it."""
    start, stop = np.searchsorted(verdicts["unit"].to_numpy(), [unit, unit + 1]).tolist()
    mine = verdicts.slice(start, stop - start)
    return dict(zip(mine["row"].to_pylist(), mine[column].to_pylist(), strict=True))


def partitions_for(rows: int) -> int:
    """Into how many partitions so many pairs are cut, so that each fits into memory with room to spare."""
    return max(1, -(-rows // PARTITION_ROWS))


def _partition(image: pa.ChunkedArray, partitions: int) -> Any:
    """Each image hash's partition (N integers)."""
    if not len(image):
        return np.zeros(0, dtype=np.int64)
    (chunk,) = image.chunks
    data = np.frombuffer(chunk.buffers()[1], dtype=">u8")[2 * chunk.offset :]  # 16 bytes an image
    hashes = data[: 2 * len(chunk) : 2]
    return (hashes % np.uint64(partitions)).astype(np.int64)


def write_batches(store: Store, name: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write a file of one record batch a table."""

    def fill(sink: HashingSink) -> None:
        options = ipc.IpcWriteOptions(compression="zstd")
        with ipc.new_file(pa.PythonFile(sink, mode="w"), schema, options=options) as writer:
            for table in tables:
                batches = table.combine_chunks().to_batches()
                writer.write_batch(batches[0] if batches else pa.RecordBatch.from_pylist([], schema))

    store.write(name, fill)


def read_batch(store: Store, name: str, batch: int) -> pa.Table:
    """One record batch of such a file; of a file on an object store no more than that is fetched."""
    if store.local:
        with store.fs.open_input_file(store.path(name)) as file:
            return pa.Table.from_batches([ipc.open_file(file).get_batch(batch)])
    return pa.Table.from_batches([_reader(store, name).get_batch(batch)])


@lru_cache(maxsize=HELD_FILES)
def _reader(store: Store, name: str) -> Any:
    """A file of record batches on an object store, its footer read: within a run each is written once.

    A store is one worker's and one run's, so that another run never gets what this one has read.
    """
    return ipc.open_file(store.fs.open_input_file(store.path(name)))
