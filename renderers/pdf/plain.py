"""The lines of ordinary pages, read by spans and words; by characters, which take longer, where need be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, reduce
from itertools import pairwise
from typing import Any

from renderers.page_text import normalise
from renderers.pdf.accents import BESIDE_LETTER
from renderers.pdf.bidi import RTL
from renderers.pdf.frames import Box, Turn, turned, union, within
from renderers.pdf.initials import span_after_initial
from renderers.pdf.join import is_single, joined
from renderers.pdf.levels import parting_spans
from renderers.pdf.line import Line
from renderers.pdf.lines import (
    NO_ROOM_EM,
    SYMBOL_BEFORE,
    TEXT_BLOCK,
    base_line,
    gap_between,
    is_painted,
    is_patterned,
    pale_among,
    parted,
    pieces,
    raw_lines,
    upright_axis,
)
from renderers.pdf.mupdf import pymupdf
from renderers.pdf.rules import CELL_EM, Rules
from renderers.pdf.tracking import closed_up, may_be_broken, may_be_tracked

SAME_PT = 0.01  # of the same glyphs, read twice

Word = tuple[Any, ...]  # of MuPDF's: its box, its text, the numbers of its block, line and itself
Words = dict[int, list[list[Word]]]  # by the number of the block among those of text: the words of its lines


def plain_lines(
    text: pymupdf.TextPage, blocks: Sequence[dict[str, Any]], page: Box, rules: Rules
) -> list[Line] | None:
    """What `page_lines` gives, but for most glyphs; None where all characters of the page are needed.

    That is so where text is slanted, vertical, stacked, right-to-left, pale, or in single letters. `blocks` are those
    of the text's dictionary, `rules` what they draw.
    """
    lines: list[Line] = []
    reader = PlainReader(text, page, rules)
    texts = (block for block in blocks if block["type"] == TEXT_BLOCK)
    for count, block in enumerate(texts):
        inked = [raw for raw in block["lines"] if not all(span["text"].isspace() for span in raw["spans"])]
        for number, raw in enumerate(inked):
            raw["painted"] = block["number"]
            read = reader.read(raw, count, number, len(inked))
            if read is None:
                return None
            lines += read
    single = [is_single(line) for line in lines]
    column = any(map(all, zip(single, single[1:], single[2:], strict=False)))
    if column or may_be_broken(lines) or any(line.doubtful for line in lines):
        return None
    return joined(lines, reader.rules)


class PlainReader:
    """Reads lines by their spans where these tell all, else by words, else by characters."""

    def __init__(self, text: pymupdf.TextPage, page: Box, rules: Rules) -> None:
        self.text, self.page, self.rules = text, page, rules

    def read(self, raw: dict[str, Any], block: int, number: int, lines: int) -> Iterable[Line] | None:
        """A line, the `number`th of `lines` in a block; None where it is slanted, vertical, right-to-left."""
        axis = upright_axis(raw["dir"])
        if axis is None or raw["wmode"]:
            return None
        drawn = "".join([span["text"] for span in raw["spans"]])
        if not drawn.isascii() and RTL.search(drawn):
            return None
        by_glyphs = (
            BESIDE_LETTER.search(drawn)
            or SYMBOL_BEFORE.search(drawn)
            or span_after_initial(raw["spans"])
            or parting_spans(raw["spans"], axis)
        )
        if by_glyphs or not is_plain(raw, self.page):
            return self.by_characters(raw, axis)
        line = line_of(raw, axis, normalise(drawn))
        if not line.text:
            return []
        if " " in line.text and (may_be_tracked(line.text) or self.touches(block, number, lines, line)):
            return self.by_characters(raw, axis)
        padded = drawn[0].isspace() or drawn[-1].isspace()
        crossed = self.rules.crosses(axis, line.box)
        if not padded and not crossed:
            return [line]
        words = self.words.get(block, [])
        if len(words) != lines:
            return None if crossed else self.by_characters(raw, axis)
        boxes = [turned(word[:4], axis) for word in words[number]]
        if crossed and self.is_tight(boxes, line):
            return None
        if any(not within(box, line.box) or self.rules.crosses(axis, box) for box in boxes):
            return self.by_characters(raw, axis)
        return word_cells(line, boxes, [word[4] for word in words[number]], self.rules)

    def is_tight(self, boxes: Sequence[Box], line: Line) -> bool:
        """True where a table's rule runs through a word of a line, or a narrow gap: cells may stand so close."""
        return any(self.rules.walled(line.turn, box, line.size) for box in boxes) or any(
            box[0] - last[2] <= CELL_EM * line.size
            and self.rules.walled(line.turn, (last[2], line.box[1], box[0], line.box[3]), line.size)
            for last, box in pairwise(boxes)
        )

    def touches(self, block: int, number: int, lines: int, line: Line) -> bool:
        """True where two words of a line have no room between them: the space there may be a soft hyphen."""
        words = self.words.get(block, [])
        if len(words) != lines:
            return False
        least = NO_ROOM_EM * line.size
        return any(gap_between(last[:4], word[:4]) < least for last, word in pairwise(words[number]))

    def by_characters(self, raw: dict[str, Any], axis: Turn) -> Iterable[Line] | None:
        """The lines that `pieces` makes of it; None where it is not found again, or letter-spaced."""
        for found in raw_near(self.text, raw["bbox"]):
            if found["bbox"] == raw["bbox"] and colours(found) == colours(raw):
                found["painted"] = raw["painted"]
                lines = list(pieces(found, axis, axis, self.page, self.rules))
                if any(
                    line is not one for line, one in zip(lines, closed_up(lines, self.rules), strict=False)
                ):
                    return None  # letter-spaced: it may go on in other lines
                return [replace(line, glyphs=[]) for line in lines]  # all lines have them, or none
        return None

    @cached_property
    def words(self) -> Words:
        """The words of each line that has any."""
        words: Words = {}
        last = None
        for word in self.text.extractWORDS():
            if last is None or word[5:7] != last:
                last = word[5:7]
                of_line: list[Word] = []
                words.setdefault(word[5], []).append(of_line)
            of_line.append(word)
        return words


