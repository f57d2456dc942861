"""Strips and columns of a page: what white bands across it and gutters down it part."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from renderers.pdf.frames import Box
from renderers.pdf.pieces import Piece

Interval = tuple[float, float]

GUTTER_EM = 0.9  # narrower white space parts words, not columns; an em is the median height of the boxes


def usual_height(pieces: Sequence[Piece]) -> float:
    """The median height of the pieces' boxes, in points: the em of sections and columns."""
    return median([p.box[3] - p.box[1] for p in pieces if p.chars] or [p.em for p in pieces]) or 1.0


def sections(strips: Sequence[list[Piece]], em: float) -> list[list[list[Piece]]]:
    """Neighbouring strips that share a gutter, together; each other strip alone."""
    out: list[list[list[Piece]]] = []
    held: list[Interval] = []  # what the boxes of the last section cover of the page's width
    bottom = 0.0
    for strip in strips:
        here = [piece.box for piece in strip]
        if out and not held and len(out[-1]) == 1 and goes_on(out[-1][0], strip):
            both = cover([piece.box for piece in (*out[-1][0], *strip)], [])
            if len(parted(both, em)) > 1:
                out[-1].append(strip)
                held, bottom = both, max(box[3] for box in here)
                continue
        if len(here) == 1 and not held:
            out.append([strip])
            bottom = here[0][3]
            continue
        shared = cover(here, held) if len(held) > 1 else held
        near = min(box[1] for box in here) - bottom < 3 * em
        if len(parted(shared, em)) > 1 and (near or len(parted(cover(here, []), em)) > 1):
            out[-1].append(strip)
            held = shared
        else:
            out.append([strip])
            held = cover(here, [])
            held = held if len(parted(held, em)) > 1 else []  # without a gutter there is none to share
        bottom = max(box[3] for box in here)
    return out


def goes_on(last: Sequence[Piece], strip: Sequence[Piece]) -> bool:
    """True where a line alone in its strip is the first of a block that goes on in the next: a title in two lines."""
    (line,) = last if len(last) == 1 else (None,)
    return line is not None and any(
        piece.rank == line.rank + 1
        and abs(piece.em - line.em) < 0.1 * line.em
        and abs(piece.box[0] - line.box[0]) < 0.5 * line.em
        and piece.box[1] - line.box[3] < 0.8 * line.em
        for piece in strip
    )


def cover(boxes: Sequence[Box], held: Sequence[Interval]) -> list[Interval]:
    """The union of the boxes' widths and of `held`, as disjoint intervals from the left."""
    if len(boxes) == 1 and not held:
        return [(boxes[0][0], boxes[0][2])]
    out: list[Interval] = []
    for start, end in sorted([*held, *((box[0], box[2]) for box in boxes)]):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def parted(covered: Sequence[Interval], em: float) -> list[Interval]:
    """The intervals, with those that no gutter parts made one."""
    out: list[Interval] = []
    for start, end in covered:
        if out and start - out[-1][1] < GUTTER_EM * em:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def columns(pieces: Sequence[Piece], em: float) -> list[list[Piece]]:
    """The pieces in groups between which gutters run down, from the left."""
    spans = parted(cover([piece.box for piece in pieces], []), em) if len(pieces) > 1 else []
    if len(spans) < 2:
        return [list(pieces)]
    return [[piece for piece in pieces if start <= piece.box[0] <= end] for start, end in spans]
