"""`similar_image` across a run of synthetic fingerprints with planted copies: what is found, speed, memory, disk.

    python -m benchmarks.similar [rows] [folder]

The phases are those of a run (`curate.engine.similar`), on one core: each slice spills its entries, each partition
finds its pairs, one pass says who falls. A row in ten is a copy of a row of an earlier unit: its whole is one of that
one's views with so many bits flipped, in the ways of COPIES by turns; bits are drawn evenly, so no two others are
alike. Bits of photographs are not even, which makes buckets uneven: `benchmarks.fingerprints` has those. About 5 KB a
row lie in FOLDER meanwhile (by default a temporary one).
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.engine import similar
from curate.engine.across import write_batches
from curate.engine.similar import KEPT, SimilarImages
from curate.storage.store import Store
from filters.copies import BYTES, KIND, MAX_DISTANCE, VIEW_BYTES, VIEWS, level_for

COPIES = {
    "whole, 20 bits": (0, 20),
    "whole, 40 bits": (0, 40),
    "crop, 12 bits": (7, 12),
    "crop, 28 bits": (7, 28),
}
UNIT_ROWS = 20_000
SLICE_UNITS = 10
EVERY = 10  # a row in so many is a copy


def drawn(unit: int) -> npt.NDArray[np.uint8]:
    """A unit's fingerprints before any is made a copy."""
    return np.random.default_rng(unit).integers(0, 256, (UNIT_ROWS, VIEWS, VIEW_BYTES), dtype=np.uint8)


def unit_prints(unit: int) -> npt.NDArray[np.uint8]:
    """A unit's fingerprints; row r is a copy where EVERY divides it, of row r + 1 of `source_of(unit)`."""
    prints = drawn(unit)
    if unit:
        rng = np.random.default_rng([unit, 1])
        source = drawn(source_of(unit))
        for number, row in enumerate(range(0, UNIT_ROWS, EVERY)):
            view, bits = [*COPIES.values()][number % len(COPIES)]
            spread = np.unpackbits(source[row + 1, view])
            spread[rng.permutation(256)[:bits]] ^= 1
            prints[row, 0] = np.packbits(spread)
    return prints


def source_of(unit: int) -> int:
    return int(np.random.default_rng([unit, 2]).integers(unit))


def write_unit(store: Store, unit: int) -> None:
    prints = unit_prints(unit).reshape(UNIT_ROWS, BYTES)
    rows = np.arange(UNIT_ROWS)
    column = pa.FixedSizeBinaryArray.from_buffers(KIND, UNIT_ROWS, [None, pa.py_buffer(prints.tobytes())])
    keys, images = [f"{unit}:{row}" for row in rows], (rows + unit * UNIT_ROWS).astype(np.uint64)
    table = pa.table([pa.array(rows, pa.int32()), keys, images, keys, column], schema=KEPT)
    write_batches(store, similar._unit_name(unit), KEPT, [table])


def forget_prints(store: Store, unit: int) -> None:
    """Leave of a unit what `settle` reads: this benchmark would need a tenth more disk else."""
    table = pa.table([pa.array(np.arange(UNIT_ROWS), pa.int32()), [f"{unit}:{row}" for row in range(UNIT_ROWS)]],
                     names=["row", "key"])  # fmt: skip
    write_batches(store, similar._unit_name(unit), table.schema, [table])


def told(step: str, begun: float, rows: int) -> None:
    spent = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"  {step:24} {spent:8.0f} CPU s, {rows / spent:12,.0f} rows a CPU s, peak {peak:.2f} GiB", flush=True
    )


def found(store: Store, run: SimilarImages, units: int) -> tuple[Counter[str], int]:
    """How many planted copies fell, by kind, and how many rows fell beside them."""
    kinds, others = [*COPIES], 0
    counts: Counter[str] = Counter()
    for number in range(run.slices):
        for row in run.verdicts(store, number).to_pylist():
            if row["row"] % EVERY == 0 and row["unit"] > 0:
                counts[kinds[row["row"] // EVERY % len(kinds)]] += 1
            else:
                others += 1
    return counts, others


def main(rows: int, folder: Path) -> None:
    units = rows // UNIT_ROWS
    store = Store(str(folder))
    slices = -(-units // SLICE_UNITS)
    run = SimilarImages(MAX_DISTANCE, rows, slices, SLICE_UNITS, lambda unit: (unit + 1) * UNIT_ROWS)
    print(
        f"{rows:,} rows, {run.partitions} partitions, bands of {level_for(rows)} bits at the end", flush=True
    )
    whole = begun = time.process_time()
    written = 0.0
    for number in range(run.slices):
        some = range(number * SLICE_UNITS, min(units, (number + 1) * SLICE_UNITS))
        before = time.process_time()
        for unit in some:
            write_unit(store, unit)
        written += time.process_time() - before
        run.spill(store, number, some)
        before = time.process_time()
        for unit in some:
            forget_prints(store, unit)
        written += time.process_time() - before
    told("spilled", begun + written, rows)
    size = sum(path.stat().st_size for path in folder.rglob("*.arrow"))
    print(f"  on disk: {size / 2**30:.1f} GiB, {size / rows:,.0f} bytes a row", flush=True)
    begun = time.process_time()
    for partition in range(run.partitions):
        run.resolve(store, partition)
    told("partitions resolved", begun, rows)
    begun = time.process_time()
    run.settle(store)
    told("settled", begun, rows)
    told("all", whole + written, rows)
    counts, others = found(store, run, units)
    each = (units - 1) * UNIT_ROWS // EVERY / len(COPIES)
    for kind in COPIES:
        print(f"  found of {kind:16} {100 * counts[kind] / each:5.1f} % of {each:,.0f}")
    print(f"  rows that fell and were not planted: {others}")


if __name__ == "__main__":
    given = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    where = given or Path(tempfile.mkdtemp(prefix="curate-similar-"))
    try:
        main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000, where)
    finally:
        shutil.rmtree(where, ignore_errors=True)
