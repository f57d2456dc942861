"""The lines of ordinary pages, read by spans and words: MuPDF makes those in half the time of characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pymupdf

from renderers.pdf_accents import BESIDE_LETTER
from renderers.pdf_frames import LEVEL, Box, turned, union, within
from renderers.pdf_lines import PAINTED, TEXT_BLOCK, Line, is_single, joined, pale_among, upright_axis
from renderers.pdf_rules import Rules
from renderers.text import normalise


def plain_lines(text: pymupdf.TextPage, blocks: Sequence[dict[str, Any]], page: Box) -> list[Line] | None:
    """What `page_lines` gives, but for the glyphs; None where only characters can tell.

    That is so where text is hidden, slanted, vertical, partly off the page, pale, crossed by a rule, or has
    loose accents. `blocks` are those of the text's dictionary.
    """
    lines: list[Line] = []
    rules = Rules(blocks)
    boxes: dict[int, list[Box]] | None = None
    texts = (block for block in blocks if block["type"] == TEXT_BLOCK)
    for count, block in enumerate(texts):
        inked = [raw for raw in block["lines"] if not all(span["text"].isspace() for span in raw["spans"])]
        for number, raw in enumerate(inked):
            if not is_plain(raw, page):
                return None
            box: Box = raw["bbox"]
            drawn = "".join([span["text"] for span in raw["spans"]])
            if BESIDE_LETTER.search(drawn):
                return None
            if drawn[0].isspace() or drawn[-1].isspace():
                boxes = word_boxes(text) if boxes is None else boxes
                trimmed = boxes.get(count, [])
                if len(trimmed) != len(inked) or not within(trimmed[number], box):
                    return None
                box = trimmed[number]
            if read := normalise(drawn):
                line = line_of(raw, read, box, block["number"])
                if " " in read and rules.crosses(line.turn, line.box):
                    return None
                lines.append(line)
    if sum(map(is_single, lines)) > 2 or any(line.doubtful for line in lines):
        return None
    return joined(lines, rules)


def is_plain(raw: dict[str, Any], page: Box) -> bool:
    """True for a line that is painted, written across and on the page."""
    return (
        not raw["wmode"]
        and upright_axis(raw["dir"]) is not None
        and within(raw["bbox"], page)
        and all(span["alpha"] and span["char_flags"] & PAINTED for span in raw["spans"])
    )


def line_of(raw: dict[str, Any], text: str, box: Box, painted: int) -> Line:
    """The line, with its box taken to its frame."""
    axis = upright_axis(raw["dir"]) or LEVEL
    first = raw["spans"][0]
    return Line(
        text,
        turned(box, axis),
        axis,
        axis,
        first["size"],
        first["font"],
        first["color"],
        painted,
        doubtful=pale_among({span["color"] for span in raw["spans"]}),
    )


def word_boxes(text: pymupdf.TextPage) -> dict[int, list[Box]]:
    """The boxes around the words of each line that has any, by its block's number among those of text."""
    boxes: dict[int, list[Box]] = {}
    last = None
    for x0, y0, x1, y1, _, block, line, _ in text.extractWORDS():
        of_block = boxes.setdefault(block, [])
        if (block, line) == last:
            of_block[-1] = union(of_block[-1], (x0, y0, x1, y1))
        else:
            of_block.append((x0, y0, x1, y1))
        last = block, line
    return boxes
