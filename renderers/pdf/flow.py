"""How well an order leads from line to line: used to compare orders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from renderers.pdf.pieces import Piece

NEAR_EM = 3.0  # the next line is at most so far below
FAR_EM = 8.0
STEADY = 0.2  # of the steps may lead backwards


def leaps(pieces: Sequence[Piece]) -> int:
    """How many steps of an order lead far up or down the page."""
    return sum(abs(piece.middle - last.middle) > FAR_EM * last.em for last, piece in pairwise(pieces))


def breaks(pieces: Sequence[Piece]) -> int:
    """How many steps of an order lead neither on in a row of short pieces nor to what stands right below."""
    return sum(not follows(last, piece) for last, piece in pairwise(pieces))


def follows(last: Piece, piece: Piece) -> bool:
    """True where a reader's eye goes from one piece to the other by itself."""
    (u0, v0, u1, v1), (x0, y0, x1, y1) = last.box, piece.box
    long = last.is_prose and piece.is_prose
    if piece.middle < v1 and last.middle < y1 and piece.middle > v0:  # on one base line
        return x0 >= u1 - last.em and (not long or x0 - u1 < last.em)
    if not -0.5 * last.em < y0 - v1 < NEAR_EM * max(last.em, piece.em):
        return False
    return not long or (x0 < u1 and x1 > u0)


def is_steady(pieces: Sequence[Piece]) -> bool:
    """True where an order leads down the page and to the right, but for a few steps."""
    back = sum(
        piece.middle < last.box[1] or (piece.middle < last.box[3] and piece.box[2] < last.box[0])
        for last, piece in pairwise(pieces)
    )
    return back <= STEADY * len(pieces)
