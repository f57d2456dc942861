"""Rules on page images, by numbers that a renderer writes into `extra`, such as the share of unlabelled writing."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from filters.rule import rule

STRUCTURED = "ocr_structured"  # the task whose target is HTML
# Characters that the task `ocr` writes around a region's text: <ref>, </ref>, <quad>, four corners
MARKS = 66


def fact(extra: Any, name: str) -> pa.Array:
    """The number `name` in each page's `extra` (N rows of JSON objects); null where there is none."""
    return pa.array([number_in(text.as_py(), name) for text in extra], pa.float64())


def number_in(text: str | None, name: str) -> float | None:
    """The number of that name in a JSON object, if there is one."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    found = value.get(name) if isinstance(value, dict) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def stated(extra: pa.StringArray, name: str) -> pa.StringArray:
    """That number of each page, as `name=0.25` (N)."""
    return pa.array([f"{name}={number}" for number in fact(extra, name).to_pylist()], pa.string())


def at_most(extra: pa.StringArray, name: str, max_share: float) -> pa.BooleanArray:
    """Whether the share that `extra` gives by that name is at most `max_share`; null where it gives none (N).

    Raises:
        ValueError: `max_share` is no share.
    """
    if not 0 <= max_share <= 1:
        raise ValueError(f"max_share is a share, from 0 to 1, not {max_share:g}")
    return pc.less_equal(fact(extra, name), max_share)


def unlabelled(extra: pa.StringArray, *, max_share: float) -> pa.StringArray:
    """The share that decided."""
    return stated(extra, "unlabelled")


@rule("page_mostly_unlabelled", describe=unlabelled)
def page_mostly_unlabelled(extra: pa.StringArray, *, max_share: float) -> pa.BooleanArray:
    """Keep pages where at most `max_share` of the writing (measured by its ink) is in no region; null if not known.

    Raises:
        ValueError: `max_share` is no share.
    """
    return at_most(extra, "unlabelled", max_share)


def unlike(extra: pa.StringArray, *, max_share: float) -> pa.StringArray:
    """The share that decided."""
    return stated(extra, "unlike")


@rule("text_unlike_image", describe=unlike)
def text_unlike_image(extra: pa.StringArray, *, max_share: float) -> pa.BooleanArray:
    """Keep pages where at most `max_share` of the letters are in fonts that draw other letters; null if not known.

    Raises:
        ValueError: `max_share` is no share.
    """
    return at_most(extra, "unlike", max_share)


def target_chars(
    task: pa.StringArray, text: pa.StringArray, answer: pa.StringArray, regions: pa.ListArray
) -> pa.Array:
    """The length of the target in characters (N): of the page's HTML, or of the text with marks around regions."""
    marks = pc.multiply(pc.list_value_length(regions).fill_null(0), MARKS)
    written = pc.add(pc.cast(pc.utf8_length(text), pa.int64()), marks)
    structured = pc.equal(task, STRUCTURED).fill_null(False)
    return pc.if_else(structured, pc.cast(pc.utf8_length(answer), pa.int64()), written)


def said(
    task: pa.StringArray,
    text: pa.StringArray,
    answer: pa.StringArray,
    regions: pa.ListArray,
    *,
    max_chars: int,
) -> pa.StringArray:
    """The length that decided."""
    length = target_chars(task, text, answer, regions)
    return pc.binary_join_element_wise("chars=", pc.cast(length, pa.string()), "")


@rule("target_too_long", describe=said, may_lack=("answer", "regions"))
def target_too_long(
    task: pa.StringArray,
    text: pa.StringArray,
    answer: pa.StringArray,
    regions: pa.ListArray,
    *,
    max_chars: int,
) -> pa.BooleanArray:
    """Keep rows whose text, with the marks around each region, has at most `max_chars` characters.

    A region's text counts with the 66 characters that the task `ocr` writes around it; of `ocr_structured` the
    page's HTML (`answer`) counts instead.

    Raises:
        ValueError: `max_chars` is negative.
    """
    if max_chars < 0:
        raise ValueError(f"max_chars must be at least 0, not {max_chars}")
    return pc.less_equal(target_chars(task, text, answer, regions), max_chars)


LINKLESS = "classes, and no stylesheet that says what they look like"


def lost_styles(extra: pa.StringArray) -> pa.StringArray:
    """How many stylesheets are missing, and what can be done."""
    advice = "render.restyle = true lays such pages out anew, where they have main content"
    lost = zip(fact(extra, "lost_stylesheets"), fact(extra, "stylesheets"), strict=True)
    parts = ((missing.as_py() or 0, linked.as_py() or 0) for missing, linked in lost)
    said = (
        f"lost {missing:g} of {linked:g} stylesheets" if linked else LINKLESS for missing, linked in parts
    )
    return pa.array([f"{what}; {advice}" for what in said], pa.string())


@rule("page_unstyled", describe=lost_styles)
def page_unstyled(extra: pa.StringArray) -> pa.BooleanArray:
    """Keep web pages that kept their stylesheets, link none, or bring enough style of their own."""
    return pc.invert(pc.match_substring(extra, '"unstyled": true'))


def blank(extra: pa.StringArray, *, max_share: float) -> pa.StringArray:
    """The share that decided."""
    return stated(extra, "blank")


@rule("page_mostly_blank", describe=blank)
def page_mostly_blank(extra: pa.StringArray, *, max_share: float) -> pa.BooleanArray:
    """Keep page images where at most `max_share` of the 16 px squares have a single colour; null if not known.

    Raises:
        ValueError: `max_share` is no share.
    """
    return at_most(extra, "blank", max_share)
