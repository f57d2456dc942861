"""Boxes that text runs around, such as sidebars: they are read before the paragraph that they would part."""

from __future__ import annotations

from collections.abc import Sequence

from renderers.pdf.pieces import Piece

LEAST_EM = 2.0  # from the top of an aside to that of the last line beside it, at least
MOST_LINES = 200  # of an aside
PITCH_EM = 2.2  # from a line to the next, at most: double spacing
LEVEL_EM = 0.4  # so much may this differ within a paragraph
EDGE_EM = 0.5  # lines that begin so near each other are one text's
INDENT_EM = 4.0  # of a paragraph's first line, at most
FULL_EM = 5.0  # a line that ends so much before the next one is a paragraph's last
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
    if not k or first.box[0] < line.box[2] or not is_same_text(read[k - 1], line):
        return 0
    pitch, bottom = line.middle - read[k - 1].middle, first.box[3]
    for end in range(k + 2, min(len(read), k + 2 + MOST_LINES)):
        piece, last = read[end], read[end - 1]
        bottom = max(bottom, last.box[3])
        if last.box[0] < line.box[2]:
            return 0
        if goes_on(line, piece, pitch) and piece.box[2] > first.box[0] and piece.middle > bottom:
            aside = read[k + 1 : end]
            alike = sum(is_alike(line, other) for other in aside)
            high = line.box[1] - min(other.box[1] for other in aside) >= LEAST_EM * line.em
            return end if high and alike <= ALIKE * len(aside) else 0
    return 0


def paragraph_start(read: Sequence[Piece], k: int) -> int:
    """The first line of the paragraph that holds the line at `k`: each line before it is full, and as far above it."""
    pitch = read[k].middle - read[k - 1].middle
    while k and goes_on(read[k - 1], read[k], pitch):
        if read[k - 1].box[2] <= read[k].box[2] - FULL_EM * read[k].em:
            break
        k -= 1
    if k and is_indented(read[k - 1], read[k]) and is_as_far(read[k - 1], read[k], pitch):
        k -= 1
    return k


def is_same_text(line: Piece, below: Piece) -> bool:
    """True for two lines of running text of one size, the second below the first, that begin at the same place."""
    return (
        line.is_prose
        and below.is_prose
        and 0 < below.middle - line.middle < PITCH_EM * line.em
        and abs(below.em - line.em) <= SAME_EM * line.em
        and abs(below.box[0] - line.box[0]) <= EDGE_EM * line.em
    )


def goes_on(line: Piece, below: Piece, pitch: float) -> bool:
    """True where a text goes on in a line below that is `pitch` (points, from middle to middle) away."""
    return is_same_text(line, below) and is_as_far(line, below, pitch)


def is_as_far(line: Piece, below: Piece, pitch: float) -> bool:
    """True where a line is `pitch` below another one: letters that go up or down move a line's middle."""
    return abs(below.middle - line.middle - pitch) <= LEVEL_EM * line.em


def is_indented(line: Piece, below: Piece) -> bool:
    """True for a paragraph's first line, which is full and begins further right than the next one."""
    inside = EDGE_EM * line.em < line.box[0] - below.box[0] <= INDENT_EM * line.em
    return line.is_prose and inside and line.box[2] > below.box[2] - FULL_EM * below.em


def is_alike(line: Piece, other: Piece) -> bool:
    """True for a line of the same looks as another one, of running text."""
    return other.is_prose and other.style == line.style and abs(other.em - line.em) <= SAME_EM * line.em
