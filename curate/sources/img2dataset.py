"""img2dataset's folders: `00000.tar` holds the images that were downloaded, `00000.parquet` a row for every image.

Of the table only the rows are read whose images are not in the tar; each is dropped with its status as the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.sources import input_index
from curate.sources.inputs import Input
from curate.sources.reading import DETAIL, PROBLEM, ROW, Source

STATUS, MESSAGE, HAD = "status", "error_message", "success"
SLUG = re.compile(r"[a-z][a-z0-9_]{0,63}")
UNNAMED = "download_failed"  # the reason where a status cannot be a reason's name


@dataclass
class FailedRows:
    """The rows of a table whose status is not `success`, each with its number in the table and its reason."""

    table: Source
    places: np.ndarray  # numbers of these rows in the table, ascending, from 0
    rows: int  # how many of these rows there are
    schema: pa.Schema  # the table's columns, and ROW with the number of the row in the table

    def batches(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """See `Source.batches`."""
        wanted = self.places[start:stop]
        if not len(wanted):
            return
        at = int(wanted[0])
        for batch in self.table.batches(at, int(wanted[-1]) + 1):
            mine = wanted[(wanted >= at) & (wanted < at + batch.num_rows)]
            if len(mine):
                yield _with_reasons(batch.take(pa.array(mine - at)), mine, self.schema)
            at += batch.num_rows


def failed_rows(table: Source, source: Input, work: Path) -> Source:
    """The rows of the table `table` (read from `source`) that failed; all rows where it has no column `status`.

    The numbers of the rows are found in one pass and kept in the folder `work`.
    """
    if STATUS not in table.schema.names:
        return table

    def scan() -> input_index.RowIndex:
        failed = [row for row, had in enumerate(_had(table)) if not had]
        return input_index.RowIndex(len(failed), {}, [(row, 0) for row in failed])

    found = input_index.remembered(input_index.place(work, source, "failed", ()), scan)
    places = np.array([row for row, _ in found.marks], np.int64)
    return FailedRows(table, places, len(places), table.schema.append(pa.field(ROW, pa.int64())))


def _had(table: Source) -> Iterator[bool]:
    for batch in table.batches(0, table.rows):
        yield from (value == HAD for value in batch.column(STATUS).to_pylist())


def _with_reasons(rows: pa.RecordBatch, places: np.ndarray, schema: pa.Schema) -> pa.RecordBatch:
    columns = dict(zip(rows.schema.names, rows.columns, strict=True))
    status = [str(one or "") for one in rows.column(STATUS).to_pylist()]
    reasons = pa.array([one if SLUG.fullmatch(one) else UNNAMED for one in status], pa.string())
    said = columns.get(MESSAGE, pa.array(status, pa.string()))
    columns[PROBLEM] = pc.coalesce(columns[PROBLEM], reasons)
    columns[DETAIL] = pc.coalesce(columns[DETAIL], said.cast(pa.string()))
    columns[ROW] = pa.array(places)
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)
