"""Marks of Arabic and Hebrew writing (vowels, tanwin, points), put back to the letters that they stand on.

MuPDF's structured text gives a mark the place where the glyph before it ends, in the order of painting. Browsers paint
such lines from the left, so there it is the next letter's, or that of the line before. The display list has the true
places.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from renderers.pdf.frames import Box, Turn, turned
from renderers.pdf.line import Glyph, around
from renderers.pdf.mupdf import mupdf, pymupdf
from renderers.pdf.pixels import EVERYWHERE
from renderers.pdf.symbols import UNKNOWN, TextItem, items_of

MARK = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4"
    "\u06e7\u06e8\u06ea-\u06ed\u08d3-\u08e1\u08e3-\u08ff\ufb1e]"
)
THIN_EM = 0.02  # narrower glyphs are no letters
FAR_EM = 1.2  # across the line, from a mark's origin to the base line of its letter, at most
RIGHT = 0.9  # of a letter's advance is its right side
ACROSS = 0.5  # what an em across the line counts, beside one along it


class Mark(NamedTuple):
    """A mark as it is painted."""

    text: str  # one character, or several that one glyph shows
    box: Box  # of its ink, in points of the page
    at: tuple[float, float]  # its origin


class Letter(NamedTuple):
    """A glyph that marks can stand on, and the characters of its span."""

    glyph: Glyph
    characters: list[Glyph]
    size: float


def has_marks(line: dict[str, Any]) -> bool:
    """True where a line of a raw dictionary holds marks."""
    return any(is_mark(glyph["c"]) for span in line["spans"] for glyph in span["chars"])


def is_mark(char: str) -> bool:
    """True for a mark of right-to-left writing."""
    return char > "\u0590" and bool(MARK.fullmatch(char))


def put_marks_right(lines: Sequence[dict[str, Any]], display: pymupdf.DisplayList, axis: Turn) -> None:
    """Put the marks of a page's lines, all along `axis`, behind the letters that they stand on.

    `lines` are those of a raw dictionary, which are changed.
    """
    device = Marking()
    mupdf.fz_run_display_list(display.this, device, mupdf.FzMatrix(), EVERYWHERE, mupdf.FzCookie())
    mupdf.fz_close_device(device)
    marks = [mark for mark in dict.fromkeys(device.marks) if mark.text != UNKNOWN]
    told = {rounded(mark.at) for mark in marks}
    letters: list[Letter] = []
    for line in lines:
        for span in line["spans"]:
            least = THIN_EM * span["size"]
            span["chars"] = [
                glyph
                for glyph in span["chars"]
                if not is_mark(glyph["c"])
                and not (glyph["c"] == UNKNOWN and rounded(glyph["origin"]) in told)
            ]
            letters += [
                Letter(glyph, span["chars"], span["size"])
                for glyph in span["chars"]
                if not glyph["c"].isspace() and width(glyph, axis) > least
            ]
    if letters:
        attach(marks, letters, axis)
    for line in lines:
        glyphs = [glyph for span in line["spans"] for glyph in span["chars"]]
        if any(not glyph["c"].isspace() for glyph in glyphs):
            line["bbox"] = around(glyphs)


def width(glyph: Glyph, axis: Turn) -> float:
    """How far a glyph advances, in points."""
    box = turned(glyph["bbox"], axis)
    return box[2] - box[0]


def rounded(at: Sequence[float]) -> tuple[float, float]:
    """A place to a tenth of a point."""
    return round(at[0], 1), round(at[1], 1)


def attach(marks: Sequence[Mark], letters: Sequence[Letter], axis: Turn) -> None:
    """Put each mark behind the letter that it is nearest to, and the marks which that has already."""
    boxes = np.array([turned(letter.glyph["bbox"], axis) for letter in letters])
    sizes = np.array([letter.size for letter in letters])
    bases = np.array([turned((*letter.glyph["origin"],) * 2, axis)[1] for letter in letters])
    held: dict[int, list[Glyph]] = {}
    for mark in marks:
        box = turned(mark.box, axis)
        middle = (box[0] + box[2]) / 2
        along = np.maximum(0, np.maximum(boxes[:, 0] - middle, middle - boxes[:, 2])) / sizes
        across = abs(bases - turned((*mark.at, *mark.at), axis)[1]) / sizes
        away = np.where(across <= FAR_EM, along + ACROSS * across, np.inf)
        nearest = int(np.argmin(away))
        if away[nearest] <= FAR_EM:
            held.setdefault(nearest, []).extend(
                {"c": char, "bbox": mark.box, "origin": mark.at} for char in mark.text
            )
    for at, glyphs in held.items():
        letter = letters[at]
        place = next(i for i, glyph in enumerate(letter.characters) if glyph is letter.glyph)
        letter.characters[place + 1 : place + 1] = glyphs


class Marking(mupdf.FzDevice2):  # type: ignore[misc]
    """A MuPDF device that notes the marks among the texts that it is shown.

    What a glyph of two marks stands for is said by the text that the document gives for it and its letter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[Mark] = []
        self.said: list[tuple[str, int]] = []  # texts that are given, and how many marks were there before
        self.shown = ""  # under the last one
        for kind in (
            "fill_text",
            "stroke_text",
            "clip_text",
            "clip_stroke_text",
            "begin_metatext",
            "end_metatext",
        ):
            getattr(self, f"use_virtual_{kind}")()

    def fill_text(self, context: Any, text: Any, matrix: Any, *_: Any) -> None:
        """A text that is painted, or clips."""
        span = text.head
        while span:
            first: TextItem | None = None
            for item in items_of(span) if span.len else ():
                parts = apart(chr(item.ucs) if 0 < item.ucs < 0x110000 else UNKNOWN)
                if item.gid < 0:
                    if first is not None and is_mark(parts):
                        self.marks.append(mark_in(parts, span, first, matrix))
                    continue
                first = item
                self.shown += parts
                marks = "".join(filter(is_mark, parts))
                if marks or (parts == UNKNOWN and item.advance == 0.0):
                    self.marks.append(mark_at(marks or UNKNOWN, span, item, matrix))
            span = span.next

    def clip_text(self, context: Any, text: Any, matrix: Any, *_: Any) -> None:
        """The same."""
        self.fill_text(context, text, matrix)

    def stroke_text(self, context: Any, text: Any, stroke: Any, matrix: Any, *_: Any) -> None:
        """A text that is drawn by its outlines."""
        self.fill_text(context, text, matrix)

    def clip_stroke_text(self, context: Any, text: Any, stroke: Any, matrix: Any, *_: Any) -> None:
        """The same."""
        self.fill_text(context, text, matrix)

    def begin_metatext(self, context: Any, kind: int, text: str) -> None:
        """What the next texts stand for, or another thing that is said of them."""
        self.said.append((text if kind == mupdf.FZ_METATEXT_ACTUALTEXT else "", len(self.marks)))
        self.shown = ""

    def end_metatext(self, context: Any) -> None:
        """The end of that: a glyph of marks that nothing told of shows those which no other glyph does."""
        text, start = self.said.pop() if self.said else ("", len(self.marks))
        unknown = [i for i in range(start, len(self.marks)) if self.marks[i].text == UNKNOWN]
        missing = Counter(filter(is_mark, text)) - Counter(filter(is_mark, self.shown))
        if len(unknown) == 1 and missing:
            self.marks[unknown[0]] = self.marks[unknown[0]]._replace(text="".join(missing.elements()))


