"""Cells of several lines and boxes beside a text, where the content or the boxes alone would part them."""

from __future__ import annotations

import pytest

pytest.importorskip("pymupdf")

from renderers.pdf.order import reading_order
from renderers.pdf.pieces import piece_of

Spot = tuple[str, float, float, float]  # a text, where it begins, and its width


def order(spots: list[Spot], style: str = "") -> list[str]:
    """The texts in reading order; `spots` are in the order of content, 8 high. `style` is that of texts with #."""
    pieces = [
        piece_of(i, text, (x, y, x + w, y + 8), 9.0, style if "#" in text else "")
        for i, (text, x, y, w) in enumerate(spots)
    ]
    return [spots[i][0] for i in reading_order(pieces)]


def rows(*table: tuple[str, ...], gap: float = 16) -> list[Spot]:
    """A table of 12 points a line, its lines from the top; `|` parts a cell's lines, `gap` more parts its rows."""
    spots: list[Spot] = []
    top = 0.0
    for row in table:
        cells = [cell.split("|") for cell in row]
        spots += [
            (t, 110.0 * k, top + 12 * n, 90) for k, cell in enumerate(cells) for n, t in enumerate(cell) if t
        ]
        top += 12 * max(map(len, cells)) + gap
    return sorted(spots, key=lambda spot: (spot[2], spot[1]))


def whole(*table: tuple[str, ...]) -> list[str]:
    return [text for row in table for cell in row for text in cell.split("|") if text]


def test_wrapped_cells_that_the_content_has_line_by_line_are_read_whole() -> None:
    table = [
        ("Part", "What to do", "When"),
        ("Battery", "replace it when|the charge falls|below a half", "yearly|or sooner"),
        ("Filter", "rinse it with|warm water", "monthly"),
        ("Belt|(rear)", "check it for|cracks along|its inner side", "twice a year"),
    ]
    assert order(rows(*table)) == whole(*table)


@pytest.mark.parametrize("first", ["Fruit|Nuts|Roots", "Fruit"])
def test_rows_that_stand_in_groups_are_read_row_by_row(first: str) -> None:
    spots = rows(*[(f"{k} {first}", f"a{k}|b{k}|c{k}", f"x{k}|y{k}|z{k}") for k in range(3)])
    assert order(spots) == [spot[0] for spot in spots]


def test_wrapped_cells_as_near_as_rows_are_read_row_by_row() -> None:
    spots = rows(("one", "two|three", "four"), ("five", "six|seven", "eight"), gap=2)
    assert order(spots) == [spot[0] for spot in spots]


def running(name: str, top: float, count: int, width: float) -> list[Spot]:
    return [(f"{name}{k} of a text that runs on and on", 0, top + 12.0 * k, width) for k in range(count)]


def test_a_box_that_a_text_runs_around_is_read_before_the_paragraph() -> None:
    last = ("The short last line of a paragraph", 0.0, 0.0, 150.0)
    beside, below = running("beside", 24, 8, 200), running("below", 120, 3, 330)
    aside = [(f"fact {k} #", 230.0, 26 + 13.0 * k, 90.0) for k in range(6)]
    found = order([last, *beside, *aside, *below], style="bold")
    assert found == [spot[0] for spot in (last, *aside, *beside, *below)]


def test_a_widely_set_paragraph_is_read_from_its_indented_line_on_behind_the_box_that_parts_it() -> None:
    last = ("The short last line of a paragraph", 0.0, 0.0, 150.0)
    first = ("first of a text that runs on and on", 15.0, 16.0, 315.0)
    wide = [(f"wide{k} of a text that runs on and on", 0.0, 32 + 16.0 * k, 330.0) for k in range(2)]
    beside = [(f"beside{k} of a text that runs on", 0.0, 64 + 16.0 * k, 200.0) for k in range(4)]
    below = [(f"below{k} of a text that runs on and on", 0.0, 128 + 16.0 * k, 330.0) for k in range(2)]
    aside = [(f"fact {k} #", 230.0, 66 + 13.0 * k, 90.0) for k in range(4)]
    found = order([last, first, *wide, *beside, *aside, *below], style="bold")
    assert found == [spot[0] for spot in (last, *aside, first, *wide, *beside, *below)]


def test_a_second_column_of_the_text_is_no_box_beside_it() -> None:
    beside, below = running("beside", 0, 8, 200), running("below", 96, 3, 430)
    column = [(f"column {k} of a text that runs on and on", 230.0, 12.0 * k, 200.0) for k in range(8)]
    assert order([*beside, *column, *below]) == [spot[0] for spot in (*beside, *column, *below)]


def test_what_stands_on_the_line_itself_is_no_box_beside_it() -> None:
    lines = running("line", 0, 3, 200)
    rest = ("and the rest", 205.0, 24.0, 80.0)
    below = running("below", 36, 2, 330)
    assert order([*lines, rest, *below]) == [spot[0] for spot in (*lines, rest, *below)]


def test_many_boxes_beside_a_text_end() -> None:
    lines = [(f"{k} of a text that runs on", 0.0, 12.0 * k, 150.0) for k in range(1500)]
    spots = [spot for line in lines for spot in (line, ("#", 200.0, line[2], 9.0))]
    assert len(order(spots, style="bold")) == len(spots)
