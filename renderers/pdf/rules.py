"""The rules between a table's cells: where one runs down between pieces of text, they are not one line."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

from renderers.pdf.cover import VECTOR_BLOCK
from renderers.pdf.frames import LEVEL, Box, Turn, turned

CELL_EM = 0.35  # from here on a gap with a rule in it parts cells; a chart's grid runs through narrower ones
THICK_PT = 4.0  # wider boxes are bars and areas; MuPDF's box of a stroke is twice as wide as the stroke

Rule = tuple[float, float, float]  # u, v0, v1: where it stands along the lines, from where to where it runs


class Rules:
    """The straight rules of a page, and the sides of its outlined rectangles."""

    def __init__(self, blocks: Iterable[dict[str, Any]]) -> None:
        self.boxes: list[Box] = []  # points of the page
        for block in blocks:
            if block["type"] == VECTOR_BLOCK and block["alpha"] and block["isrect"]:
                x0, y0, x1, y1 = box = block["bbox"]
                if min(x1 - x0, y1 - y0) <= THICK_PT:
                    self.boxes.append(box)
                elif block["stroked"]:
                    self.boxes += [(x0, y0, x0, y1), (x1, y0, x1, y1), (x0, y0, x1, y0), (x0, y1, x1, y1)]
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
