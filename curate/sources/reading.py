"""The interface of all sources: they know the number of their rows, and read forwards from any row.

In most formats reading can begin only at few positions (a row group, a noted line, the start of the file). Units of
work ask for rows in order, so a source remembers where its last reader stopped and continues there. So a worker
decodes a file once, not once for each unit, whatever the size of the row groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from curate.errors import UnitError
from curate.storage.filesystems import one_line

PROBLEM = "curate.problem"  # a column that a source may add: the reason why a row cannot be used, else null
DETAIL = "curate.detail"  # the column beside it: what was found, in words
ROW = "curate.row"  # a column that a source may add: the number of this row in its file
BATCH_ROWS = 16_384
BATCH_BYTES = 32 * 2**20

Begin = Callable[[int], tuple[int, Iterator[pa.RecordBatch]]]


class Source(Protocol):
    """An opened input."""

    @property
    def rows(self) -> int:
        """The number of rows."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of the batches."""

    def batches(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Yield exactly the rows [start, stop), in order.

        Raises:
            UnitError: these rows cannot be read.
        """


@dataclass
class Forward:
    """A source that reads forwards: `begin` starts at or before a row, and says at which row it started."""

    uri: str
    rows: int
    schema: pa.Schema
    begin: Begin
    _standing: _BatchReader | None = field(default=None, repr=False)

    def batches(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """See `Source.batches`."""
        try:
            reader = self._reader(start)
            yield from reader.read(start, min(stop, self.rows))
            self._standing = reader
        except (OSError, ValueError, EOFError, pa.ArrowException) as error:
            rows = f"rows {start} to {stop}"
            raise UnitError(f"cannot read {rows} of {self.uri}: {one_line(error)}") from None

    def _reader(self, start: int) -> _BatchReader:
        """The reader nearest before row `start`: the last one, where it stopped, or a new one."""
        standing, self._standing = self._standing, None
        at, stream = self.begin(start)
        if standing is not None and at <= standing.at <= start:
            return standing
        return _BatchReader(at, stream)


@dataclass
class _BatchReader:
    """Reads batches one after the other; `at` is the number of the next row."""

    at: int
    stream: Iterator[pa.RecordBatch]
    rest: pa.RecordBatch | None = None  # the rows of the last batch that were not read yet, from row `at` on

    def read(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows [start, stop); `start` must not be before `at`. Afterwards `at` is `stop`."""
        while self.at < stop:
            batch = next(self.stream, None) if self.rest is None else self.rest
            if batch is None:
                raise EOFError(f"it ends after {self.at} rows: it changed while it was read")
            first, self.at = self.at, min(stop, self.at + batch.num_rows)
            self.rest = batch.slice(self.at - first) if self.at - first < batch.num_rows else None
            if self.at > start:
                low = max(start, first)
                yield batch.slice(low - first, self.at - low)
