"""Initials (drop caps): large letters that begin a paragraph and reach down beside its first lines."""

from __future__ import annotations

from collections.abc import Sequence

from renderers.pdf.line import Line
from renderers.pdf.pieces import Piece

LETTERS = 3  # of an initial, at most: a quotation mark may stand with it
TIMES = 1.8  # the size of the text beside it, at least
BELOW_EM = (
    0.5  # so far at least it reaches below the first line; a large letter on the same base line does not
)
GAP_EM = 2.5  # white space beside it


def parts_initial(left: Line, right: Line) -> bool:
    """True where the left one of two neighbours is an initial, and so no part of the line at its right."""
    return (
        len(left.text) <= LETTERS
        and left.size >= TIMES * right.size
        and left.box[3] - right.box[3] > BELOW_EM * right.size
    )


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
