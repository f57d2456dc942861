"""Marks of lists that hang, alone, left of their items' text, and leaders under the text that they lead from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from renderers.pdf.frames import union
from renderers.pdf.list_marks import AWAY_EM
from renderers.pdf.pieces import Piece, rows_of

ALIGNED_EM = 0.3  # marks whose left (or right) ends are so near each other are one list's


def with_marks(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces, each of a list's marks and the text beside it as one: the content may have all marks first."""
    marks = [piece for piece in pieces if piece.is_mark]
    if not marks:
        return list(pieces)
    beside: dict[tuple[int, ...], Piece] = {}  # by the members of the text
    for row in rows_of(pieces):
        for mark, text in pairwise(row):
            near = text.box[0] - mark.box[2] < AWAY_EM * text.em
            if mark.is_mark and not text.is_mark and near and is_in_list(mark, marks):
                beside[text.members] = mark
    taken = {mark.members for mark in beside.values()}
    return [
        marked(piece, beside[piece.members]) if piece.members in beside else piece
        for piece in pieces
        if piece.members not in taken
    ]


def is_in_list(mark: Piece, marks: Sequence[Piece]) -> bool:
    """True for a mark with another one above or below it."""
    return any(
        other is not mark
        and min(abs(other.box[side] - mark.box[side]) for side in (0, 2)) < ALIGNED_EM * mark.em
        for other in marks
    )


def marked(text: Piece, mark: Piece) -> Piece:
    """A text with the mark before it; its place in the order of content stays its own."""
    box = (min(mark.box[0], text.box[0]), *text.box[1:])
    return text._replace(box=box, members=mark.members + text.members)


def with_leaders(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces, each leader and the text on its base line that it overlaps as one; the leader comes second."""
    leaders = [piece for piece in pieces if piece.is_leader]
    if not leaders:
        return list(pieces)
    under: dict[tuple[int, ...], Piece] = {}  # by the members of the text
    for row in rows_of(pieces):
        for leader in (piece for piece in row if piece.is_leader):
            over = (text for text in row if not text.is_leader and overlap(text, leader) > 0)
            if (text := max(over, key=lambda text: overlap(text, leader), default=None)) is not None:
                under.setdefault(text.members, leader)
    taken = {leader.members for leader in under.values()}
    return [
        led(piece, under[piece.members]) if piece.members in under else piece
        for piece in pieces
        if piece.members not in taken
    ]


def overlap(one: Piece, other: Piece) -> float:
    """How far two pieces of a row stand over each other; negative where they stand apart."""
    return min(one.box[2], other.box[2]) - max(one.box[0], other.box[0])


def led(text: Piece, leader: Piece) -> Piece:
    """A text with the leader behind it; its place in the order of content stays its own."""
    return text._replace(box=union(text.box, leader.box), members=text.members + leader.members)
