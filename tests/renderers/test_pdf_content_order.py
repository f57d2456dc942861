"""Pages whose geometry leaves the order open: the content decides, where a person may read it so."""

from __future__ import annotations

import pytest

pytest.importorskip("pymupdf")

from renderers.pdf.order import reading_order
from renderers.pdf.pieces import piece_of

Line = tuple[str, float, float, float]  # a text, where it begins, and its width


def order(lines: list[Line]) -> list[str]:
    """The texts in reading order; those given are in the order of content, 8 high."""
    pieces = [piece_of(i, text, (x, y, x + w, y + 8), 9.0) for i, (text, x, y, w) in enumerate(lines)]
    return [lines[i][0] for i in reading_order(pieces)]


def block(name: str, left: float, top: float, count: int, width: float = 80) -> list[Line]:
    """Short lines below each other."""
    return [(f"{name} {i}", left, top + 11.0 * i, width - 7.0 * (i % 3)) for i in range(count)]


def prose(name: str, left: float, top: float, count: int, width: float = 200) -> list[Line]:
    return [
        (f"{name}{i} is a line of running text that fills it", left, top + 11.0 * i, width)
        for i in range(count)
    ]


def texts(*blocks: list[Line]) -> list[str]:
    return [text for lines in blocks for text, *_ in lines]


@pytest.mark.parametrize("gap", [6, 12, 30])
@pytest.mark.parametrize("list_first", [True, False])
def test_tiles_beside_a_list_are_read_one_by_one(gap: float, list_first: bool) -> None:
    left = 0.0 if list_first else 2 * (80 + gap)
    start = 80 + gap if list_first else 0.0
    entries = block("entry", left, 0, 12)
    tiles = [
        block(f"tile {r}{c}", start + c * (80 + gap), 40.0 * r, 2 + (r + c) % 2)
        for r in range(3)
        for c in range(2)
    ]
    content = [entries, *tiles] if list_first else [*tiles, entries]
    assert order([line for lines in content for line in lines]) == texts(*content)


@pytest.mark.parametrize("count", [2, 3])
def test_addresses_side_by_side_are_read_one_by_one_above_others(count: int) -> None:
    rows = [
        [block(f"{name}{k}", 100.0 * k, top, 5) for k in range(count)] for name, top in (("a", 0), ("b", 70))
    ]
    addresses = [address for row in rows for address in row]
    assert order([line for lines in addresses for line in lines]) == texts(*addresses)


def test_a_table_below_two_columns_and_a_sidebar_is_read_after_these() -> None:
    columns = prose("left", 0, 0, 20), prose("right", 215, 0, 20), block("aside", 430, 0, 18)
    table = [(f"cell {r}{c}", 130.0 * c, 240.0 + 14 * r, 50.0) for r in range(5) for c in range(4)]
    content = [*columns, table]
    assert order([line for lines in content for line in lines]) == texts(*content)


def test_wrapped_cells_that_no_rules_part_are_read_whole() -> None:
    counts = [[1, 3, 2], [2, 1, 3], [3, 2, 1], [2, 2, 3]]
    cells = [
        prose(f"c{r}{c}-", 170.0 * c, 36.0 * r, count, width=150)
        for r, row in enumerate(counts)
        for c, count in enumerate(row)
    ]
    assert order([line for cell in cells for line in cell]) == texts(*cells)


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_running_header_and_footer_are_read_at_their_places_wherever_the_content_has_them(
    place: str,
) -> None:
    header: list[Line] = [("A Journal", 0, -40, 40), ("447", 400, -40, 12)]
    footer: list[Line] = [("www.journal.com", 150, 320, 60)]
    body = [
        block("list", 0, 0, 8),
        *(block(f"tile {k}", 90.0 + 90 * (k % 3), 50.0 * (k // 3), 3) for k in range(6)),
    ]
    lines = [line for part in body for line in part]
    content = [*footer, *header, *lines] if place == "first" else [*lines, *footer, *header]
    assert order(content) == texts(header, *body, footer)


def test_a_footer_that_the_content_has_after_the_left_column_comes_last() -> None:
    left, right, footer = block("left", 0, 0, 8), block("right", 120, 0, 8), [("a footer", 0.0, 400.0, 60.0)]
    assert order([*left, *footer, *right]) == texts(left, right, footer)


def test_big_numbers_above_their_labels_are_read_with_them() -> None:
    cards = [[(f"{k}0%", 100.0 * k, 0.0, 30.0), *block(f"label {k}", 100.0 * k, 14, 2)] for k in range(1, 5)]
    assert order([line for card in cards for line in card]) == texts(*cards)


def test_a_content_that_comes_back_to_a_text_it_left_is_not_followed() -> None:
    left, right = prose("left", 0, 0, 6), prose("right", 230, 0, 6)
    content = [line for pair in zip(left, right, strict=True) for line in pair]
    assert order(content) == texts(left, right)
