"""The rows of one task, with the columns that its format reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.formats import FORMATS, Format, fields
from curate.tasks.regions import Flat, flatten
from filters.spans import Spans, byte_spans, distinct, lengths

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

COLUMNS = ("language", "text", "question", "answer", "regions", "width", "height")
LOCATED = {"boxes", "grounded", "lines"}  # fields that write regions down


@dataclass(frozen=True)
class Part:
    """N rows of one task."""

    format: Format
    rows: npt.NDArray[np.int64]  # where they stand in the whole table
    table: pa.Table

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def wanted(self) -> set[str]:
        """The fields that the format fills in."""
        return fields(self.format.prompt) | fields(self.format.target)

    @property
    def located(self) -> bool:
        """Whether regions are written down."""
        return bool(self.wanted & LOCATED)

    @cached_property
    def flat(self) -> Flat:
        """The rows' regions."""
        return flatten(self.column("regions"))

    @cached_property
    def spans(self) -> Spans:
        """The regions' spans, each once."""
        return distinct(self.flat.row, self.flat.start, self.flat.end)

    @cached_property
    def fits(self) -> Bools:
        """Whether each region's span lies in its row's text and is not empty."""
        start, end = self.flat.start, self.flat.end
        return (start >= 0) & (start < end) & (end <= lengths(self._text)[self.flat.row])

    @cached_property
    def span_bytes(self) -> tuple[Ints, Ints]:
        """Where each region's span begins and ends in the bytes of the texts; nowhere if it does not fit."""
        start, end = (np.where(self.fits, side, 0) for side in (self.flat.start, self.flat.end))
        return byte_spans(self._text, self.flat.row, start, end)

    @cached_property
    def _text(self) -> pa.Array:
        return self.column("text").fill_null("")

    def only(self, rows: Bools) -> Part:
        """Those of the rows."""
        return self if rows.all() else Part(self.format, self.rows[rows], self.table.filter(pa.array(rows)))

    def column(self, name: str) -> pa.Array:
        """One column; texts are large_string."""
        column = self.table[name].combine_chunks()
        return column.cast(pa.large_string()) if name in ("text", "question", "answer", "path") else column

    def raw_texts(self) -> Iterator[tuple[pa.Array, npt.NDArray[np.int64]]]:
        """Every text that the format takes over as it is, with the row of each value."""
        for name in sorted(self.wanted & {"text", "question", "answer"} | {"text"} & _read_by(self.wanted)):
            yield self.column(name), np.arange(len(self))
        if "lines" in self.wanted:
            yield self.flat.text, self.flat.row


def _read_by(wanted: set[str]) -> set[str]:
    return {"text"} if "grounded" in wanted else set()


def parts(table: pa.Table, *more: str) -> Iterator[Part]:
    """The table's rows by task, with COLUMNS and `more`; rows without a task are left out.

    Raises:
        ValueError: a task without a format.
    """
    task = table["task"].cast(pa.string())
    table = table.select([*COLUMNS, *more])
    for name in pc.unique(task.drop_null()).to_pylist():
        if name not in FORMATS:
            raise ValueError(f"no task {name!r} (there are: {', '.join(FORMATS)})")
        rows = np.flatnonzero(pc.equal(task, name).fill_null(False).to_numpy())
        whole = len(rows) == table.num_rows
        yield Part(FORMATS[name], rows, table if whole else table.take(pa.array(rows)))
