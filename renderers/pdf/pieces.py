"""What reading order is made of: lines, and tables that were put in order already, as boxes of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import groupby
from typing import NamedTuple

from renderers.pdf.frames import Box, union
from renderers.pdf.list_marks import is_mark

PROSE_CHARS = 16  # a line of running text has more characters, white space apart; a Chinese one counts twice
PROSE_EM = 7.5  # and is longer
OVERLAP = 0.05  # this much of a box's height may overlap the row above: tall glyphs, tight leading
NUMBER_SHARE = 0.5  # of its characters: with so many digits a cell holds a number
DIGITS = 5
COLONS = (":", "：")
LEADER = set(" .·…_")  # lead the eye from a label to what stands far right of it


class Piece(NamedTuple):
    """A line, or lines in their order: boxes have u along the lines and v down the page, in points."""

    box: Box
    chars: int  # 0 of a table
    em: float
    rank: int  # its place in the order of content
    members: tuple[int, ...]  # the lines' indices
    number: bool = False  # mostly digits
    value: int = -1  # of a whole number of up to DIGITS digits, which may count lines
    is_prose: bool = False  # a line of running text
    is_label: bool = False  # words that end in a colon
    is_mark: bool = False  # nothing but a list's mark
    is_leader: bool = False  # nothing but dots
    style: str = ""  # what its letters look like: equal texts tell equal looks

    @property
    def middle(self) -> float:
        """The height at which it stands."""
        return (self.box[1] + self.box[3]) / 2


def piece_of(index: int, text: str, box: Box, em: float, style: str = "") -> Piece:
    """The line at `index` in the order of content."""
    wide = 0 if text.isascii() else sum("\u2e80" <= char <= "\uffdc" for char in text)
    digits = sum(map(str.isdigit, text))
    chars = len(text) - text.count(" ")
    value = int(text) if digits == len(text) <= DIGITS and text.isascii() and text else -1
    long = chars + wide > PROSE_CHARS and box[2] - box[0] > PROSE_EM * em
    label = chars > digits + 1 and text.endswith(COLONS)
    number = digits >= NUMBER_SHARE * chars
    dots = set(text) <= LEADER
    return Piece(
        box, chars + wide, em, index, (index,), number, value, long, label, is_mark(text), dots, style
    )


def together(pieces: Sequence[Piece]) -> Piece:
    """Pieces that are in order, as one that others are ordered around."""
    box = reduce(union, (piece.box for piece in pieces))
    members = tuple(index for piece in pieces for index in piece.members)
    return Piece(box, 0, pieces[0].em, min(piece.rank for piece in pieces), members)


def rows_of(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """The pieces by their base lines, from the top, each row from the left."""
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.middle):
        if rows and piece.middle < rows[-1][0].box[3]:
            rows[-1].append(piece)
        else:
            rows.append([piece])
    return [sorted(row, key=lambda piece: piece.box[0]) for row in rows]


def strips_of(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """The pieces in groups between which white bands cross the page, from the top."""
    out: list[list[Piece]] = []
    bottom = float("-inf")
    for piece in sorted(pieces, key=lambda piece: piece.box[1]):
        _, v0, _, v1 = piece.box
        slack = OVERLAP * (v1 - v0)
        if v0 + slack >= bottom:
            out.append([])
        out[-1].append(piece)
        bottom = max(bottom, v1 - slack)
    return out


def gap_between(one: Sequence[Piece], other: Sequence[Piece]) -> float:
    """The white space between two strips, whichever is above."""
    (top, bottom), (top2, bottom2) = (
        (min(piece.box[1] for piece in strip), max(piece.box[3] for piece in strip)) for strip in (one, other)
    )
    return max(top2 - bottom, top - bottom2)


def by_content(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces in the order of content."""
    return sorted(pieces, key=lambda piece: piece.rank)


def switches(places: Iterable[int]) -> int:
    """How often a sequence goes on to another value."""
    return sum(1 for _ in groupby(places)) - 1
