"""Split a table into the rows of each task, with the columns and values that the task's format reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.dialect import Dialect, Format
from curate.tasks.flat_regions import Flat, flatten
from curate.tasks.formats import CONVERSATION, FORMATS, QWEN_VL, fields
from curate.tasks.image_cost import Costs, image_costs
from curate.tasks.notation import Sides
from filters.spans import Spans, byte_spans, distinct, lengths

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

COLUMNS = ("language", "text", "question", "answer", "regions", "width", "height")
LOCATED = {"boxes", "grounded", "entries", "lines"}  # fields that hold regions


@dataclass(frozen=True)
class Part:
    """N rows of one task."""

    dialect: Dialect
    format: Format
    rows: npt.NDArray[np.int64]  # their numbers in the whole table
    table: pa.Table

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def wanted(self) -> set[str]:
        """The fields that the format fills in."""
        return fields(self.format.prompt) | fields(self.format.target)

    @property
    def located(self) -> bool:
        """Whether the format writes regions."""
        return bool(self.wanted & LOCATED)

    @cached_property
    def flat(self) -> Flat:
        """The rows' regions."""
        return flatten(self.column("regions"))

    @cached_property
    def spans(self) -> Spans:
        """The distinct spans of the regions."""
        return distinct(self.flat.row, self.flat.start, self.flat.end)

    @cached_property
    def fits(self) -> Bools:
        """Whether each region's span lies in its row's text and is not empty."""
        start, end = self.flat.start, self.flat.end
        return (start >= 0) & (start < end) & (end <= lengths(self._text)[self.flat.row])

    @cached_property
    def span_bytes(self) -> tuple[Ints, Ints]:
        """The start and end of each region's span in bytes of its text (R each); an empty span if it does not fit."""
        start, end = (np.where(self.fits, side, 0) for side in (self.flat.start, self.flat.end))
        return byte_spans(self._text, self.flat.row, start, end)

    @cached_property
    def costs(self) -> Costs:
        """The cost of each row's image; an unknown side counts as one pixel."""
        sides = (self.column(name).fill_null(1).to_numpy() for name in ("width", "height"))
        width, height = (np.maximum(side, 1) for side in sides)
        return image_costs(self.dialect.cost, width, height)

    @cached_property
    def sides(self) -> Sides:
        """The sides of each region's image."""
        row = self.flat.row
        width, height = (
            self.column(name).to_numpy(zero_copy_only=False)[row] for name in ("width", "height")
        )
        costs = self.costs
        return Sides(width, height, costs.width[row], costs.height[row])

    @cached_property
    def labels(self) -> pa.Array:
        """Each region's text, else its row's."""
        return pc.coalesce(self.flat.text, self.column("text").take(pa.array(self.flat.row)))

    @cached_property
    def _text(self) -> pa.Array:
        return self.column("text").fill_null("")

    def only(self, rows: Bools) -> Part:
        """The part with only the rows where `rows` (N) is true."""
        if rows.all():
            return self
        return Part(self.dialect, self.format, self.rows[rows], self.table.filter(pa.array(rows)))

    def column(self, name: str) -> pa.Array:
        """One column; texts are large_string."""
        column = self.table[name].combine_chunks()
        return column.cast(pa.large_string()) if name in ("text", "question", "answer", "path") else column

    def raw_texts(self) -> Iterator[tuple[pa.Array, npt.NDArray[np.int64]]]:
        """Yield every column of texts that the format writes unchanged, with the row of each value."""
        for name in sorted(self.wanted & {"text", "question", "answer"} | {"text"} & _read_by(self.wanted)):
            yield self.column(name), np.arange(len(self))
        if self.wanted & {"lines", "entries"}:
            yield self.flat.text if "lines" in self.wanted else self.labels, self.flat.row


def _read_by(wanted: set[str]) -> set[str]:
    return {"text"} if "grounded" in wanted else set()


def parts(table: pa.Table, *more: str, dialect: Dialect = QWEN_VL) -> Iterator[Part]:
    """Yield the table's rows by task, with COLUMNS and the columns `more`.

    Rows without a task, or with a task that the dialect lacks, are left out. So are dialogues, which have no format but
    the chat template.

    Raises:
        ValueError: a task that no dialect has.
    """
    task = table["task"].cast(pa.string())
    table = table.select([*COLUMNS, *more])
    for name in pc.unique(task.drop_null()).to_pylist():
        if name not in FORMATS and name != CONVERSATION:
            raise ValueError(f"no task {name!r} (there are: {', '.join([*FORMATS, CONVERSATION])})")
        if name not in dialect.tasks:
            continue
        rows = np.flatnonzero(pc.equal(task, name).fill_null(False).to_numpy())
        whole = len(rows) == table.num_rows
        yield Part(dialect, dialect.tasks[name], rows, table if whole else table.take(pa.array(rows)))
