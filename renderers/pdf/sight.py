"""What a person can see of a page's lines: judged on the pixels of the rendered page.

Two tests. Text without contrast to what lies right around it is not to be seen: white on white, clipped away,
under a filled shape. Text that something was painted over, or that stands in its own colour, is searched for
in the difference between the page and the same page drawn without its text, character by character.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np

from renderers.pdf.cover import Layers, Shapes, under_images, under_shapes
from renderers.pdf.frames import Box, Quads, View, turned
from renderers.pdf.line import Line
from renderers.pdf.lines import page_lines
from renderers.pdf.mupdf import pymupdf
from renderers.pdf.pixels import CONTRAST, Area, Mask, Picture, Pixels, Points, contrast, sample, share_of
from renderers.pdf.plain import with_glyphs

AROUND_PX = 2.0  # how far beyond a box its background is looked for
ALONG, ACROSS = 20, 3  # points first tried in each line
CLOSER = 4  # times as many each way are tried where those show nothing
DROWNED = 0.6  # of a line's points in its own colour: more than its ink
CLOSELY = 8  # points each way tried in a character
THIN_EM = 0.05  # narrower boxes show nothing
BATCH = 2000  # characters tried at a time
MAX_POINTS = 1000  # looked at each way in a quad where the first points show nothing


def seen(
    lines: Sequence[Line],
    display: pymupdf.DisplayList,
    text: pymupdf.TextPage,
    picture: Picture,
    shapes: Shapes,
    drawn: Layers,
) -> list[Line]:
    """The lines, or what of them can be seen, in the order given."""
    if not lines:
        return []
    quads = picture.view.quads([line.box for line in lines], [line.turn for line in lines], AROUND_PX)
    points = sample(picture.pixels, quads, ALONG, ACROSS)
    plain = stands_out(picture.pixels, quads, points)
    doubt = plain & (
        np.array([line.doubtful for line in lines])
        | (share_of(np.array([line.colour for line in lines]), points) > DROWNED)
        | under_shapes(quads, np.array([line.painted for line in lines]), shapes, picture)
        | under_images(quads, display, drawn, picture.view)
    )
    doubt &= ~np.array([line.patterned for line in lines])
    kept: list[list[Line]] = [[line] if shows else [] for line, shows in zip(lines, plain, strict=True)]
    if doubt.any():
        at = np.flatnonzero(doubt).tolist()
        page: Box = tuple(display.rect)
        spelt_out = (lines[i] if lines[i].glyphs else with_glyphs(lines[i], text, page) for i in at)
        doubtful = [line for line in spelt_out if line is not None]
        if len(doubtful) < len(at):
            return seen(page_lines(display, text), display, text, picture, shapes, drawn)
        area = area_of(quads[at], picture.view)
        bare = Picture(display, picture.view.scale, colour=picture.colour, text=False, area=area)
        for i, runs in zip(at, looked_at(doubtful, picture, bare), strict=True):
            kept[i] = runs
    return [line for runs in kept for line in runs]


def area_of(quads: Quads, view: View) -> Area:
    """The area of the page that the quads lie in, as far as the view shows it; at least a pixel."""
    corners = quads.reshape(-1, 2).clip(0, view.size) + view.origin
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    x0, y0, x1, y1 = (int(side) for side in (*low, *np.maximum(high, low + 1)))
    return x0, y0, x1, y1


def stands_out(pixels: Pixels, quads: Quads, points: Points) -> Mask:
    """True for each quad with some contrast in it; a few `points` decide most, all points the others (N)."""
    plain = contrast(points) >= CONTRAST
    rest = np.flatnonzero(~plain)
    if len(rest):
        plain[rest] = contrast(sample(pixels, quads[rest], CLOSER * ALONG, CLOSER * ACROSS)) >= CONTRAST
    for i in np.flatnonzero(~plain):
        along, across = (int(np.hypot(*(quads[i, k] - quads[i, 0]))) + 1 for k in (1, 3))
        points = sample(pixels, quads[i : i + 1], min(along, MAX_POINTS), min(across, MAX_POINTS))
        plain[i] = contrast(points)[0] >= CONTRAST
    return plain


def looked_at(lines: Sequence[Line], picture: Picture, bare: Picture) -> Iterator[list[Line]]:
    """For each line the runs of its characters that are missing from the picture without text."""
    boxes = [turned(glyph["bbox"], line.axis) for line in lines for glyph in inked(line)]
    turns = [line.turn for line in lines for _ in inked(line)]
    quads = picture.view.quads(boxes, turns)
    batches = [differs(picture, bare, quads[i : i + BATCH]) for i in range(0, len(quads), BATCH)]
    shown = iter(np.concatenate(batches).tolist())
    for line in lines:
        hidden = hidden_glyphs(line, [next(shown) for _ in inked(line)])
        yield [line.of(run) for run in runs_without(hidden, line)] if hidden else [line]


def inked(line: Line) -> list[Any]:
    """The line's glyphs but for white space."""
    return [glyph for glyph in line.glyphs if not glyph["c"].isspace()]


def differs(picture: Picture, bare: Picture, quads: Quads) -> Mask:
    """True for each quad in which the two pictures are not the same (N)."""
    there = quads + picture.view.origin
    ours, theirs = (
        sample(p.pixels, there - p.view.origin, CLOSELY, CLOSELY).astype(np.int16) for p in (picture, bare)
    )
    return np.asarray(abs(ours - theirs).max(axis=(0, 2)) >= CONTRAST)


def hidden_glyphs(line: Line, shown: list[bool]) -> set[int]:
    """The `id` of each glyph that is hidden together with another one beside it.

    One alone is a glyph too thin for the points tried. Later letters of a ligature have boxes without width:
    they go with the first.
    """
    glyphs = inked(line)
    for i, glyph in enumerate(glyphs):
        u0, _, u1, _ = turned(glyph["bbox"], line.axis)
        if i and u1 - u0 < THIN_EM * line.size:
            shown[i] = shown[i - 1]
    beside = [True, *shown, True] if len(shown) > 1 else [False, *shown, False]
    return {id(g) for i, g in enumerate(glyphs) if not shown[i] and not (beside[i] and beside[i + 2])}


def runs_without(hidden: Container[int], line: Line) -> list[list[Any]]:
    """The line's glyphs but for the hidden ones (by `id`), in the runs between those."""
    runs: list[list[Any]] = [[]]
    for glyph in line.glyphs:
        if id(glyph) in hidden:
            runs.append([])
        else:
            runs[-1].append(glyph)
    return [run for run in runs if any(not glyph["c"].isspace() for glyph in run)]
