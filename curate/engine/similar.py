"""Similar images across a run: copies by their fingerprints; the first in source order stays.

A unit leaves the fingerprints of its kept rows beside its shards. Each slice of the run spills them under the keys of
their bands (`filters.copies`), partitioned by key, so that what is compared is in one partition; each partition finds
its pairs by itself. Last the pairs are gone through in source order, in one piece: a row falls if a row that stays is
before it and within `max_distance`. So what falls has a witness that this rule keeps, whatever the number of workers.
Rows with the very same image (questions about one) are no copies of each other: they stay or fall by other images
alone. Memory holds a partition at a time, and a bit for each row of the units that lose any.

What becomes of a row depends on the rows before it alone, so inputs can be added later: rows that fall to the rules on
images' bytes, which more rows can bring down, are witnesses as well (their image stays with another row, or is a
placeholder), and bands are as long as the rows up to each unit ask for. The units' fingerprints stay in the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc

from curate.engine.across import VERDICT, PhaseFiles, read_batch, write_batches
from curate.engine.records import in_parallel
from curate.engine.staged_pairs import fallen_detail
from curate.storage.store import Store
from filters.copies import (
    KIND,
    LEVEL_BITS,
    MOST_BITS,
    VIEW_BYTES,
    Entries,
    entries_for,
    level_for,
    nearest_pairs,
    stored,
)

RULE = "similar_image"
PHASE = "similar"
PARTITION_ENTRIES = 2_000_000  # about 300 MB while it is judged
GROUP_ROWS = 16_384  # whose entries are made at once
ROW_BITS = 32  # a place is unit << ROW_BITS | row

PRINTS = "_run/prints"  # the folder of what units leave

KEPT = pa.schema(  # of a unit's kept rows; `image` tells images' bytes apart, `detail` see `fallen_detail`
    [
        ("row", pa.int32()),
        ("key", pa.string()),
        ("image", pa.uint64()),
        ("detail", pa.string()),
        ("fingerprint", KIND),
    ]
)
ENTRY = pa.schema(
    [
        ("key", pa.uint32()),
        ("place", pa.int64()),
        ("image", pa.uint64()),
        ("view", pa.uint8()),
        ("print", pa.binary(VIEW_BYTES)),
    ]
)
PAIR = pa.schema([("later", pa.int64()), ("earlier", pa.int64()), ("distance", pa.uint8())])
TOLD = VERDICT.append(pa.field("detail", pa.string()))


def keep_fingerprints(store: Store, unit: int, kept: pa.Table, images: Iterable[bytes | None]) -> None:
    """Leave the fingerprints of a unit's kept rows (N rows of SAMPLE, their N images) for the rule across the run."""
    rows = pa.array(np.arange(kept.num_rows), pa.int32())
    hashes = [hashlib.sha256(body or b"").hexdigest() for body in images]
    hashed = pa.table({"sha256": pa.chunked_array([hashes], pa.string()), "extra": kept["extra"]})
    numbers = pa.array([int(digits[:16], 16) for digits in hashes], pa.uint64())
    columns = [rows, kept["key"], numbers, fallen_detail(hashed), kept["fingerprint"].cast(KIND)]
    table = pa.table(columns, schema=KEPT)
    write_batches(store, _unit_name(unit), KEPT, [table.filter(pc.is_valid(table["fingerprint"]))])


def without_prints(store: Store, units: int) -> int | None:
    """The first of so many units that has left no fingerprints; None: each has."""
    there = set(store.names(PRINTS))
    return next((unit for unit in range(units) if _unit_name(unit).rpartition("/")[2] not in there), None)


def details_of(store: Store, unit: int) -> dict[str, str]:
    """By key the `fallen_detail` of each of a unit's rows that had a fingerprint."""
    table = read_batch(store, _unit_name(unit), 0)
    return dict(zip(table["key"].to_pylist(), table["detail"].to_pylist(), strict=True))


