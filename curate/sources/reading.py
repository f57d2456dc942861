"""What every source is: counted rows that can be read from anywhere, forwards.

Most formats can only begin at few places (a row group, a marked line, the very beginning) and then go on.
Units of work ask for rows in order, so a source remembers where its last reader stopped and goes on from
there: a worker decodes a file once, not once a unit, whatever the size of its row groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from curate.errors import UnitError
from curate.storage.filesystems import one_line

PROBLEM = "curate.problem"  # a column that a source may add: why this row is of no use, else null
DETAIL = "curate.detail"  # and what was found there
ROW = "curate.row"  # a column that a source may add: the number of this row in its file
BATCH_ROWS = 16_384
BATCH_BYTES = 32 * 2**20

Begin = Callable[[int], tuple[int, Iterator[pa.RecordBatch]]]


class Source(Protocol):
    """One input, opened."""

    @property
    def rows(self) -> int:
        """How many there are."""

    @property
    def schema(self) -> pa.Schema:
        """Their columns."""

    def batches(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Exactly the rows [start, stop), in order.

        Raises:
            UnitError: these rows cannot be read.
        """


@dataclass
class Forward:
    """A source that begins where `begin` lets it, at or before the row asked for, and goes forward."""

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
        """The reader that stands nearest before `start`: the last one where it stopped, or a fresh one."""
        standing, self._standing = self._standing, None
        at, stream = self.begin(start)
        if standing is not None and at <= standing.at <= start:
            return standing
        return _BatchReader(at, stream)


@dataclass
class _BatchReader:
    """Batches that come one after the other; `at` is the number of the next row."""

    at: int
    stream: Iterator[pa.RecordBatch]
    rest: pa.RecordBatch | None = None  # of the last batch: the rows from `at`

    def read(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """The rows [start, stop), from where the reader stands; it then stands at `stop`."""
        while self.at < stop:
            batch = next(self.stream, None) if self.rest is None else self.rest
            if batch is None:
                raise EOFError(f"it ends after {self.at} rows: it changed while it was read")
            first, self.at = self.at, min(stop, self.at + batch.num_rows)
            self.rest = batch.slice(self.at - first) if self.at - first < batch.num_rows else None
            if self.at > start:
                low = max(start, first)
                yield batch.slice(low - first, self.at - low)
