"""The rules between a table's cells: where one runs down between pieces of text, they are not one line."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from renderers.pdf.cover import VECTOR_BLOCK
from renderers.pdf.frames import LEVEL, Box, Turn, turned
from renderers.pdf.grids import TOUCH_PT, grids_of

CELL_EM = 0.35  # from here on a gap with any rule in it parts cells
TIGHT_EM = 0.05  # and from here on with a table's: letters of a word stand closer
THROUGH_EM = 0.1  # a rule so far inside a character runs through it
LONG = 6  # times as long as thick
ROWS_EM = 1.9  # of a table's rule: two rows; the frame of a link is lower
SAME_PT = 1.5  # rules so near each other are one
THROUGH = 0.25  # of the rules of a grid: where so many run through characters it is a chart's
WIDEST_PT = 24.0  # of the box of a line that MuPDF makes too wide
BOTH_WAYS = 3  # lines across and down, at least, whose boxes are equally thick
THICK_PT = 4.0  # wider boxes are bars and areas; MuPDF's box of a stroke is twice as wide as the stroke

Rule = tuple[float, float, float]  # u, v0, v1: where it stands along the lines, from where to where it runs


class Rules:
    """The straight rules of a page, and the sides of its outlined rectangles."""

    def __init__(self, blocks: Sequence[dict[str, Any]]) -> None:
        self.blocks = blocks
        self.boxes: list[Box] = []  # points of the page
        wide: list[Box] = []  # stroked: outlines, or lines whose boxes are too wide
        for block in blocks:
            if block["type"] != VECTOR_BLOCK or not block["alpha"]:
                continue
            box = block["bbox"]
            if thickness(box) <= THICK_PT and (block["isrect"] or is_long(box)):
                self.boxes.append(box)
            elif block["isrect"] and block["stroked"]:
                wide.append(box)
        widths = line_widths(wide)
        for box in wide:
            width = round(thickness(box), 1)
            self.boxes += [drawn_in(box, width / 2)] if width in widths else outline(box)
        self.across: dict[Turn, list[Rule]] = {}
        self.walls: dict[Turn, list[Rule]] = {}

    def turned(self, turn: Turn) -> list[Box]:
        """The rules in the frame of `turn`; none where that is not upright."""
        if turn == LEVEL:
            return self.boxes
        return [turned(box, turn) for box in self.boxes] if 0.0 in turn else []

    def part(self, turn: Turn, last: Box, line: Box, em: float) -> bool:
        """True where a rule between two boxes on one base line makes them cells, however near each other.

        The boxes are in the frame of `turn`, one of the four upright ones. The rule is taller than both.
        """
        gap = last[2], min(last[1], line[1]), line[0], max(last[3], line[3])
        wide = gap[2] - gap[0]
        if wide > CELL_EM * em:
            return self.crosses(turn, gap)
        return wide >= TIGHT_EM * em and self.walled(turn, gap, em)

    def crosses(self, turn: Turn, box: Box) -> bool:
        """True where a rule runs through the box (in the frame of `turn`) from its top to its bottom."""
        if not self.boxes:
            return False
        if (rules := self.across.get(turn)) is None:
            rules = self.across[turn] = upright_rules(self.turned(turn))
        return runs_through(rules, box)

    def walled(self, turn: Turn, box: Box, em: float) -> bool:
        """True where a rule between a table's cells, two rows high or more, runs through the box from top to bottom."""
        if not self.boxes:
            return False
        if (walls := self.walls.get(turn)) is None:
            walls = self.walls[turn] = self.find_walls(turn)
        return runs_through(walls, box, ROWS_EM * em)

    def find_walls(self, turn: Turn) -> list[Rule]:
        """The rules within grids that run through no characters, as a chart's do now and then, each whole.

        Characters are known only where the blocks are those of a raw dictionary.
        """
        boxes = [
            turned(glyph["bbox"], turn)
            for block in self.blocks
            for raw in block.get("lines", ())
            for span in raw["spans"]
            for glyph in span.get("chars", ())
            if not glyph["c"].isspace()
        ]
        drawn = np.array(sorted(boxes), np.float64).reshape(-1, 4)
        found: list[Rule] = []
        for grid in grids_of(self.turned(turn)):
            left, _, right, _ = grid.box
            rules = whole_rules(upright_rules((u0, v0, u1, v1) for u0, v0, u1, v1 in grid.down.tolist()))
            clear = [rule for rule in rules if not stands_on(rule, drawn)]
            if len(rules) - len(clear) < THROUGH * len(rules):
                found += [rule for rule in clear if left + SAME_PT < rule[0] < right - SAME_PT]
        return sorted(found)


