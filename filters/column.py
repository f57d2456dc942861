"""Rules on a column of the source: a manifest names the column and the values to keep, under a reason that it chooses.

    [rules.unsafe]
    column = "punsafe"   # or a field of a nested column: "scores.nsfw"
    max = 0.5

Until the rules have judged it, the column is kept beside the sample's own columns as `published:NAME`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.rule import OWN, RULES, Rule, signature

PREFIX = "published:"
NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
SLUG = re.compile(r"[a-z][a-z0-9_]{0,63}")
SAID_CHARS = 80  # at most so many characters of a value are put into the detail of a dropped row

Value = bool | float | str


def find_rule(name: str, settings: Mapping[str, Any]) -> Rule:
    """The rule of that name: a registered one, or a rule on a column if the settings name a `column`.

    If the settings name a `plugin` by its SHA-256, it is the rule of that plug-in.

    Raises:
        KeyError: no such rule.
    """
    if "plugin" in settings:
        return OWN[settings["plugin"]]().rule(name)
    column = published_column(name, settings)
    if column is None:
        return RULES[name]
    if name not in RULES:
        return column_rule(name, column)
    return replace(RULES[name], columns=(*RULES[name].columns, PREFIX + column))


def published_column(name: str, settings: Mapping[str, Any]) -> str | None:
    """The column of the source that a rule with these settings reads; None where it reads none."""
    setting = RULES[name].published if name in RULES else "column"
    return str(settings[setting]) if "plugin" not in settings and settings.get(setting) else None


@lru_cache(maxsize=256)
def column_rule(name: str, column: str) -> Rule:
    """A rule on a published column; its settings are the keyword-only parameters of `keep_values`."""
    return Rule(name, keep_values, (PREFIX + column,), signature(keep_values)[1], describe_values)


def keep_values(
    values: pa.Array,
    *,
    column: str,
    min: float | None = None,
    max: float | None = None,
    among: tuple[Value, ...] | None = None,
    not_among: tuple[Value, ...] | None = None,
    null: Literal["keep", "drop"] = "drop",
) -> pa.BooleanArray:
    """Keep rows whose value is at least `min`, at most `max`, one of `among`, and none of `not_among`.

    `column` is the column's name, for the details of dropped rows. For `min` and `max`, texts that hold numbers count
    as numbers; `among` and `not_among` compare texts as they are, including case. A list is kept if every item is
    within `min` and `max`, at least one item is among `among`, and none is among `not_among`. `null` says whether to
    keep or drop rows without a value, and rows whose value is no number (or NaN) where a number is needed.

    Raises:
        ValueError: `min` is above `max`.
    """
    if min is not None and max is not None and min > max:
        raise ValueError(f"min {min:g} is above max {max:g}: no value is kept")
    if is_list(values.type):
        return _keep_lists(values, min, max, among, not_among, null)
    kept = _within(values, min, max)
    if among is not None:
        kept = pc.and_kleene(kept, _is_among(values, among))
    if not_among is not None:
        kept = pc.and_kleene(kept, pc.invert(_is_among(values, not_among)))
    return pc.fill_null(kept, null == "keep")


def describe_values(values: pa.Array, *, column: str, **_: Any) -> pa.StringArray:
    """The value that decided, such as `punsafe=0.99` (N rows)."""
    said = ["null" if value is None else str(value)[:SAID_CHARS] for value in values.to_pylist()]
    return pa.array([f"{column}={text}" for text in said], pa.string())


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of that type holds lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_judgeable(kind: pa.DataType) -> bool:
    """Whether a rule can judge a column of that type: numbers, texts, booleans, or lists of these."""
    if is_list(kind):
        return not is_list(kind.value_type) and is_judgeable(kind.value_type)
    if pa.types.is_dictionary(kind):
        return is_judgeable(kind.value_type)
    known = (_is_number, _is_text, pa.types.is_boolean, pa.types.is_null)
    return any(is_of(kind) for is_of in known)


def _keep_lists(
    lists: pa.Array,
    min: float | None,
    max: float | None,
    among: Sequence[Value] | None,
    not_among: Sequence[Value] | None,
    null: str,
) -> pa.BooleanArray:
    """`keep_values` for lists; an empty list is within all limits, and has no item among `among`."""
    items, rows = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()
    fine = pc.fill_null(_within(items, min, max), null == "keep")
    if not_among is not None:
        fine = pc.and_(fine, pc.invert(_is_among(items, not_among).fill_null(False)))
    kept = np.ones(len(lists), bool)
    kept[rows[~fine.to_numpy(zero_copy_only=False)]] = False
    if among is not None:
        wanted = _is_among(items, among).fill_null(False).to_numpy(zero_copy_only=False)
        some = np.zeros(len(lists), bool)
        some[rows[wanted]] = True
        kept &= some
    return pc.if_else(pc.is_valid(lists), pa.array(kept), null == "keep")


def _within(values: pa.Array, min: float | None, max: float | None) -> pa.Array:
    """True where a value is a number within the limits, null where it is none (N)."""
    if min is None and max is None:
        return pc.if_else(pc.is_valid(values), True, pa.scalar(None, pa.bool_()))
    numbers = as_numbers(values)
    kept = pc.if_else(pc.is_valid(numbers), True, pa.scalar(None, pa.bool_()))
    if min is not None:
        kept = pc.and_(kept, pc.greater_equal(numbers, min))
    return kept if max is None else pc.and_(kept, pc.less_equal(numbers, max))


def as_numbers(values: pa.Array) -> pa.Array:
    """The values as float64 (N); null where one is no number."""
    if _is_text(values.type):
        values = pc.if_else(pc.match_substring_regex(values, NUMBER), pc.utf8_trim_whitespace(values), None)
    numbers = values.cast(pa.float64(), safe=False)
    return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)


def _is_among(values: pa.Array, wanted: Sequence[Value]) -> pa.Array:
    """True where a value is one of `wanted`, null where there is no value (N)."""
    if pa.types.is_boolean(values.type):
        items = pa.array([one for one in wanted if isinstance(one, bool)], pa.bool_())
    elif _is_number(values.type):
        values = values.cast(pa.float64(), safe=False)
        items = pa.array([float(one) for one in wanted if not isinstance(one, bool | str)], pa.float64())
    elif pa.types.is_null(values.type):
        return values.cast(pa.bool_())
    else:
        items = pa.array([str(one) for one in wanted if isinstance(one, str)], values.type)
    return pc.if_else(pc.is_valid(values), pc.is_in(values, items), pa.scalar(None, pa.bool_()))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