def apart(char: str) -> str:
    """A letter of Hebrew with a mark as both, as MuPDF takes it apart; else the character."""
    parts = unicodedata.decomposition(char).split() if "\ufb1d" <= char <= "\ufb4f" else []
    return "".join(chr(int(part, 16)) for part in parts if not part.startswith("<")) or char


def mark_in(text: str, span: Any, item: TextItem, matrix: Any) -> Mark:
    """A mark that a letter's glyph shows, too: at the letter's right side, where it begins."""
    wide = RIGHT * item.advance
    x, y = item.x + wide * span.trm.a, item.y + wide * span.trm.b
    at = x * matrix.a + y * matrix.c + matrix.e, x * matrix.b + y * matrix.d + matrix.f
    return Mark(text, (*at, *at), at)


def mark_at(text: str, span: Any, item: Any, matrix: Any) -> Mark:
    """A glyph of marks, or of a letter with them, where a matrix puts it."""
    move = mupdf.ll_fz_make_matrix(span.trm.a, span.trm.b, span.trm.c, span.trm.d, item.x, item.y)
    whole = mupdf.ll_fz_concat(move, matrix)
    ink = mupdf.ll_fz_bound_glyph(span.font, item.gid, whole)
    at = whole.e, whole.f
    return Mark(text, (ink.x0, ink.y0, ink.x1, ink.y1) if ink.x0 < ink.x1 else (*at, *at), at)
