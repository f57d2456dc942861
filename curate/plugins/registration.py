"""The decorators that register a function as a plug-in's rule, cleaner or adapter, and their checks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec
import pyarrow as pa

import filters
from curate.errors import ManifestError, nearest
from curate.plugins.content import MARK, Own, Plugin
from curate.plugins.owned import PLUGIN, OwnAdapter, OwnCleaner, OwnRule, Reshape
from filters.rule import signature

READ = (
    *("key", "dataset", "task", "language", "url", "source", "image_path", "width", "height", "text"),
    *("question", "answer", "regions", "clip_score", "extra"),
)  # the columns that a rule may read: those that have their values when rules are judged
BASES = (
    "pairs",
    "questions",
    "regions",
    "text",
)  # the built-in adapters that a plug-in's adapter may name as `base`
TAKEN = (*BASES, "dialogues", "grit", "pdf", "html", "synthdog")  # the names of built-in adapters

F = TypeVar("F", bound=Callable[..., Any])


def rule(name: str, *, describe: Callable[..., pa.StringArray] | None = None) -> Callable[[F], F]:
    """Register a function as a plug-in's rule; see `filters.rule` for its parameters and result.

    Args:
        name: the rule's name, which is also the reason of the rows that it drops, for ever.
        describe: a function of the same signature that returns what decided (N texts); None: the columns' values.
    """
    return _decorator("rule", name, lambda function, owner: _own_rule(name, function, describe, owner))


def cleaner(name: str) -> Callable[[F], F]:
    """Register a function from N texts to N texts (null stays null) as a plug-in's cleaner `name`."""
    return _decorator("cleaner", name, lambda function, owner: _own_cleaner(name, function, owner))


def adapter(name: str, *, base: str = "pairs") -> Callable[[F], F]:
    """Register a function as a plug-in's adapter `name`: it turns published rows into rows that `base` reads.

    It takes and returns a `pyarrow.Table` of N rows, and is also called with empty tables. `base` is one of BASES.
    """
    return _decorator("adapter", name, lambda function, owner: _own_adapter(name, function, base, owner))


def _decorator(kind: str, name: Any, make: Callable[[Callable[..., Any], Plugin], Own]) -> Callable[[F], F]:
    """Return a decorator that leaves its function unchanged, and notes in the function's module what to register.

    Raises:
        ManifestError: the decorator stands without its brackets, so that `name` is the function.
    """

    if inspect.isfunction(name):
        raise ManifestError(f"{name.__name__}: write @curate.{kind}(NAME), with the name of the {kind}")

    def register(function: F) -> F:
        if not inspect.isfunction(function):
            raise ManifestError(f"{function!r} is no function")
        function.__globals__.setdefault(MARK, []).append(partial(make, function))
        return function

    return register


def _own_rule(name: str, function: Callable[..., Any], describe: Any, owner: Plugin) -> OwnRule:
    columns, settings = _signature(f"rule {name!r}", function)
    if unknown := [column for column in columns if column not in READ]:
        raise ManifestError(
            f"rule {name!r} reads no such column as {unknown[0]!r}{nearest(unknown[0], READ)}"
        )
    if not columns:
        raise ManifestError(f"rule {name!r} reads no column: name some as positional parameters")
    if name in filters.RULES:
        raise ManifestError(f"rule {name!r} is there already, built in: choose another name")
    return OwnRule(name, function, columns, settings, describe, owner=owner)


def _own_cleaner(name: str, function: Callable[..., Any], owner: Plugin) -> OwnCleaner:
    columns, settings = _signature(f"cleaner {name!r}", function)
    if len(columns) != 1:
        raise ManifestError(f"cleaner {name!r} must take one positional parameter, the texts")
    if name in filters.CLEANERS:
        raise ManifestError(f"cleaner {name!r} is there already, built in: choose another name")
    return OwnCleaner(name, function, settings, owner=owner)


def _own_adapter(name: str, function: Reshape, base: str, owner: Plugin) -> OwnAdapter:
    if base not in BASES:
        raise ManifestError(f"adapter {name!r} cannot stand on {base!r}{nearest(str(base), BASES)}")
    if name in TAKEN:
        raise ManifestError(f"adapter {name!r} is there already, built in: choose another name")
    return OwnAdapter(name, function, base, owner)


def _signature(
    who: str, function: Callable[..., Any]
) -> tuple[tuple[str, ...], Mapping[str, filters.Setting]]:
    """Return a function's columns (positional parameters) and settings (keyword-only parameters).

    Raises:
        ManifestError: it has other parameters, or a setting has no type, or a type that TOML cannot express.
    """
    for parameter in inspect.signature(function).parameters.values():
        keyword = parameter.kind is parameter.KEYWORD_ONLY
        if not keyword and parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise ManifestError(f"{who}: parameter {parameter.name!r} is neither a column nor a setting")
        if keyword and parameter.annotation is parameter.empty:
            raise ManifestError(f"{who}: setting {parameter.name!r} has no type")
        if keyword and parameter.name == PLUGIN:
            raise ManifestError(f"{who}: no setting may be called {PLUGIN!r}")
    columns, settings = signature(function)
    for name, setting in settings.items():
        try:
            msgspec.json.Decoder(setting.type)
        except TypeError:
            raise ManifestError(f"{who}: setting {name!r} is of a type that no manifest can give") from None
    return columns, settings
