"""Rows that exist but cannot be read, and inputs that count as one such row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from curate.adapters.published_columns import without_values
from curate.adapters.row_keys import keys
from curate.errors import UnreadableInputError
from curate.manifest.settings import Manifest
from curate.schema import conform
from curate.sources import Input


class UnreadableInput:
    """An input whose content is damaged or empty: one row, dropped at the stage `read` for the fault's reason."""

    size = 1  # see `Origin.size`
    schema = pa.schema([("unreadable", pa.null())])  # its columns in `read_published`
    settled: Mapping[str, Mapping[str, Any]] = {}  # see `Origin.settled`
    scorer = ""  # see `curate.origins.table_rows.Rows`

    def __init__(self, found: Input, manifest: Manifest, fault: UnreadableInputError) -> None:
        self._name, self._manifest, self.fault = found.name or found.uri, manifest, fault

    def read(self, start: int, stop: int) -> Iterator[pa.Table]:
        """See `Origin.read`."""
        return (samples for _, samples in self.read_published(start, stop))

    def read_published(
        self, start: int, stop: int, lean: bool = False
    ) -> Iterator[tuple[pa.Table, pa.Table]]:
        """See `curate.origins.table_rows.Rows.read_published`."""
        names = [self._name][start:stop]
        nothing = pa.table([pa.nulls(len(names))], schema=self.schema)
        yield nothing, lost_rows(names, self._manifest, str(self.fault), self.fault.reason)

    def judges(self, rule: str) -> bool:
        """See `Origin.judges`: True, because its only row is dropped before any rule."""
        return True

    def close(self) -> None:
        """See `Origin.close`: nothing is open."""


def lost_rows(
    sources: Sequence[str], manifest: Manifest, detail: str, reason: str = "unreadable"
) -> pa.Table:
    """Return dropped rows (N rows of SAMPLE), with empty columns for the manifest's rules.

    Args:
        sources: the value of the column `source` of each row.
        manifest: the manifest of the run.
        detail: what decided, for all rows.
        reason: why the rows are dropped.
    """
    rows, source = len(sources), pa.array(sources, pa.large_string())
    table = pa.table(
        {
            "key": keys(manifest.name, [source]),
            "source": source,
            "dropped": pa.repeat(reason, rows),
            "stage": pa.repeat("read", rows),
            "detail": pa.repeat(detail, rows),
        }
    )
    return without_values(conform(table), manifest)
