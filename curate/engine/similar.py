"""Similar images across a run: find altered copies by their fingerprints; the first one in source order stays.

When a unit is staged, the fingerprints of its kept rows are written to a file. Each slice of the run spills them under
the keys of their bands (`filters.copies`), partitioned by key, so that fingerprints to compare are in one partition.
Each partition finds its pairs by itself. Last, one job goes through all pairs in source order: a row is dropped if a
row before it, which this rule keeps, is within `max_distance`. So for each dropped row there is a similar one that this
rule keeps, and the result does not depend on the number of workers. Rows with exactly the same image (several questions
about it) are not compared with each other; only other images decide about them. In memory there is one partition at a
time, and one bit for each row of the units that lose rows.

What this rule says of a row depends only on the rows before it, so inputs can be added later. For that reason, rows are
compared with earlier rows even if the rules on images' bytes drop these: added rows can change what those rules drop
(and the image stays with another row, or is a placeholder). The length of the bands depends on the number of rows up to
each unit. The fingerprint files stay in the folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.across import VERDICT, PhaseFiles
from curate.engine.records import in_parallel
from curate.engine.staged_pairs import fallen_detail
from curate.errors import DamagedError
from curate.storage.batch_files import batches_of, read_batch, read_batches, write_batches
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
PARTITION_ENTRIES = 2_000_000  # entries of a partition, which takes about 300 MB of memory while it is judged
GROUP_ROWS = 16_384  # rows whose entries are made at once
ROW_BITS = 32  # a place is unit << ROW_BITS | row

PRINTS = "_run/prints"  # the folder of the units' fingerprint files
PRINTS_NAME = re.compile(r"unit-(\d{6,12})\.arrow")

KEPT = pa.schema(  # of kept rows; `image` is equal for equal bytes, `detail` comes from `fallen_detail`
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
    """Write the fingerprints of a unit's kept rows to a file, for the search across the run.

    Args:
        store: the run's folder.
        unit: the unit's number.
        kept: the kept rows (N rows of SAMPLE).
        images: their encoded images (N).
    """
    rows = pa.array(np.arange(kept.num_rows), pa.int32())
    hashes = [hashlib.sha256(body or b"").hexdigest() for body in images]
    hashed = pa.table({"sha256": pa.chunked_array([hashes], pa.string()), "extra": kept["extra"]})
    numbers = pa.array([int(digits[:16], 16) for digits in hashes], pa.uint64())
    columns = [rows, kept["key"], numbers, fallen_detail(hashed), kept["fingerprint"].cast(KIND)]
    table = pa.table(columns, schema=KEPT)
    write_batches(store, _unit_name(unit), KEPT, [table.filter(pc.is_valid(table["fingerprint"]))])


def copy_prints(source: Store, target: Store, unit: int, without: pa.ChunkedArray) -> None:
    """Copy a unit's fingerprint file to another folder, without the rows with the keys in `without`.

    If it is missing or damaged, none is written: `without_prints` finds that when inputs are added.
    """
    try:
        table = read_batch(source, _unit_name(unit), 0)
    except (OSError, DamagedError):
        return
    kept = pc.invert(pc.is_in(table["key"], without.combine_chunks()))
    write_batches(target, _unit_name(unit), KEPT, [table.filter(kept)])


def prints_names(store: Store) -> Iterator[tuple[int, str]]:
    """Yield the unit and the name of each fingerprint file in a folder."""
    for name in sorted(store.names(PRINTS)):
        if found := PRINTS_NAME.fullmatch(name):
            yield int(found[1]), f"{PRINTS}/{name}"


def without_prints(store: Store, units: int) -> int | None:
    """Return the first of so many units whose fingerprints are gone or in a damaged file; None if each has its own."""
    there = set(store.names(PRINTS))
    missing = (unit for unit in range(units) if _unit_name(unit).rpartition("/")[2] not in there)
    if (first := next(missing, None)) is not None:
        return first
    sound = in_parallel(partial(_has_prints, store), range(units))
    return next((unit for unit, is_sound in enumerate(sound) if not is_sound), None)


def _has_prints(store: Store, unit: int) -> bool:
    """Return whether a unit's file of fingerprints is whole, as far as its end tells."""
    try:
        return batches_of(store, _unit_name(unit)) == 1
    except (OSError, DamagedError):
        return False


def details_of(store: Store, unit: int) -> dict[str, str]:
    """Return key → `fallen_detail`, for each of a unit's rows that had a fingerprint."""
    table = read_batch(store, _unit_name(unit), 0)
    return dict(zip(table["key"].to_pylist(), table["detail"].to_pylist(), strict=True))


@dataclass(frozen=True)
class SimilarImages(PhaseFiles):
    """The search for similar images in one run."""

    max_distance: int  # bits of 256 in which the fingerprints of a copy may differ
    rows: int  # of the run, as planned
    slices: int
    slice_units: int  # units of a slice
    rows_to: Callable[[int], int]  # how many rows are planned up to the end of a unit

    phase = PHASE

    @property
    def partitions(self) -> int:
        """The number of partitions of the entries."""
        return max(1, -(-entries_for(self.rows) // PARTITION_ENTRIES))

    def spill(self, store: Store, number: int, units: Iterable[int]) -> None:
        """Write the entries of a slice's units: for each group of rows and length of bands, a batch a partition."""
        tables = (_kept(store, unit) for unit in units)
        batches = (batch for group in _groups(tables) for batch in self._partitioned(group))
        write_batches(store, self.spill_name(number), ENTRY, batches)

    def resolve(self, store: Store, partition: int) -> None:
        """Find the pairs of one partition, and write them, one record batch for each slice of the later image."""
        names = map(self.spill_name, range(self.slices))
        parts = list(in_parallel(lambda name: self._batches(store, name, partition), names))
        later, earlier, distance = _entries(pa.concat_tables(parts)).pairs(self.max_distance)
        bounds = np.searchsorted((later >> ROW_BITS) // self.slice_units, np.arange(self.slices + 1))
        table = pa.table([later, earlier, distance], names=PAIR.names).cast(PAIR)
        batches = [table.slice(start, stop - start) for start, stop in pairwise(bounds.tolist())]
        write_batches(store, self.partition_name(partition), PAIR, batches)

    def settle(self, store: Store) -> None:
        """Go through all pairs in source order, and write the verdicts of each slice."""
        fallen = _Marks()
        names = [self.partition_name(partition) for partition in range(self.partitions)]
        for number in range(self.slices):
            pairs = pa.concat_tables(in_parallel(partial(_pairs, store, number), names))
            columns = (pairs[name].to_numpy().astype(np.int64) for name in PAIR.names)
            told = list(_judged(*nearest_pairs(*columns), fallen))
            write_batches(store, self.verdict_name(number), TOLD, [_verdicts(store, told)])

    def _partitioned(self, group: pa.Table) -> Iterator[pa.Table]:
        """Yield the entries of some rows: for each length of bands by which they may be found, a table a partition."""
        places, images = (group[name].to_numpy() for name in ("place", "image"))
        prints = stored(_joined(group["fingerprint"]))
        units, of_row = np.unique(places >> ROW_BITS, return_inverse=True)
        levels = np.array([level_for(self.rows_to(unit)) for unit in units.tolist()], np.int64)[of_row]
        for bits in range(levels.min(initial=MOST_BITS), level_for(self.rows) + 1, LEVEL_BITS):
            some = levels <= bits
            chosen = prints[some], places[some], images[some]
            yield from self._of_entries(Entries.of(*chosen, bits, levels[some] == bits))

    def _of_entries(self, entries: Entries) -> Iterator[pa.Table]:
        """Yield these entries as one table for each partition."""
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
        """Return the entries that a slice has in a partition."""
        mine = range(partition, batches_of(store, name), self.partitions)
        return pa.concat_tables([ENTRY.empty_table(), *read_batches(store, name, mine)])


class _Marks:
    """The set of dropped rows, with one bit for each row of the units that lose any."""

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
    """Yield each image to drop, with the nearest image before it that stays, and their distance."""
    pairs = zip(later.tolist(), earlier.tolist(), distance.tolist(), strict=True)
    for place, group in groupby(pairs, key=lambda pair: pair[0]):
        standing = [(bits, other) for _, other, bits in group if other not in fallen]
        if standing:
            fallen.add(place)
            bits, other = min(standing)
            yield place, other, bits


def _verdicts(store: Store, told: list[tuple[int, int, int]]) -> pa.Table:
    """Return the verdicts on the images to drop (rows of TOLD)."""
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
    """Return the fingerprints of a unit's rows, their places, and a number for each image, equal for equal bytes."""
    table = read_batch(store, _unit_name(unit), 0)
    places = (unit << ROW_BITS) + table["row"].to_numpy().astype(np.int64)
    return pa.table({"place": places, "image": table["image"], "fingerprint": table["fingerprint"]})


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the tables' rows in source order, in tables of about GROUP_ROWS rows."""
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
    """Return the pairs in a partition's file `name` whose later image is in slice `number`."""
    return read_batch(store, name, number)


def _joined(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _unit_name(unit: int) -> str:
    return f"{PRINTS}/unit-{unit:06d}.arrow"
