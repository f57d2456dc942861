"""Boxes that text runs around, such as sidebars: they are read before the paragraph that they would part."""

from __future__ import annotations

from collections.abc import Sequence

from renderers.pdf.content_order import is_next_line
from renderers.pdf.pieces import Piece

LEAST_EM = 2.0  # from the top of an aside to that of the last line beside it, at least
MOST_LINES = 200  # of an aside
EDGE_EM = 0.5  # lines that begin, or end, so near each other are one text's
SAME_EM = 0.1  # share by which the size of one text's lines may differ
ALIKE = 0.5  # of an aside's lines look like the text beside it, at most: with more it is a column of it


def with_asides_first(read: Sequence[Piece]) -> list[Piece]:
    """The pieces in their order, but what stands right of a text that goes on below it is moved before that text.

    A text goes on where its next line stands right below and reaches under the aside. The aside, which is several
    lines high, comes before the paragraph that it would part.
    """
    out = list(read)
    k = 0
    while k + 2 < len(out):
        end = aside_end(out, k)
        if end:
            aside = out[k + 1 : end]
            start = paragraph_start(out, k)
            out[start:end] = [*aside, *out[start : k + 1]]
            k = end - 1
        k += 1
    return out


def aside_end(read: Sequence[Piece], k: int) -> int:
    """Where the text goes on after an aside that follows the piece at `k`; 0 where no aside does."""
    line, first = read[k], read[k + 1]
    if not line.is_prose or first.box[0] < line.box[2]:
        return 0
    bottom = first.box[3]
    for end in range(k + 2, min(len(read), k + 2 + MOST_LINES)):
        piece, last = read[end], read[end - 1]
        bottom = max(bottom, last.box[3])
        if last.box[0] < line.box[2]:
            return 0
        if is_same_text(line, piece) and piece.box[2] > first.box[0] and piece.middle > bottom:
            aside = read[k + 1 : end]
            alike = sum(is_alike(line, other) for other in aside)
            high = line.box[1] - min(other.box[1] for other in aside) >= LEAST_EM * line.em
            return end if high and alike <= ALIKE * len(aside) else 0
    return 0


def paragraph_start(read: Sequence[Piece], k: int) -> int:
    """The first line of the paragraph that holds the line at `k`: each line before it is full."""
    while (
        k
        and is_same_text(read[k - 1], read[k])
        and read[k - 1].box[2] > read[k].box[2] - EDGE_EM * read[k].em
    ):
        k -= 1
    return k


def is_same_text(line: Piece, below: Piece) -> bool:
    """True where a line of running text goes on in one right below it that begins at the same place."""
    return (
        line.is_prose
        and is_next_line(line, below)
        and abs(below.em - line.em) <= SAME_EM * line.em
        and abs(below.box[0] - line.box[0]) <= EDGE_EM * line.em
    )


def is_alike(line: Piece, other: Piece) -> bool:
    """True for a line of the same looks as another one, of running text."""
    return other.is_prose and other.style == line.style and abs(other.em - line.em) <= SAME_EM * line.em
