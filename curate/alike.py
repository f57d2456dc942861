"""Near duplicates across a run: images that look alike by the features of its own scorer; the first stays.

Done in one piece once all units are staged, as which row falls depends on which ones stay before it. Features
take 2 bytes a number in memory. The verdicts are written by slice, as those of `curate.across` are.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from curate.across import VERDICT, Across, read_batch, write_batches
from curate.record import UnitRecord
from curate.scorer.near import find_alike
from curate.staging import STAGED, Fallen
from curate.store import Store

RULE = "near_duplicate"
ALIKE = VERDICT.append(pa.field("detail", pa.string()))


def judge_alike(
    store: Store, phase: Across, units: Mapping[int, tuple[UnitRecord, Fallen]], slice_units: int
) -> None:
    """Judge all staged units (number to record, and the kept rows that have fallen since), in source order.

    Raises:
        MachineError: faiss is needed and missing.
    """
    places: dict[
        str, tuple[int, int]
    ] = {}  # file to its unit, and which of the unit's kept rows is its first
    gone: dict[str, set[int]] = {}
    for number, (record, fallen) in units.items():
        first = 0
        for shard in record.shards:
            name = f"{STAGED}/{shard.path}"
            places[name] = number, first
            gone[name] = {row - first for row in fallen if first <= row < first + shard.rows}
            first += shard.rows
    slices: list[list[tuple[int, int, str, str]]] = [[] for _ in range(phase.slices)]
    for name, rows in find_alike(store, gone, phase.rules[RULE]["max_similarity"]).items():
        unit, first = places[name]
        slices[unit // slice_units] += [(unit, first + row, RULE, like) for row, like in rows.items()]
    for number, fell in enumerate(slices):
        verdicts = [dict(zip(ALIKE.names, row, strict=True)) for row in fell]
        write_batches(store, phase.verdict_name(number), ALIKE, [pa.Table.from_pylist(verdicts, ALIKE)])


def likenesses(store: Store, phase: Across, number: int, unit: int) -> dict[int, str]:
    """What each row of a unit (in slice `number`) is like that falls here."""
    table = read_batch(store, phase.verdict_name(number), 0)
    mine = table.filter(pc.equal(table["unit"], unit))
    return dict(zip(mine["row"].to_pylist(), mine["detail"].to_pylist(), strict=True))