def upright_rules(boxes: Iterable[Box]) -> list[Rule]:
    """Those of the rules' boxes that run down, from the left."""
    return sorted(((u0 + u1) / 2, v0, v1) for u0, v0, u1, v1 in boxes if u1 - u0 <= min(THICK_PT, v1 - v0))


def whole_rules(rules: Sequence[Rule]) -> list[Rule]:
    """The rules, from the left, with those that go on below each other, as cells have them, made one."""
    out: list[Rule] = []
    groups: list[list[Rule]] = []
    for rule in rules:
        if groups and rule[0] - groups[-1][0][0] <= SAME_PT:
            groups[-1].append(rule)
        else:
            groups.append([rule])
    for group in groups:
        held: list[Rule] = []
        middle = (group[0][0] + group[-1][0]) / 2  # of the sides of two cells
        for _, top, bottom in sorted(group, key=lambda rule: rule[1]):
            if held and top - held[-1][2] <= TOUCH_PT:
                held[-1] = middle, held[-1][1], max(bottom, held[-1][2])
            else:
                held.append((middle, top, bottom))
        out += held
    return out


def runs_through(rules: Sequence[Rule], box: Box, least: float = 0.0) -> bool:
    """True where one of the rules, in order, of a length of `least`, runs through the box from top to bottom."""
    u0, v0, u1, v1 = box
    for u, top, bottom in rules[bisect_left(rules, (u0,)) :]:
        if u > u1:
            return False
        if top <= v0 and bottom >= v1 and bottom - top >= least:
            return True
    return False


def stands_on(rule: Rule, drawn: npt.NDArray[np.float64]) -> bool:
    """True where the rule runs through a character: `drawn` are their boxes, from the left (N × 4)."""
    u, top, bottom = rule
    widest = (drawn[:, 2] - drawn[:, 0]).max(initial=0.0)
    start, end = np.searchsorted(drawn[:, 0], (u - widest, u))
    near = drawn[start:end]
    inset = THROUGH_EM * (near[:, 3] - near[:, 1])
    within = (near[:, 0] + inset < u) & (u < near[:, 2] - inset)
    return bool((within & (near[:, 1] > top) & (near[:, 3] < bottom)).any())


def line_widths(boxes: Iterable[Box]) -> set[float]:
    """Which of the thicknesses of stroked boxes (points, to a tenth) are those of lines.

    MuPDF widens a line's box by the line's width before the page's scale is applied to it, so hairlines of a page
    that is drawn ten times as large have boxes ten points wide. Such boxes lie both across and down with one and
    the same thickness; outlines do not.
    """
    across, down = Counter[float](), Counter[float]()
    for box in boxes:
        width = thickness(box)
        if width <= WIDEST_PT and max(box[2] - box[0], box[3] - box[1]) > 1.2 * width:
            (across if box[2] - box[0] > width else down)[round(width, 1)] += 1
    return {width for width, count in across.items() if min(count, down[width]) >= BOTH_WAYS}


def thickness(box: Box) -> float:
    """The shorter side of a box."""
    return min(box[2] - box[0], box[3] - box[1])


def is_long(box: Box) -> bool:
    """True for a box so long that any shape in it is a line: a border's side that ends aslant, say."""
    return max(box[2] - box[0], box[3] - box[1]) >= LONG * thickness(box)


def drawn_in(box: Box, by: float) -> Box:
    """The box without so much of it on all sides."""
    x0, y0, x1, y1 = box
    return min(x0 + by, x1 - by), min(y0 + by, y1 - by), max(x0 + by, x1 - by), max(y0 + by, y1 - by)


def outline(box: Box) -> list[Box]:
    """The sides of a box."""
    x0, y0, x1, y1 = box
    return [(x0, y0, x0, y1), (x1, y0, x1, y1), (x0, y0, x1, y0), (x0, y1, x1, y1)]
