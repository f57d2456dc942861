"""The rules that have a threshold: the value of a row that the threshold is compared with, and what it keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import filters
from filters.column import as_numbers, is_list
from filters.language import count_words
from filters.text import REPLACEMENT, repeated_share

Floats = npt.NDArray[np.float64]
Values = Callable[[pa.Table], pa.Array]

MOST_DIGITS = 12  # a threshold is rounded to fewer decimals than this


@dataclass(frozen=True)
class RuleThreshold:
    """A setting of a rule that is a threshold for a value of each row."""

    rule: str
    setting: str
    keeps: Literal["from", "up to"]  # kept are values of at least (`from`) or at most (`up to`) the setting
    values: Values  # computes the value of each row
    whole: bool  # whether the setting is a whole number

    @property
    def name(self) -> str:
        """The path of the setting in the manifest, such as `rules.clip_score_too_low.min_score`."""
        return f"rules.{self.rule}.{self.setting}"

    def kept(self, values: Floats, threshold: float) -> npt.NDArray[np.bool_]:
        """Return which of the values a threshold keeps (N); NaN, the value of a row without one, is not kept."""
        kept: npt.NDArray[np.bool_] = values >= threshold if self.keeps == "from" else values <= threshold
        return kept

    def of(self, table: pa.Table) -> Floats:
        """Return the value of each row of a table of samples (N), NaN where it has none."""
        found: Floats = self.values(table).cast(pa.float64()).to_numpy(zero_copy_only=False)
        return found

    def between(self, worse: float, value: float, digits: int) -> float | None:
        """Return a threshold that keeps `value` and does not keep `worse`, with `digits` decimals; None if none does.

        `worse` is the best of the values that must not be kept. A threshold that is a whole number is `value` itself.
        """
        if self.whole:
            return value
        scale = 10.0**digits
        if self.keeps == "from":
            found = math.floor(value * scale) / scale
            return found if found > worse else None
        found = math.ceil(value * scale) / scale
        return found if found < worse else None


def _one(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _ratio(table: pa.Table) -> pa.Array:
    width, height = (_one(table, side).cast(pa.float64()) for side in ("width", "height"))
    longer, shorter = (
        which(width, height, skip_nulls=False) for which in (pc.max_element_wise, pc.min_element_wise)
    )
    return pc.divide(longer, shorter)


def _short_side(table: pa.Table) -> pa.Array:
    return pc.min_element_wise(_one(table, "width"), _one(table, "height"), skip_nulls=False)


def _lost_share(text: pa.Array) -> pa.Array:
    lost = pc.count_substring(text, REPLACEMENT).cast(pa.float64())
    return pc.divide(lost, pc.max_element_wise(pc.utf8_length(text), 1, skip_nulls=False))


def _of_text(measure: Callable[[pa.Array], pa.Array]) -> Values:
    return lambda table: measure(_one(table, "text"))


KNOWN: Mapping[str, tuple[str, Literal["from", "up to"], Values, bool]] = {
    "image_too_elongated": ("max_ratio", "up to", _ratio, False),
    "image_too_small": ("min_side", "from", _short_side, True),
    "clip_score_too_low": ("min_score", "from", lambda table: _one(table, "clip_score"), False),
    "text_too_short": (
        "min_chars",
        "from",
        _of_text(lambda t: pc.utf8_length(pc.utf8_trim_whitespace(t))),
        True,
    ),
    "text_too_long": ("max_chars", "up to", _of_text(pc.utf8_length), True),
    "text_has_too_few_words": ("min_words", "from", _of_text(count_words), True),
    "text_repeats_itself": ("max_share", "up to", _of_text(repeated_share), False),
    "text_has_replacement_character": ("max_share", "up to", _of_text(_lost_share), False),
}


def thresholds_of(rule: str, settings: Mapping[str, Any]) -> list[RuleThreshold]:
    """Return the thresholds of a rule: two for a rule on a column with `min` and `max`, else one or none."""
    if rule in KNOWN:
        setting, keeps, values, whole = KNOWN[rule]
        return [RuleThreshold(rule, setting, keeps, values, whole)]
    if "plugin" in settings or rule in filters.RULES or "column" not in settings:
        return []
    column = filters.PREFIX + str(settings["column"])
    found: list[RuleThreshold] = []
    if settings.get("min") is not None:
        found.append(RuleThreshold(rule, "min", "from", lambda table: _number(table, column, "min"), False))
    if settings.get("max") is not None:
        found.append(RuleThreshold(rule, "max", "up to", lambda table: _number(table, column, "max"), False))
    return found


def _number(table: pa.Table, column: str, side: Literal["min", "max"]) -> pa.Array:
    """Return the numbers of a column of the source (N). A list gives its smallest (`min`) or largest (`max`) item.

    An empty list gives an infinite number that every threshold keeps, null gives NaN.
    """
    values = _one(table, column)
    if not is_list(values.type):
        return as_numbers(values)
    rows = pa.table({"row": pc.list_parent_indices(values), "value": as_numbers(pc.list_flatten(values))})
    found = rows.group_by("row").aggregate([("value", side)])
    out = np.where(
        pc.is_valid(values).to_numpy(zero_copy_only=False), math.inf if side == "min" else -math.inf, np.nan
    )
    out[found["row"].to_numpy()] = found[f"value_{side}"].cast(pa.float64()).to_numpy()
    return pa.array(out)
