"""Rows of a table as samples, converted by the manifest's adapter."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

import filters
from curate.adapters import adapter, available, check_task
from curate.adapters.mapping import names_read
from curate.adapters.own import own_adapter, reshaped, reshaped_schema
from curate.adapters.published_columns import check_columns, columns_of
from curate.errors import InputError, UnitError, UnreadableInputError
from curate.manifest.pinning import NAMES_RULE
from curate.manifest.settings import Manifest
from curate.marking import SIZE
from curate.origins import Kind, given
from curate.origins.lost_rows import lost_rows
from curate.origins.row_budget import RowBudget
from curate.sources import (
    DETAIL,
    FORMATS,
    JOINED,
    PICKLES,
    PROBLEM,
    ROW,
    Input,
    expand,
    open_source,
    together,
)
from curate.storage.filesystems import scheme
from curate.storage.selected import SELECTED_COLUMNS, judged_rules, scorer_named

log = logging.getLogger("curate")

ALWAYS = ("key", "dataset", "task", "language", "source", "extra")  # columns that every adapter fills


class Rows:
    """The rows of one table as samples, converted by the manifest's adapter.

    `schema` has the table's published columns. `settled` are the rules that `curate select` applied to its rows, with
    their settings. `scorer` names the model that scored the rows, if the table is a shard that curate wrote.
    """

    def __init__(self, found: Input, manifest: Manifest, work: Path) -> None:
        """Open the input.

        Raises:
            ManifestError: the adapter has no such task.
            UnreadableInputError: its content is damaged or empty.
            InputError: it cannot be read, or lacks a column that every row needs.
        """
        self._input, self._manifest = found, manifest
        self._own, manifest = own_adapter(manifest)
        self._as_read = manifest
        self._adapt = adapter(manifest.adapter)
        check_task(manifest)
        self._source = open_source(found, manifest.input, work)
        judged = judged_rules(self._source.schema)
        self.settled, self._ours = judged or {}, () if judged is None else SELECTED_COLUMNS
        self.schema = _without(self._source.schema, (PROBLEM, DETAIL, ROW, *self._ours))
        if not self.schema.names:
            raise UnreadableInputError(f"none of the {self._source.rows} rows of {found.uri} can be read")
        self.scorer = scorer_named(self._source.schema)
        try:
            schema = reshaped_schema(self._own, _without(self._source.schema, self._ours))
            self._columns = available(schema, manifest) | SIZE
            check_columns(schema, manifest)
        except InputError as error:
            raise InputError(f"{found.uri}: {error}") from None

    @property
    def size(self) -> int:
        """See `Origin.size`."""
        return self._source.rows

    def read(self, start: int, stop: int) -> Iterator[pa.Table]:
        """See `Origin.read`. Rows of a damaged file that cannot be read are dropped as `unreadable`."""
        return (samples for _, samples in self.read_published(start, stop))

    def read_published(
        self, start: int, stop: int, lean: bool = False
    ) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Yield rows as they were published (columns `schema`), each table with the samples made of it: see `read`.

        With `lean`, samples of pairs have only the columns that the adapter and the rules read; their `extra` is empty.
        """
        at, budget = start, RowBudget(self._manifest.input)
        try:
            for batch in self._source.batches(start, stop):
                rows = pa.Table.from_batches([budget.spend(batch)]).drop_columns(list(self._ours))
                read = self._lean(rows) if lean else rows
                samples = self._adapt(reshaped(self._own, read), self._as_read, self._input.name, at)
                yield rows.select(self.schema.names), samples
                at += batch.num_rows
        except UnitError as error:
            if (
                scheme(self._input.uri) != "file"
                or not Path(self._input.uri.removeprefix("file://")).exists()
            ):
                raise
            log.warning("%s", error)
            nothing = pa.table([pa.nulls(stop - at, one.type) for one in self.schema], schema=self.schema)
            sources = [f"{self._input.name}#{row}" for row in range(at, stop)]
            yield nothing, lost_rows(sources, self._manifest, str(error))

    def judges(self, rule: str) -> bool:
        """See `Origin.judges`; that published columns exist was checked when the table was opened."""
        if rule == NAMES_RULE:  # it uses the names that a row has, whichever they are
            return True
        columns = filters.find_rule(rule, self._manifest.active_rules()[rule]).needed
        known = {*self._columns, *ALWAYS}
        return all(name in known or name.startswith(filters.PREFIX) for name in columns)

    def close(self) -> None:
        """See `Origin.close`: nothing is closed, because sources are few and the next unit needs them."""

    def _lean(self, rows: pa.Table) -> pa.Table:
        """Drop columns of pairs that neither the adapter nor a rule reads; other adapters get all columns."""
        if self._manifest.adapter != "pairs" or self._manifest.input.explode:
            return rows
        of_rules = {
            part for name in columns_of(self._manifest).values() for part in (name, name.partition(".")[0])
        }
        wanted = {name.casefold() for name in names_read(self._manifest) | of_rules} | {PROBLEM, DETAIL, ROW}
        return rows.select([name for name in rows.column_names if name.casefold() in wanted])


def _without(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    """The schema without these columns."""
    return pa.schema([one for one in schema if one.name not in names])


def find_tables(manifest: Manifest, uris: Sequence[str]) -> list[Input]:
    """Find the tables at `uris` (see `Kind.find`); if the manifest joins lists, their files are one input."""
    uris = given(manifest, uris)
    return _joined(expand(uris, (*FORMATS, *PICKLES))) if manifest.input.join else expand(uris)


def open_rows(found: Input, manifest: Manifest, work: Path, children: int) -> Rows:
    """Open a table (see `open_origin`); it uses no child processes."""
    return Rows(found, manifest, work)


def _joined(files: Sequence[Input]) -> list[Input]:
    """Return the other files as they are, then the files whose lists are joined as one input."""
    parts: list[Input] = []
    others: list[Input] = []
    for one in files:
        (parts if one.name.lower().removesuffix(".gz").endswith(JOINED) else others).append(one)
    return others + ([together(parts)] if parts else [])


KIND = Kind(find_tables, open_rows, selects=True)
