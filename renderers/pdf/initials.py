"""Initials (drop caps): large letters that begin a paragraph and reach down beside its first lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from renderers.pdf.line import Line
from renderers.pdf.pieces import Piece

LETTERS = 3  # of an initial, at most: a quotation mark may stand with it
TIMES = 1.8  # the size of the text beside it, at least
# So far at least it reaches below the first line; a large letter on the same base line does not
BELOW_EM = 0.5
GAP_EM = 2.5  # white space beside it
# Letters that are words by themselves, and how a word never begins: the rest of one that begins with such a letter.
WORDS = frozenset("AIOEYaioeyÀÉÓÈàéóèÅÖåöUuИВСКОАЯУивскоаяу")
NO_WORD = re.compile(
    r"(?i)[a-z]\b|n[^aeiouy]|l[^aeiouy]|r[^aeiouy]|m[^aeiouy]|[cfst]t|bs|cc|dd|ff|gg|pp|ss|x"
)


def parts_initial(left: Line, right: Line) -> bool:
    """True where the left one of two neighbours is an initial, and so no part of the line at its right."""
    return is_initial(left, right) and left.box[3] - right.box[3] > BELOW_EM * right.size


def is_initial(left: Line, right: Line) -> bool:
    """True for a few large letters before smaller ones."""
    return len(left.text) <= LETTERS and left.size >= TIMES * right.size


def is_beside(initial: Line, line: Line) -> bool:
    """True for a line that goes on at the right of an initial, near its top."""
    (_, top, right, bottom), (start, top2, _, bottom2) = initial.box, line.box
    return (
        initial.turn == line.turn
        and is_initial(initial, line)
        and -line.size < start - right < GAP_EM * line.size
        and abs(top2 - top) < line.size
        and bottom - bottom2 > BELOW_EM * line.size
    )


def is_one_word(initial: str, rest: str) -> bool:
    """True where an initial and the text beside it are one word, by their letters: L and ately, not A and world."""
    if not (initial[-1:].isalpha() and rest[:1].isalpha()):
        return False
    return initial[-1] not in WORDS or bool(NO_WORD.match(rest))


def line_ends(lines: Sequence[Line]) -> Iterator[str]:
    """What stands after each line in a page's text: nothing after an initial whose word goes on, else a line feed."""
    for line, next_ in zip_longest(lines, lines[1:]):
        goes_on = next_ is not None and is_beside(line, next_) and is_one_word(line.text, next_.text)
        yield "" if goes_on else "\n"


def span_after_initial(spans: Sequence[dict[str, Any]]) -> int:
    """The number of the span that goes on after an initial on one base line, in a line of MuPDF's; 0 for others."""
    if len(spans) < 2 or len(spans[0].get("text", spans[0].get("chars", ""))) > LETTERS:
        return 0
    for number, span in enumerate(spans[1:], 1):
        if span.get("text", "").strip() or any(not glyph["c"].isspace() for glyph in span.get("chars", ())):
            return number if spans[0]["size"] >= TIMES * span["size"] else 0
    return 0


def with_initials(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces, each initial and the first line beside it as one, which stands where the line does."""
    sizes = sorted(piece.em for piece in pieces)
    if not sizes or sizes[-1] < TIMES * sizes[0]:
        return list(pieces)
    initials = [
        piece for piece in pieces if piece.chars <= LETTERS and piece.em >= TIMES * sizes[len(sizes) // 2]
    ]
    firsts: dict[tuple[int, ...], Piece] = {}  # by the members of the line
    for initial in initials:
        if (first := first_line(initial, pieces)) is not None:
            firsts.setdefault(first.members, initial)
    taken = {initial.members for initial in firsts.values()}
    return [begun(piece, firsts) for piece in pieces if piece.members not in taken]


def first_line(initial: Piece, pieces: Sequence[Piece]) -> Piece | None:
    """The line that goes on at an initial's top; None where there is none."""
    (_, top, right, bottom) = initial.box
    beside = [
        piece
        for piece in pieces
        if initial.em >= TIMES * piece.em
        and -piece.em < piece.box[0] - right < GAP_EM * piece.em
        and top - piece.em < piece.box[1] < top + piece.em
        and bottom - piece.box[3] > BELOW_EM * piece.em
    ]
    return min(beside, key=lambda piece: piece.box[1], default=None)


def begun(piece: Piece, firsts: dict[tuple[int, ...], Piece]) -> Piece:
    """The piece, with its initial before it where it has one."""
    initial = firsts.get(piece.members)
    if initial is None:
        return piece
    box = (min(initial.box[0], piece.box[0]), *piece.box[1:])
    return piece._replace(box=box, members=initial.members + piece.members)
