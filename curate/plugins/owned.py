"""Wraps the rules, cleaners and adapters of plug-ins, so that any error in them names the plug-in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import ManifestError, UnitError
from curate.plugins.content import Own, Plugin, cause
from curate.schema import SAMPLE
from filters.rule import Cleaner, Rule, one_array

PLUGIN = "plugin"  # the setting of a rule or cleaner that holds the SHA-256 of its plug-in

Made = TypeVar("Made")
Reshape = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True)
class OwnRule(Rule):
    """A rule of a plug-in. If it raises, or returns something invalid, the error is a `UnitError` that names it."""

    owner: Plugin = field(kw_only=True)

    def check(self, **settings: Any) -> None:
        """Try the rule on an empty table and on two rows of nulls.

        Raises:
            ValueError: the rule itself refuses the settings.
            ManifestError: the rule fails on such rows, or keeps rows whose values are null.
        """
        for rows in (0, 2):
            table = pa.table({name: pa.nulls(rows, SAMPLE.field(name).type) for name in self.columns})
            if pc.any(tried(self, partial(self._answer, table, settings))).as_py():
                raise ManifestError(f"{said(self)} keeps rows where {' and '.join(self.columns)} is null")

    def keep(self, table: pa.Table, **settings: Any) -> pa.BooleanArray:
        """See `Rule.keep`."""
        return guarded(self, lambda: self._answer(table, settings))

    def detail(self, table: pa.Table, **settings: Any) -> pa.StringArray:
        """See `Rule.detail`."""
        plain = without_owner(settings)
        return guarded(self, lambda: Rule.detail(self, table, **plain).cast(pa.string()))

    def _answer(self, table: pa.Table, settings: Mapping[str, Any]) -> pa.BooleanArray:
        kept = Rule.keep(self, table, **without_owner(settings))
        if not isinstance(kept, pa.BooleanArray) or len(kept) != table.num_rows:
            raise TypeError(f"it must give {table.num_rows} booleans, not {form(kept)}")
        return kept


@dataclass(frozen=True)
class OwnCleaner(Cleaner):
    """A cleaner of a plug-in; errors: see `OwnRule`."""

    owner: Plugin = field(kw_only=True)

    def check(self, **settings: Any) -> None:
        """Try the cleaner on no text, and on a null and a text. Raises: see `OwnRule.check`."""
        for texts in ([], [None, "text"]):
            tried(self, partial(self._cleaned, pa.array(texts, pa.large_string()), settings))

    def clean(self, text: pa.Array | pa.ChunkedArray, **settings: Any) -> pa.Array:
        """See `Cleaner.clean`."""
        return guarded(self, lambda: self._cleaned(one_array(text), settings))

    def _cleaned(self, text: pa.Array, settings: Mapping[str, Any]) -> pa.Array:
        made = one_array(self.function(text, **without_owner(settings)))
        if not isinstance(made, pa.StringArray | pa.LargeStringArray) or len(made) != len(text):
            raise TypeError(f"it must give {len(text)} texts, not {form(made)}")
        if pc.any(pc.and_(pc.is_null(text), pc.is_valid(made))).as_py():
            raise TypeError("it must leave null what is null")
        return made.cast(text.type)


@dataclass(frozen=True)
class OwnAdapter:
    """A function of a plug-in that turns published rows into rows that the built-in adapter `base` reads."""

    name: str
    function: Reshape
    base: str
    owner: Plugin

    def reshape(self, rows: pa.Table) -> pa.Table:
        """Turn N published rows into N rows that `base` reads.

        Raises:
            UnitError: the function raises, or does not return a table of N rows.
        """
        return guarded(self, lambda: self._reshaped(rows))

    def schema(self, published: pa.Schema) -> pa.Schema:
        """Return the columns that the function makes of the published ones.

        Raises:
            ManifestError: the function fails on a table without rows.
        """
        made: pa.Table = tried(self, lambda: self._reshaped(published.empty_table()))
        return made.schema

    def _reshaped(self, rows: pa.Table) -> pa.Table:
        made = self.function(rows)
        if not isinstance(made, pa.Table) or made.num_rows != rows.num_rows:
            raise TypeError(f"it must give a table of {rows.num_rows} rows, not {form(made)}")
        return made


def without_owner(settings: Mapping[str, Any], owner: Plugin | None = None, who: str = "") -> dict[str, Any]:
    """Return the settings of a rule or cleaner without PLUGIN, as its function takes them.

    Raises:
        ManifestError: `owner` is given, and PLUGIN names another plug-in; `who` names the rule in the message.
    """
    if owner is not None and settings.get(PLUGIN, owner.sha256) != owner.sha256:
        raise ManifestError(f"{who} is of another plug-in here: {owner.name}, SHA-256 {owner.sha256}")
    return {name: value for name, value in settings.items() if name != PLUGIN}


def guarded(one: Own, work: Callable[[], Made]) -> Made:
    """Call `work` and return its result.

    Raises:
        UnitError: `work` raised anything; the message names the rule, cleaner or adapter `one`.
    """
    try:
        return work()
    except (Exception, SystemExit) as error:
        raise UnitError(f"{said(one)} of {one.owner.name} failed: {cause(one.owner, error)}") from error


def tried(one: Own, work: Callable[[], Made]) -> Made:
    """Call `work`, before any data is read, and return its result.

    Raises:
        ValueError: `work` raised it: a setting is invalid.
        ManifestError: `work` raised anything else; the message names the rule, cleaner or adapter `one`.
    """
    try:
        return work()
    except pa.ArrowException as error:  # some of them are ValueErrors
        raise ManifestError(f"{said(one)} fails without any row: {cause(one.owner, error)}") from None
    except ValueError:
        raise
    except (Exception, SystemExit) as error:  # `sys.exit(0)` would end the command as if it were done
        raise ManifestError(f"{said(one)} fails without any row: {cause(one.owner, error)}") from None


def said(one: Own) -> str:
    """Return the kind and the name, such as `rule 'text_speaks_of'`."""
    kind = {OwnRule: "rule", OwnCleaner: "cleaner", OwnAdapter: "adapter"}[type(one)]
    return f"{kind} {one.name!r}"


def form(value: Any) -> str:
    """Describe a value that a function returned by mistake, such as `3 of int64` or `a table of 2 rows`."""
    if isinstance(value, pa.Array | pa.ChunkedArray):
        return f"{len(value)} of {value.type}"
    return f"a table of {value.num_rows} rows" if isinstance(value, pa.Table) else type(value).__name__
