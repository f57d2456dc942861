"""Where samples come from: rows of tables now; documents and seeds by the same protocol."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

import filters
from curate.across import ACROSS
from curate.adapters import adapter, available
from curate.errors import InputError, UnitError
from curate.manifest import Manifest, folder
from curate.schema import conform
from curate.sources import Input, Source, expand, open_source
from curate.stages import SIZE
from curate.storage import scheme

log = logging.getLogger("curate")


@dataclass(frozen=True)
class Survey:
    """What is known of an input before anything runs."""

    rows: int
    unjudged: tuple[str, ...]  # rules whose columns it does not have


class Origin(Protocol):
    """One input, opened."""

    def read(self, start: int, stop: int) -> Iterator[pa.Table]:
        """The samples that [start, stop) of the input gives, as tables of SAMPLE, in order.

        Raises:
            UnitError: they cannot be read now; they may be later.
        """

    def judges(self, rule: str) -> bool:
        """Whether the input has, or will be given, the columns that a rule reads."""


class Rows:
    """Rows of a table, through the manifest's adapter."""

    def __init__(self, source: Source, found: Input, manifest: Manifest) -> None:
        self._source, self._input, self._manifest = source, found, manifest
        self._adapt = adapter(manifest.adapter)
        self._columns = available(source.schema, manifest) | SIZE

    def read(self, start: int, stop: int) -> Iterator[pa.Table]:
        """See `Origin.read`. Rows of a damaged file that cannot be read are dropped as `unreadable`."""
        at = start
        try:
            for batch in self._source.batches(start, stop):
                table = pa.Table.from_batches([batch])
                yield self._adapt(table, self._manifest, self._input.name, at)
                at += batch.num_rows
        except UnitError as error:
            if (
                scheme(self._input.uri) != "file"
                or not Path(self._input.uri.removeprefix("file://")).exists()
            ):
                raise
            log.warning("%s", error)
            yield self._unreadable(at, stop, str(error))

    def judges(self, rule: str) -> bool:
        """See `Origin.judges`."""
        return set(filters.RULES[rule].columns) <= self._columns

    def _unreadable(self, start: int, stop: int, detail: str) -> pa.Table:
        """Rows of which nothing is known but that they were there."""
        rows = stop - start
        return conform(
            pa.table(
                {
                    "key": pa.nulls(rows, pa.string()),
                    "source": [f"{self._input.name}#{row}" for row in range(start, stop)],
                    "dropped": pa.repeat("unreadable", rows),
                    "stage": pa.repeat("read", rows),
                    "detail": pa.repeat(detail, rows),
                }
            )
        )


def find(manifest: Manifest, uris: Sequence[str]) -> list[Input]:
    """The inputs that were given, else the manifest's, else its sample.

    Raises:
        InputError: nothing is there.
    """
    return expand(uris or manifest.input.uris or [str(sample(manifest))])


def sample(manifest: Manifest) -> Path:
    """Where the manifest's sample lies.

    Raises:
        InputError: it has none.
    """
    if not manifest.input.sample:
        raise InputError(f"manifest {manifest.name!r} has no sample: give it an --input")
    return folder() / "samples" / manifest.input.sample


def open_origin(found: Input, manifest: Manifest, work: Path) -> Origin:
    """The input as samples.

    Raises:
        InputError: it cannot be read, or lacks a column.
    """
    return Rows(open_source(found, manifest.input, work), found, manifest)


def survey(found: Input, manifest: Manifest, work: Path) -> Survey:
    """What the input holds, once it is known to have the columns that the manifest needs.

    Raises:
        InputError: it cannot be read, or lacks a column.
    """
    source = open_source(found, manifest.input, work)
    try:
        rows = Rows(source, found, manifest)
    except InputError as error:
        raise InputError(f"{found.uri}: {error}") from None
    rules = [name for name in manifest.active_rules() if name not in ACROSS]
    return Survey(source.rows, tuple(name for name in rules if not rows.judges(name)))
