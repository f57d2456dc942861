"""Near duplicates across a run: of images that look alike, by the features of the run's scorer, the first one stays.

One job does this after all units are staged, as whether a row is dropped depends on which rows before it stay. The
verdicts are written by slice, like those of `curate.engine.across`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.across import VERDICT, Across, write_batches
from curate.engine.output import Fallen, Staging
from curate.engine.record import UnitRecord
from curate.scorer.near_duplicate_rows import find_near_duplicates
from curate.storage.store import Store

RULE = "near_duplicate"
NEAR_DUPLICATES = VERDICT.append(pa.field("detail", pa.string()))


def judge_near_duplicates(
    staging: Staging, phase: Across, units: Mapping[int, tuple[UnitRecord, Fallen]], slice_units: int
) -> None:
    """Judge all staged units, in source order, and write the verdicts.

    Args:
        staging: reads the staged shards.
        phase: the phase `near`, with the rule's settings.
        units: number → record, and the kept rows that other rules across the run drop; in source order.
        slice_units: units of a slice.

    Raises:
        MachineError: faiss is needed and missing, or the disk for temporary files is full.
    """
    store = staging.store
    places: dict[str, tuple[int, int]] = {}  # file → its unit, and its first row's number among the kept ones
    rows: dict[str, int] = {}
    gone: dict[str, Collection[int]] = {}
    for number, (record, fallen) in units.items():
        first = 0
        for shard in record.shards:
            name = staging.place(shard.path)
            places[name], rows[name] = (number, first), shard.rows
            gone[name] = [row - first for row in fallen if first <= row < first + shard.rows]
            first += shard.rows
    fell = find_near_duplicates(store, rows, gone, phase.rules[RULE]["max_similarity"])
    verdicts = (_verdicts(table, *places[table["path"][0].as_py()]) for table in fell)
    slices = groupby(verdicts, key=lambda table: table["unit"][0].as_py() // slice_units)
    empty = set(range(phase.slices))
    for number, tables in slices:
        _write(store, phase, number, pa.concat_tables(tables))
        empty.remove(number)
    for number in empty:
        _write(store, phase, number, NEAR_DUPLICATES.empty_table())


def _verdicts(fell: pa.Table, unit: int, first: int) -> pa.Table:
    """Return near duplicates of one file as verdicts: with their unit, and their numbers among its kept rows."""
    units, reasons = (pa.repeat(pa.scalar(value), len(fell)) for value in (unit, RULE))
    return pa.table([units, pc.add(fell["row"], first), reasons, fell["detail"]], NEAR_DUPLICATES.names).cast(
        NEAR_DUPLICATES
    )


def _write(store: Store, phase: Across, number: int, verdicts: pa.Table) -> None:
    write_batches(store, phase.verdict_name(number), NEAR_DUPLICATES, [verdicts])
