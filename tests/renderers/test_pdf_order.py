from __future__ import annotations

import random

from renderers.pdf.order import reading_order


def lines(
    left: float, top: float, count: int, width: float = 200, pitch: float = 12
) -> list[tuple[float, ...]]:
    return [(left, top + i * pitch, left + width, top + i * pitch + 8) for i in range(count)]


def order(boxes: list[tuple[float, ...]]) -> list[int]:
    """The order found, whatever order the boxes came in."""
    found = reading_order(boxes)
    shuffled = list(range(len(boxes)))
    random.Random(0).shuffle(shuffled)
    again = [shuffled[i] for i in reading_order([boxes[i] for i in shuffled])]
    assert again == found
    return found


def test_nothing_has_no_order() -> None:
    assert reading_order([]) == []


def test_a_title_goes_before_two_columns_and_a_footer_after() -> None:
    boxes = [(0, 0, 430, 10), *lines(0, 30, 8), *lines(230, 34, 8), (0, 200, 430, 208)]
    assert order(boxes) == list(range(len(boxes)))


def test_columns_that_share_base_lines_are_still_columns() -> None:
    boxes = [*lines(0, 0, 6), *lines(230, 0, 6), *lines(460, 0, 6)]
    assert order(boxes) == list(range(18))


def test_a_figure_right_across_parts_columns_in_two() -> None:
    boxes = [*lines(0, 0, 4), *lines(230, 0, 4), (0, 60, 430, 68), *lines(0, 80, 4), *lines(230, 80, 4)]
    assert order(boxes) == list(range(17))


def test_a_table_of_short_cells_is_read_row_by_row() -> None:
    boxes = [(x, 20.0 * y, x + 30, 20.0 * y + 8) for y in range(5) for x in (0, 100, 200)]
    assert order(boxes) == list(range(15))


def test_pieces_on_one_base_line_are_read_from_the_left() -> None:
    assert order([(0, 2, 10, 8), (14, 0, 60, 8), (64, 5, 70, 8)]) == [0, 1, 2]


def test_a_hostile_staircase_ends() -> None:
    boxes = [(i, i, i + 5, i + 5) for i in range(3000)]
    assert sorted(reading_order(boxes)) == list(range(3000))