@dataclass(frozen=True)
class SimilarImages(PhaseFiles):
    """The phase of one run: how it is cut, and how near is similar."""

    max_distance: int
    rows: int  # of the run, as planned
    slices: int
    slice_units: int
    rows_to: Callable[[int], int]  # how many rows are planned up to the end of a unit

    phase = PHASE

    @property
    def partitions(self) -> int:
        """Into how many partitions the entries are cut."""
        return max(1, -(-entries_for(self.rows) // PARTITION_ENTRIES))

    def spill(self, store: Store, number: int, units: Iterable[int]) -> None:
        """Write a slice's entries, a record batch a partition for each group of rows and each length of bands."""
        tables = (_kept(store, unit) for unit in units)
        batches = (batch for group in _groups(tables) for batch in self._partitioned(group))
        write_batches(store, self.spill_name(number), ENTRY, batches)

    def resolve(self, store: Store, partition: int) -> None:
        """Find the pairs of one partition; write them by the slice of the later image."""
        names = map(self.spill_name, range(self.slices))
        parts = list(in_parallel(lambda name: self._batches(store, name, partition), names))
        later, earlier, distance = _entries(pa.concat_tables(parts)).pairs(self.max_distance)
        bounds = np.searchsorted((later >> ROW_BITS) // self.slice_units, np.arange(self.slices + 1))
        table = pa.table([later, earlier, distance], names=PAIR.names).cast(PAIR)
        batches = [table.slice(start, stop - start) for start, stop in pairwise(bounds.tolist())]
        write_batches(store, self.partition_name(partition), PAIR, batches)

    def settle(self, store: Store) -> None:
        """Go through all pairs in source order; write each slice's verdicts."""
        fallen = _Marks()
        names = [self.partition_name(partition) for partition in range(self.partitions)]
        for number in range(self.slices):
            pairs = pa.concat_tables(in_parallel(partial(_pairs, store, number), names))
            columns = (pairs[name].to_numpy().astype(np.int64) for name in PAIR.names)
            told = list(_judged(*nearest_pairs(*columns), fallen))
            write_batches(store, self.verdict_name(number), TOLD, [_verdicts(store, told)])

    def _partitioned(self, group: pa.Table) -> Iterator[pa.Table]:
        """The entries of some rows, a table a partition for each length of bands by which they may be found."""
        places, images = (group[name].to_numpy() for name in ("place", "image"))
        prints = stored(_joined(group["fingerprint"]))
        units, of_row = np.unique(places >> ROW_BITS, return_inverse=True)
        levels = np.array([level_for(self.rows_to(unit)) for unit in units.tolist()], np.int64)[of_row]
        for bits in range(levels.min(initial=MOST_BITS), level_for(self.rows) + 1, LEVEL_BITS):
            some = levels <= bits
            chosen = prints[some], places[some], images[some]
            yield from self._of_entries(Entries.of(*chosen, bits, levels[some] == bits))

    def _of_entries(self, entries: Entries) -> Iterator[pa.Table]:
        """These entries, a table a partition."""
        mixed = (entries.keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
        partition = (mixed % np.uint64(self.partitions)).astype(np.int64)
        order = np.argsort(partition, kind="stable")
        bounds = np.searchsorted(partition[order], np.arange(self.partitions + 1)).tolist()
        for start, stop in pairwise(bounds):
            some = order[start:stop]
            prints = pa.FixedSizeBinaryArray.from_buffers(
                ENTRY.field("print").type, len(some), [None, pa.py_buffer(entries.prints[some].tobytes())]
            )
            numbers = [of[some] for of in (entries.keys, entries.places, entries.images, entries.views)]
            yield pa.table([*map(pa.array, numbers), prints], schema=ENTRY)

    def _batches(self, store: Store, name: str, partition: int) -> pa.Table:
        """A partition's entries of one slice."""
        with store.fs.open_input_file(store.path(name)) as file:
            reader = ipc.open_file(file)
            mine = range(partition, reader.num_record_batches, self.partitions)
            return pa.Table.from_batches([reader.get_batch(at) for at in mine], ENTRY)


class _Marks:
    """Which rows have fallen: a bit a row of each unit that lost any."""

    def __init__(self) -> None:
        self._units: dict[int, bytearray] = {}

    def add(self, place: int) -> None:
        unit, row = divmod(place, 1 << ROW_BITS)
        bits = self._units.setdefault(unit, bytearray())
        bits.extend(bytes(max(0, row // 8 + 1 - len(bits))))
        bits[row // 8] |= 1 << row % 8

    def __contains__(self, place: int) -> bool:
        unit, row = divmod(place, 1 << ROW_BITS)
        bits = self._units.get(unit, b"")
        return row // 8 < len(bits) and bool(bits[row // 8] >> row % 8 & 1)


def _judged(later: Any, earlier: Any, distance: Any, fallen: _Marks) -> Iterator[tuple[int, int, int]]:
    """The images that fall, each with the nearest one that stays before it, and their distance."""
    pairs = zip(later.tolist(), earlier.tolist(), distance.tolist(), strict=True)
    for place, group in groupby(pairs, key=lambda pair: pair[0]):
        standing = [(bits, other) for _, other, bits in group if other not in fallen]
        if standing:
            fallen.add(place)
            bits, other = min(standing)
            yield place, other, bits


def _verdicts(store: Store, told: list[tuple[int, int, int]]) -> pa.Table:
    """What is written of the images that fall: rows of TOLD."""
    keys: dict[int, str] = {}
    for unit, places in groupby(sorted({other for _, other, _ in told}), key=lambda place: place >> ROW_BITS):
        names = _keys(store, unit)
        keys |= {place: names[place & (1 << ROW_BITS) - 1] for place in places}
    rows = [
        (place >> ROW_BITS, place & (1 << ROW_BITS) - 1, RULE, f"distance={bits} to {keys[other]}")
        for place, other, bits in told
    ]
    return pa.Table.from_pylist([dict(zip(TOLD.names, row, strict=True)) for row in rows], TOLD)


def _keys(store: Store, unit: int) -> Mapping[int, str]:
    table = read_batch(store, _unit_name(unit), 0)
    return dict(zip(table["row"].to_pylist(), table["key"].to_pylist(), strict=True))


def _kept(store: Store, unit: int) -> pa.Table:
    """The fingerprints of a unit's rows, their places, and numbers that tell their images apart."""
    table = read_batch(store, _unit_name(unit), 0)
    places = (unit << ROW_BITS) + table["row"].to_numpy().astype(np.int64)
    return pa.table({"place": places, "image": table["image"], "fingerprint": table["fingerprint"]})


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The tables' rows in source order, about GROUP_ROWS at once."""
    waiting: list[pa.Table] = []
    for table in tables:
        for start in range(0, table.num_rows, GROUP_ROWS):
            waiting.append(table.slice(start, GROUP_ROWS))
            if sum(part.num_rows for part in waiting) >= GROUP_ROWS:
                yield pa.concat_tables(waiting)
                waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _entries(table: pa.Table) -> Entries:
    prints = _joined(table["print"])
    data = np.frombuffer(prints.buffers()[1] or b"", np.uint8)[prints.offset * VIEW_BYTES :]
    keys, places, images, views = (table[name].to_numpy() for name in ("key", "place", "image", "view"))
    return Entries(keys, places, images, views, data[: len(prints) * VIEW_BYTES].reshape(-1, VIEW_BYTES))


def _pairs(store: Store, number: int, name: str) -> pa.Table:
    """A partition's pairs whose later image is in slice `number`."""
    return read_batch(store, name, number)


def _joined(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _unit_name(unit: int) -> str:
    return f"{PRINTS}/unit-{unit:06d}.arrow"