def raw_near(text: pymupdf.TextPage, place: Box) -> Iterator[dict[str, Any]]:
    """The lines, with characters, that touch a box of the page; of those that reach beyond it, only a part.

    MuPDF's binding reads what touches the page's own box, so `place` is that for a moment.
    """
    box = text.this.m_internal.mediabox
    whole = box.x0, box.y0, box.x1, box.y1
    box.x0, box.y0, box.x1, box.y1 = place[0] - 1, place[1] - 1, place[2] + 1, place[3] + 1
    try:
        blocks = text.extractRAWDICT()["blocks"]
    finally:
        box.x0, box.y0, box.x1, box.y1 = whole
    return raw_lines(blocks)


def with_glyphs(line: Line, text: pymupdf.TextPage, page: Box) -> Line | None:
    """The line with its glyphs; None where what stands there reads otherwise."""
    axis, rules = line.axis, Rules(())
    near = raw_near(text, turned(line.box, (axis[0], -axis[1])))
    level = (raw for raw in near if upright_axis(raw["dir"]) == axis)
    parts = [part for raw in level for part in pieces(raw, axis, axis, page, rules)]
    for found in joined(list(closed_up(parts, rules)), rules):
        apart = max(abs(a - b) for a, b in zip(found.box, line.box, strict=True))
        if found.text == line.text and apart < SAME_PT:
            return replace(line, glyphs=found.glyphs)
    return None


def is_plain(raw: dict[str, Any], page: Box) -> bool:
    """True for a line that is painted and on the page."""
    return within(raw["bbox"], page) and all(map(is_painted, raw["spans"]))


def colours(raw: dict[str, Any]) -> list[int]:
    """The colours of the line's spans."""
    return [span["color"] for span in raw["spans"]]


def line_of(raw: dict[str, Any], axis: Turn, text: str) -> Line:
    """The line, with its box taken to its frame."""
    first = raw["spans"][0]
    return Line(
        text,
        turned(raw["bbox"], axis),
        axis,
        axis,
        first["size"],
        first["font"],
        first["color"],
        raw["painted"],
        doubtful=pale_among(set(colours(raw))),
        patterned=is_patterned(raw),
        base=base_line(first, axis),
    )


def word_cells(line: Line, boxes: Sequence[Box], words: Sequence[str], rules: Rules) -> Iterator[Line]:
    """The line by its words, whose boxes are in its frame, parted where a table's rule runs through a gap."""
    starts = parted(boxes, line.size, line.turn, rules)
    for start, end in pairwise([0, *starts, len(boxes)]):
        text = normalise(" ".join(words[start:end])) if starts else line.text
        yield replace(line, text=text, box=reduce(union, boxes[start:end]))
