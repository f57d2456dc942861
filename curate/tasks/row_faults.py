"""Find out why a row cannot be written in its task's format: the name of a reason, or null where it can."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.coordinates import beyond_image
from curate.tasks.dialect import Dialect
from curate.tasks.flat_regions import counts
from curate.tasks.formats import CONTROL_TOKEN, CONVERSATION, LANGUAGE_NAMES, QWEN_VL
from curate.tasks.part import Part, parts
from curate.tasks.task_columns import task_columns
from filters.spans import overlapping, slices

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def faults(table: pa.Table, dialect: Dialect = QWEN_VL) -> pa.Array:
    """The first fault of each row of SAMPLE or of a shard (N strings); null for rows that can be rendered.

    The faults are `task_missing`, `task_not_in_dialect`, `text_missing`, `language_unknown`, `text_has_control_token`,
    `image_too_elongated` (the model's processor refuses it); for tasks with regions `no_boxes_left` and `box_broken`
    (not finite, completely outside the image, or the image's size is not known); for grounded captions
    `span_not_in_text` (null, beyond the text, or the text there is not the phrase) and `spans_overlap`. Dialogues are
    not judged here: see `curate.tasks.chat.dialogue_faults`.

    Raises:
        ValueError: a task that no dialect has, or rows of another kind.
    """
    table = task_columns(table)
    names = ["task_missing", *CHECKS, None, "task_not_in_dialect"]
    reasons = np.zeros(table.num_rows, np.int64)
    given = table["task"].cast(pa.string())
    reasons[_bools(pc.is_valid(given))] = len(names) - 1
    reasons[_bools(pc.equal(given, CONVERSATION).fill_null(False))] = len(names) - 2
    for part in parts(table, dialect=dialect):
        found = first_fault(part)
        reasons[part.rows] = np.where(found < 0, len(names) - 2, found + 1)
    return pa.array(names, pa.string()).take(pa.array(reasons))


def phrase_faults(table: pa.Table) -> pa.Array:
    """What is wrong with the phrases of N grounded captions: `span_not_in_text`, `spans_overlap`, or null.

    In any dialect: one that writes them without marks would not notice.
    """
    names = ["span_not_in_text", "spans_overlap"]
    reasons = np.full(table.num_rows, -1)
    for part in parts(task_columns(table)):
        for number, name in reversed(list(enumerate(names))):
            reasons[part.rows[CHECKS[name](part)]] = number
    return pa.array(names, pa.string()).take(pa.array(reasons, mask=reasons < 0))


@functools.cache
def _pattern(tokens: tuple[str, ...]) -> str:
    escaped = [re.escape(token) for token in tokens if not re.fullmatch(CONTROL_TOKEN, token)]
    return "|".join([CONTROL_TOKEN, *escaped])


def control_token(dialect: Dialect) -> str:
    """A regular expression (for RE2 and Python) that matches what raw text must not hold in this dialect."""
    return _pattern((*dialect.tokens, *dialect.refuse))


def first_fault(part: Part) -> Ints:
    """The number in CHECKS of each row's first fault; -1 where it has none (N)."""
    numbers = np.full(len(part), -1)
    for number, check in reversed(list(enumerate(CHECKS.values()))):
        numbers[check(part)] = number
    return numbers


def _text_missing(part: Part) -> Bools:
    missing = np.zeros(len(part), bool)
    for text, row in part.raw_texts():
        missing[row[_bools(pc.equal(pc.binary_length(text), 0).fill_null(True))]] = True
    return missing


def _language_unknown(part: Part) -> Bools:
    if "language" not in part.wanted:
        return np.zeros(len(part), bool)
    return ~_bools(pc.is_in(part.column("language").cast(pa.string()), pa.array(list(LANGUAGE_NAMES))))


def _text_has_control_token(part: Part) -> Bools:
    found, pattern = np.zeros(len(part), bool), control_token(part.dialect)
    for text, row in part.raw_texts():
        found[row[_bools(pc.match_substring_regex(text, pattern).fill_null(False))]] = True
    return found


def _image_too_elongated(part: Part) -> Bools:
    if "img" not in part.wanted or part.dialect.cost.rule == "constant":
        return np.zeros(len(part), bool)
    return ~part.costs.taken


def _no_boxes_left(part: Part) -> Bools:
    if not part.located:
        return np.zeros(len(part), bool)
    empty: Bools = counts(part.flat.row, len(part)) == 0
    return empty


def _box_broken(part: Part) -> Bools:
    if not part.located:
        return np.zeros(len(part), bool)
    smaller = pc.min_element_wise(part.column("width"), part.column("height"), skip_nulls=False)
    broken: Bools = _bools(pc.less(smaller, 1).fill_null(True))
    broken[part.flat.row[~np.isfinite(part.flat.quad).all(axis=1)]] = True
    broken[part.flat.row[beyond_image(part.flat.quad, *_sides(part))]] = True
    return broken


def _sides(part: Part) -> tuple[Ints, Ints]:
    """Width and height of each region's image; 0 where it is not known."""
    width, height = (
        part.column(name).fill_null(0).to_numpy(zero_copy_only=False)[part.flat.row]
        for name in ("width", "height")
    )
    return width, height


def _span_not_in_text(part: Part) -> Bools:
    outside = np.zeros(len(part), bool)
    if "grounded" not in part.wanted:
        return outside
    flat, fits = part.flat, part.fits
    outside[flat.row[~fits]] = True
    misread = pc.not_equal(slices(part.column("text").fill_null(""), *part.span_bytes), flat.text)
    outside[flat.row[_bools(misread.fill_null(False)) & fits]] = True
    return outside


def _spans_overlap(part: Part) -> Bools:
    clash = np.zeros(len(part), bool)
    if "grounded" in part.wanted:
        clash[part.spans.row[overlapping(part.spans)]] = True
    return clash


CHECKS: dict[str, Callable[[Part], Bools]] = {
    "text_missing": _text_missing,
    "language_unknown": _language_unknown,
    "text_has_control_token": _text_has_control_token,
    "image_too_elongated": _image_too_elongated,
    "no_boxes_left": _no_boxes_left,
    "box_broken": _box_broken,
    "span_not_in_text": _span_not_in_text,
    "spans_overlap": _spans_overlap,
}


def _bools(values: pa.Array) -> Bools:
    bools: Bools = values.to_numpy(zero_copy_only=False).astype(bool)
    return bools
