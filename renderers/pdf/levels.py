"""A small label and a big number, which MuPDF takes for one line though they stand one below the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

from renderers.pdf.frames import Box, Turn, turned, union
from renderers.pdf.line import Line

TIMES = 1.8  # the size of the smaller text, at least
LETTERS = 3  # of the smaller text, at least: fewer may be an index, a unit or cents
CAPITAL_EM = 0.7  # the height of the smaller text's letters above their base line
SHARED = 0.6  # of that lies beside the larger text: with less they are two lines


def level_parts(raw: dict[str, Any], axis: Turn) -> Iterator[dict[str, Any]]:
    """A line of MuPDF's, parted where text of a far larger or smaller size stands at another height."""
    starts = parting_spans(raw["spans"], axis)
    if not starts:
        yield raw
        return
    for start, end in pairwise([0, *starts, len(raw["spans"])]):
        spans = raw["spans"][start:end]
        yield {
            **raw,
            "spans": spans,
            "bbox": reduce(union, (span["bbox"] for span in spans if inked_text(span))),
        }


def parting_spans(spans: Sequence[dict[str, Any]], axis: Turn) -> list[int]:
    """The numbers of the spans that stand at another height than what is before them; mostly none."""
    if len(spans) < 2:
        return []
    sizes = [span["size"] for span in spans]
    if max(sizes) < TIMES * min(sizes):
        return []
    inked = [number for number, span in enumerate(spans) if inked_text(span)]
    return [b for a, b in pairwise(inked) if at_other_height(spans[a], spans[b], axis)]


def at_other_height(one: dict[str, Any], other: dict[str, Any], axis: Turn) -> bool:
    """True for two spans of far different sizes, the smaller of which is mostly above, or below, the larger."""
    small, large = sorted((one, other), key=lambda span: span["size"])
    x, y = (small["chars"][0] if "chars" in small else small)["origin"]
    base = turned((x, y, x, y), axis)[1]
    is_text = large["size"] >= TIMES * small["size"] and len(inked_text(small)) >= LETTERS
    return is_text and sticks_out(base, small["size"], turned(large["bbox"], axis))


def parts_levels(one: Line, other: Line) -> bool:
    """True for two lines of which the same is so."""
    small, large = sorted((one, other), key=lambda line: line.size)
    is_text = large.size >= TIMES * small.size and len(small.text) >= LETTERS
    return is_text and sticks_out(small.base, small.size, large.box)


def sticks_out(base: float, em: float, large: Box) -> bool:
    """True where letters on a base line are too little beside a box to be read with what it holds."""
    return min(base, large[3]) - max(base - CAPITAL_EM * em, large[1]) < SHARED * CAPITAL_EM * em


def inked_text(span: dict[str, Any]) -> str:
    """What a span reads, without white space at its ends."""
    text: str = span["text"] if "text" in span else "".join(glyph["c"] for glyph in span["chars"])
    return text.strip()
