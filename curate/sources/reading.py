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
from curate.storage import one_line

PROBLEM = "curate.problem"  # a column that a source may add: why this row is of no use, else null
DETAIL = "curate.detail"  # and what was found there
BATCH_ROWS = 4096
BATCH_BYTES = 32 * 2**20

Begin = Callable[[int], tuple[int, Iterator[pa.RecordBatch]]]


class Source(Protocol):
    """One input, opened."""

    rows: int
    schema: pa.Schema

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
    _standing: tuple[int, Iterator[pa.RecordBatch]] | None = field(default=None, repr=False)

    def batches(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """See `Source.batches`."""
        try:
            yield from self._read(start, min(stop, self.rows))
        except (OSError, ValueError, EOFError, pa.ArrowException) as error:
            rows = f"rows {start} to {stop}"
            raise UnitError(f"cannot read {rows} of {self.uri}: {one_line(error)}") from None

    def _read(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        at, stream = self._stream(start)
        while at < stop:
            batch = next(stream, None)
            if batch is None:
                raise EOFError(f"it ends after {at} of {self.rows} rows: it changed while it was read")
            upto = at + batch.num_rows
            if upto > start:
                low, high = max(start, at), min(stop, upto)
                if upto > stop:
                    stream = _with_first(batch.slice(stop - at), stream)
                    upto = stop
                yield batch.slice(low - at, high - low)
            at = upto
        self._standing = (at, stream)

    def _stream(self, start: int) -> tuple[int, Iterator[pa.RecordBatch]]:
        """The nearest place to `start` to read from: where the last reader stopped, or afresh."""
        standing, self._standing = self._standing, None
        afresh = self.begin(start)
        if standing is not None and afresh[0] <= standing[0] <= start:
            return standing
        return afresh


def _with_first(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest
