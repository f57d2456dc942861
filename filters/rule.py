"""What a rule and a cleaner are: functions on Arrow columns, known by name.

A rule is its signature. Positional parameters are the columns it reads, keyword-only ones the settings that a
manifest may give; a setting without a default must be given.

    @rule("image_too_small")
    def image_too_small(width: pa.Int32Array, height: pa.Int32Array, *, min_side: int) -> pa.BooleanArray:
        return pc.greater_equal(pc.min_element_wise(width, height, skip_nulls=False), min_side)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, get_type_hints

import pyarrow as pa
import pyarrow.compute as pc

REQUIRED: Any = inspect.Parameter.empty
EMPTY: Mapping[Any, pa.DataType] = {  # the type of an empty column, by the annotation of a rule's parameter
    pa.Int32Array: pa.int32(),
    pa.FloatArray: pa.float32(),
    pa.StringArray: pa.string(),
    pa.FixedSizeBinaryArray: pa.binary(16),
    pa.Array: pa.float64(),
}
REGIONS = pa.list_(  # the type of an empty column `regions`
    pa.struct(
        {"text": pa.string(), "start": pa.int32(), "end": pa.int32(), "quad": pa.list_(pa.float32(), 8)}
        | {"score": pa.float32()}
    )
)


@dataclass(frozen=True)
class Setting:
    """One keyword-only parameter of a rule or cleaner."""

    type: Any
    default: Any  # REQUIRED where the manifest must give it


@dataclass(frozen=True)
class Rule:
    """A named predicate on columns: N rows in, N booleans out, true where the row is kept."""

    name: str
    function: Callable[..., pa.BooleanArray]
    columns: tuple[str, ...]
    settings: Mapping[str, Setting]
    describe: Callable[..., pa.StringArray] | None = None
    published: str = ""  # the setting that may name a column of the source, which it reads after its own
    may_lack: frozenset[str] = frozenset()  # columns that are null throughout where an input has none

    @property
    def needed(self) -> set[str]:
        """The columns that an input must have for the rule to be judged."""
        return {*self.columns} - self.may_lack

    def check(self, **settings: Any) -> None:
        """Check the settings by judging an empty table; those of rules on lists other than `regions` are not checked.

        Raises: ValueError for a setting of the right type that makes no sense.
        """
        hints = get_type_hints(self.function)
        parameters = list(inspect.signature(self.function).parameters)[: len(self.columns)]
        kinds = [REGIONS if name == "regions" else EMPTY.get(hints[name]) for name in parameters]
        if None not in kinds:
            self.function(*(pa.array([], kind) for kind in kinds), **settings)

    def keep(self, table: pa.Table, **settings: Any) -> pa.BooleanArray:
        """True where a row passes, false where it does not, null where a needed value is null (N rows)."""
        return one_array(self.function(*(one_array(table[c]) for c in self.columns), **settings))

    def detail(self, table: pa.Table, **settings: Any) -> pa.StringArray:
        """The values that decided, for rows that did not pass (N rows), such as `width=90 height=120`."""
        columns = [one_array(table[c]) for c in self.columns]
        if self.describe is not None:
            return one_array(self.describe(*columns, **settings))
        parts = [
            pc.binary_join_element_wise(f"{name}=", pc.cast(column, pa.string()).fill_null("null"), "")
            for name, column in zip(self.columns, columns, strict=True)
        ]
        return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, " ")


@dataclass(frozen=True)
class Cleaner:
    """A named function that rewrites one text column: N rows in, N rows out, null stays null."""

    name: str
    function: Callable[..., pa.Array]
    settings: Mapping[str, Setting]

    def check(self, **settings: Any) -> None:
        """Check the settings by cleaning an empty column.

        Raises: ValueError for a setting of the right type that makes no sense.
        """
        self.clean(pa.array([], pa.string()), **settings)

    def clean(self, text: pa.Array | pa.ChunkedArray, **settings: Any) -> pa.Array:
        """The cleaned text (N rows, the type that came in)."""
        return one_array(self.function(one_array(text), **settings))


class Bundle(Protocol):
    """The rules and cleaners of one plug-in."""

    def rule(self, name: str) -> Rule:
        """Its rule of that name."""

    def cleaner(self, name: str) -> Cleaner:
        """Its cleaner of that name."""


RULES: dict[str, Rule] = {}
CLEANERS: dict[str, Cleaner] = {}
OWN: dict[
    str, Callable[[], Bundle]
] = {}  # plug-ins by the SHA-256 of their content, each run when first used

F = TypeVar("F", bound=Callable[..., Any])


def rule(
    name: str,
    *,
    describe: Callable[..., pa.StringArray] | None = None,
    published: str = "",
    may_lack: Iterable[str] = (),
) -> Callable[[F], F]:
    """Register a rule under `name`, which is the reason of the rows that it drops.

    `describe` has the same parameters and returns the values that decided (N texts; None: all columns). `published` is
    the setting that may name a column of the source, which the rule then gets after its other columns. `may_lack` are
    columns that are null throughout where an input has none; without any other, the rule is not judged there.
    """

    def register(function: F) -> F:
        columns, settings = signature(function)
        RULES[name] = Rule(name, function, columns, settings, describe, published, frozenset(may_lack))
        return function

    return register


def cleaner(name: str) -> Callable[[F], F]:
    """Register a cleaner under the name that a manifest's `clean` gives it."""

    def register(function: F) -> F:
        CLEANERS[name] = Cleaner(name, function, signature(function)[1])
        return function

    return register


def find_cleaner(name: str, settings: Mapping[str, Any]) -> Cleaner:
    """The cleaner of that name: a built-in one, or that of the plug-in whose SHA-256 its settings give as `plugin`."""
    return OWN[settings["plugin"]]().cleaner(name) if "plugin" in settings else CLEANERS[name]


def signature(function: Callable[..., Any]) -> tuple[tuple[str, ...], dict[str, Setting]]:
    """The columns and settings that a function's parameters name."""
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    columns = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    settings = {p.name: Setting(hints[p.name], p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}
    return columns, settings


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The column as one contiguous array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
