"""The rules between a table's cells: where one runs down between pieces of text, they are not one line."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Any

from renderers.pdf.cover import VECTOR_BLOCK
from renderers.pdf.frames import LEVEL, Box, Turn, turned

CELL_EM = 0.35  # from here on a gap with a rule in it parts cells; a chart's grid runs through narrower ones
WIDEST_PT = 24.0  # of the box of a line that MuPDF makes too wide
BOTH_WAYS = 3  # lines across and down, at least, whose boxes are equally thick
THICK_PT = 4.0  # wider boxes are bars and areas; MuPDF's box of a stroke is twice as wide as the stroke

Rule = tuple[float, float, float]  # u, v0, v1: where it stands along the lines, from where to where it runs


class Rules:
    """The straight rules of a page, and the sides of its outlined rectangles."""

    def __init__(self, blocks: Iterable[dict[str, Any]]) -> None:
        self.boxes: list[Box] = []  # points of the page
        wide: list[Box] = []  # stroked: outlines, or lines whose boxes are too wide
        for block in blocks:
            if block["type"] == VECTOR_BLOCK and block["alpha"] and block["isrect"]:
                x0, y0, x1, y1 = box = block["bbox"]
                if min(x1 - x0, y1 - y0) <= THICK_PT:
                    self.boxes.append(box)
                elif block["stroked"]:
                    wide.append(box)
        widths = line_widths(wide)
        for box in wide:
            width = round(thickness(box), 1)
            self.boxes += [drawn_in(box, width / 2)] if width in widths else outline(box)
        self.across: dict[Turn, list[Rule]] = {}

    def turned(self, turn: Turn) -> list[Box]:
        """The rules in the frame of `turn`; none where that is not upright."""
        if turn == LEVEL:
            return self.boxes
        return [turned(box, turn) for box in self.boxes] if 0.0 in turn else []

    def between(self, turn: Turn, last: Box, line: Box) -> bool:
        """True where a rule stands between two boxes on one base line, and is taller than both.

        The boxes are in the frame of `turn`, one of the four upright ones.
        """
        return self.crosses(turn, (last[2], min(last[1], line[1]), line[0], max(last[3], line[3])))

    def crosses(self, turn: Turn, box: Box) -> bool:
        """True where a rule runs through the box (in the frame of `turn`) from its top to its bottom."""
        if not self.boxes:
            return False
        if (rules := self.across.get(turn)) is None:
            rules = self.across[turn] = sorted(
                ((u0 + u1) / 2, v0, v1)
                for u0, v0, u1, v1 in (turned(box, turn) for box in self.boxes)
                if u1 - u0 <= min(THICK_PT, v1 - v0)
            )
        u0, v0, u1, v1 = box
        for u, top, bottom in rules[bisect_left(rules, (u0,)) :]:
            if u > u1:
                return False
            if top <= v0 and bottom >= v1:
                return True
        return False


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


def drawn_in(box: Box, by: float) -> Box:
    """The box without so much of it on all sides."""
    x0, y0, x1, y1 = box
    return min(x0 + by, x1 - by), min(y0 + by, y1 - by), max(x0 + by, x1 - by), max(y0 + by, y1 - by)


def outline(box: Box) -> list[Box]:
    """The sides of a box."""
    x0, y0, x1, y1 = box
    return [(x0, y0, x0, y1), (x1, y0, x1, y1), (x0, y0, x1, y0), (x0, y1, x1, y1)]
