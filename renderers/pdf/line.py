"""One line of a page's text, or a part of one; frames are told in `pdf_frames`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from renderers.page_text import normalise
from renderers.pdf.accents import characters
from renderers.pdf.frames import Box, Turn, turned

Glyph = dict[str, Any]  # of MuPDF's raw dictionary: a character `c`, its `bbox` in points of its pass
SPACE: Glyph = {"c": " "}


@dataclass(slots=True)
class Line:
    """A line, or a word of one. Its `box` is in the frame of its `turn`; `text` is normalised."""

    text: str
    box: Box
    turn: Turn
    axis: Turn  # takes the glyphs' boxes to the frame: the turn itself, or LEVEL after a pass that was turned
    size: float  # the em, in points
    font: str
    colour: int  # of its first character, 0xRRGGBB
    painted: int  # the number of its first block, in the order of painting; -1 where that is not known
    stacked: bool = False  # upright characters that are read downwards
    doubtful: bool = False  # near-white characters among others
    patterned: bool = False  # filled with a gradient or picture: drawn though the page is drawn without text
    base: float = math.nan  # where its base line lies across the frame
    score: float = 1.0  # how sure its text is; 1 but for OCR's
    glyphs: list[Glyph] = field(default_factory=list)  # empty where the line was read by its words

    def of(self, glyphs: list[Glyph]) -> Line:
        """The part of this line that these glyphs, not all of them white space, make up."""
        u0, v0, u1, v1 = turned(around(glyphs), self.axis)
        if not self.stacked:  # a line's box may have been made lower than those of its glyphs
            v0, v1 = max(v0, self.box[1]), min(v1, self.box[3])
        box = u0, v0, u1, v1
        return replace(self, text=spelt(glyphs), box=box, glyphs=glyphs)

    def words(self) -> Iterator[Line]:
        """The line's words, parted at white space."""
        word: list[Glyph] = []
        for glyph in [*self.glyphs, SPACE]:
            if not glyph["c"].isspace():
                word.append(glyph)
            elif word:
                yield self.of(word)
                word = []


def spelt(glyphs: Sequence[Glyph]) -> str:
    """What the glyphs read, normalised."""
    return normalise("".join(characters(glyphs)))


def around(glyphs: Sequence[Glyph]) -> Box:
    """The box around all but white space, in points of the glyphs' pass."""
    x0, y0, x1, y1 = zip(*[glyph["bbox"] for glyph in glyphs if not glyph["c"].isspace()], strict=True)
    return min(x0), min(y0), max(x1), max(y1)
