"""What the driver keeps in memory about all units: the state of each, and the sums and files of those that are done.

That takes about one byte a unit and 150 bytes a file, so that half a million units fit into some 100 MB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from curate.engine.record import UnitRecord, add_records, plain_sums
from curate.storage.listing import FILES, files_table
from curate.storage.shards import Shard

NEW, STAGED_STATE, DONE_STATE = 0, 1, 2  # how far a unit is
AT_ONCE = 4096  # records that are collected before they are added up


class Ledger:
    """The units of one run, `units` of them, numbered from 0."""

    def __init__(self, units: int) -> None:
        self.state = np.zeros(units, np.uint8)
        self._pending: list[UnitRecord] = []
        self._sums = UnitRecord(unit=-1, inputs_in=0, rows_in=0, rows_out=0)
        self._shards = [FILES.empty_table()]
        self._dropped = [FILES.empty_table()]

    def add(self, record: UnitRecord, state: int) -> bool:
        """Note that a unit is staged or done (`state`); return False if that was known before."""
        if not 0 <= record.unit < len(self.state) or self.state[record.unit] >= state:
            return False
        self.state[record.unit] = state
        if state == DONE_STATE:
            self._pending.append(record)
            if len(self._pending) >= AT_ONCE:
                self._settle()
        return True

    def below(self, state: int) -> np.ndarray:
        """Return the numbers of the units that have not reached `state`, ascending."""
        return np.flatnonzero(self.state < state)

    def sums(self) -> dict[str, Any]:
        """Return the sums over the finished units, as in `_manifest.json`: rows, reasons, stages."""
        self._settle()
        return plain_sums(self._sums)

    def shards(self) -> pa.Table:
        """Return every shard of the finished units, in source order (rows of FILES)."""
        self._settle()
        return _in_order(self._shards)

    def dropped_files(self) -> pa.Table:
        """Return every file of dropped rows of the finished units, in source order (rows of FILES)."""
        self._settle()
        return _in_order(self._dropped)

    def _settle(self) -> None:
        """Add up the records that were collected."""
        records, self._pending = self._pending, []
        if not records:
            return
        self._sums = add_records([self._sums, *records])
        files: list[Shard] = [shard for record in records for shard in record.shards]
        self._shards.append(files_table(files))
        self._dropped.append(files_table(one.dropped_file for one in records if one.dropped_file is not None))


def _in_order(tables: list[pa.Table]) -> pa.Table:
    """Join the tables and sort files by unit; those of one unit stay in the order of its record."""
    files = pa.concat_tables(tables).combine_chunks()
    return files.take(pa.array(np.argsort(files["unit"].to_numpy(), kind="stable")))
