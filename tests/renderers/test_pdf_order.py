from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pymupdf")

from renderers.pdf.order import reading_order
from renderers.pdf.pieces import piece_of
from renderers.pdf.render import PdfSettings, render

CASES = Path(__file__).parents[3] / "shared" / "cases" / "pdf"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="../shared/cases is not on this machine")

Spot = tuple[str, float, float, float]  # a text, where it begins, and its width


def order(spots: list[Spot], rules: list[tuple[float, ...]] = []) -> list[str]:  # noqa: B006
    """The texts in reading order; those given are in the order of content, 8 high."""
    pieces = [piece_of(i, text, (x, y, x + w, y + 8), 9.0) for i, (text, x, y, w) in enumerate(spots)]
    return [spots[i][0] for i in reading_order(pieces, rules)]  # type: ignore[arg-type]


def prose(name: str, left: float, top: float, count: int, width: float = 200) -> list[Spot]:
    return [
        (f"{name}{i} is a line of running text that fills it", left, top + 12.0 * i, width)
        for i in range(count)
    ]


def across(*columns: list[Spot]) -> list[Spot]:
    """Columns as a content has them that goes across: line by line."""
    return sorted((spot for column in columns for spot in column), key=lambda spot: (spot[2], spot[1]))


def names(spots: list[Spot]) -> list[str]:
    return [spot[0] for spot in spots]


def test_nothing_has_no_order() -> None:
    assert reading_order([]) == []


def test_a_title_goes_before_two_columns_and_a_footer_after() -> None:
    title, foot = ("A title right across the columns of the page", 0.0, 0.0, 430.0), ("7", 210.0, 200.0, 8.0)
    left, right = prose("left", 0, 30, 8), prose("right", 230, 34, 8)
    assert order([title, *across(left, right), foot]) == names([title, *left, *right, foot])


def test_columns_of_running_text_are_read_down_though_the_content_goes_across() -> None:
    columns = [prose(name, left, 0, 6) for name, left in (("a", 0), ("b", 230), ("c", 460))]
    assert order(across(*columns)) == [text for column in columns for text in names(column)]


def test_a_column_with_a_table_in_it_is_still_a_column() -> None:
    rows = [
        spot for i in range(8) for spot in ((f"k{i}", 230, 40 + 12 * i, 20), (f"{i}.5", 400, 40 + 12 * i, 20))
    ]
    left, right = prose("left", 0, 0, 20), [*prose("right", 230, 0, 3), *rows, *prose("more", 230, 150, 7)]
    assert order([*left, *right]) == names([*left, *right])


def test_a_figure_right_across_parts_columns_in_two() -> None:
    caption = ("A caption that runs right across both of the columns", 0.0, 80.0, 430.0)
    above = [prose("a", 0, 0, 4), prose("b", 230, 0, 4)]
    below = [prose("c", 0, 120, 4), prose("d", 230, 120, 4)]
    wanted = [*above[0], *above[1], caption, *below[0], *below[1]]
    assert order([*across(*above), caption, *across(*below)]) == names(wanted)


def test_a_line_that_reaches_into_the_other_column_parts_nothing() -> None:
    left, right = prose("left", 0, 0, 10), prose("right", 230, 0, 10)
    left[4] = (left[4][0], 0, 48, 240)
    assert order([*left, *right]) == names([*left, *right])


def test_a_running_header_of_two_parts_is_read_before_the_columns() -> None:
    header: list[Spot] = [("Journal of Order", 0, 0, 80), ("253", 410, 0, 20)]
    left, right = prose("left", 0, 30, 8), prose("right", 230, 30, 8)
    assert order([*left, *right, *header]) == names([*header, *left, *right])


def test_a_table_of_numbers_is_read_row_by_row_though_the_content_goes_down() -> None:
    columns: list[list[Spot]] = [[(f"{x}{y}", 100.0 * x, 20.0 * y, 30) for y in range(5)] for x in range(3)]
    down = [spot for column in columns for spot in column]
    assert order(down) == names(across(*columns))


def test_short_lines_are_read_as_the_content_has_them() -> None:
    columns: list[list[Spot]] = [
        [(f"{name} {y}", left, 14.0 * y, 50) for y in range(5)] for name, left in (("ab", 0), ("cd", 100))
    ]
    down = [spot for column in columns for spot in column]
    assert order(down) == names(down)
    assert order(across(*columns)) == names(across(*columns))


def test_drawn_rules_part_cells_and_a_wrapped_cell_is_whole() -> None:
    def cell(name: str, x: float, y: float, lines: int) -> list[Spot]:
        return [(f"{name}{i}", x + 5, y + 5 + 12 * i, 60) for i in range(lines)]

    rows = [[cell(f"{r}{c}-", 100 * c, 50 * r, 1 + (r + c) % 3) for c in range(3)] for r in range(4)]
    rules = [(0, y, 300, y + 1) for y in range(0, 201, 50)] + [(x, 0, x + 1, 200) for x in range(0, 301, 100)]
    lines = [spot for row in rows for spot in across(*row)]
    assert order(lines, rules) == [spot[0] for row in rows for one in row for spot in one]


def test_a_box_around_parts_of_rows_that_go_on_beside_it_is_no_block() -> None:
    rows: list[Spot] = [
        spot
        for i in range(6)
        for spot in (
            (f"{i}.", 0, 20.0 * i, 8),
            (f"p and q{i}", 40, 20.0 * i, 60),
            (f"by rule {i}", 200, 20.0 * i, 60),
        )
    ]
    rules = [(30, -5, 110, -4), (30, 115, 110, 116), (30, -5, 31, 116), (109, -5, 110, 116)]
    assert order(rows, rules) == names(rows)


def test_a_table_beside_a_hanging_entry_is_read_row_by_row() -> None:
    table: list[Spot] = [
        spot
        for i in range(6)
        for spot in (
            (f"E{i}", 120, 12.0 * i, 10),
            (f"Te{i}", 180, 12.0 * i, 12),
            (f"logo{i}", 240, 12.0 * i, 20),
        )
    ]
    entry: list[Spot] = [("entry", 0, 90, 50), *prose("told", 80, 90, 3, 250)]
    more: list[Spot] = [("another", 0, 140, 50), *prose("more", 80, 140, 3, 250)]
    assert order([*table, *entry, *more]) == names([*table, *entry, *more])


def test_a_drawn_box_is_read_as_one() -> None:
    left, right = prose("left", 0, 0, 12), prose("right", 230, 0, 12)
    box: list[Spot] = [(f"boxed {i}", 240, 160 + 12 * i, 60) for i in range(3)]
    more = prose("more", 0, 160, 4)
    rules = [(230, 150, 430, 151), (230, 200, 430, 201), (230, 150, 231, 201), (430, 150, 431, 201)]
    assert order(across(left, right, more, box), rules) == names([*left, *more, *right, *box])


def test_pieces_on_one_base_line_are_read_from_the_left() -> None:
    assert order([("to", 14, 0, 40), ("right", 64, 1, 6), ("left", 0, 2, 10)]) == ["left", "to", "right"]


def test_a_hostile_staircase_ends() -> None:
    pieces = [piece_of(i, "a", (i, i, i + 5, i + 5), 5) for i in range(3000)]
    assert sorted(reading_order(pieces)) == list(range(3000))


def test_hostile_rules_end() -> None:
    pieces = [piece_of(i, f"{i}", (0, 10.0 * i, 50, 10.0 * i + 8), 8) for i in range(50)]
    rules = [(0.0, float(i), 100.0, float(i)) for i in range(1400)] + [(50.0, 0.0, 50.0, 1400.0)]
    assert sorted(reading_order(pieces, rules)) == list(range(50))


def text_of(name: str, page: int) -> list[str]:
    for batch in render((CASES / name).read_bytes(), PdfSettings(max_pages=400)):
        row = batch.to_pylist()[0]
        if row["page"] == page:
            return [region["text"] for region in row["regions"]]
    raise AssertionError(f"{name} has no page {page}")


COLUMNS = [
    ("two_columns_table.pdf", 0, 1),
    ("two_columns_plain.pdf", 0, 1),
    ("miner__naacl06-shinyama.pdf", 1, 1),
    ("miner__naacl06-shinyama.pdf", 3, 1),
    ("camelot__us-023.pdf", 2, 2),
    ("camelot__us-001.pdf", 1, 3),
    ("docling__normal_4pages.pdf", 1, 2),
    ("mineru__demo3.pdf", 0, 1),
    ("pymupdf__test_open2.pdf", 1, 3),
    ("pymupdf__test_open2.pdf", 7, 3),
    ("olmocr__olmo-page-1.pdf", 0, 4),
    ("pdfjs__issue1350.pdf", 0, 9),
]


@needs_cases
@pytest.mark.parametrize(("name", "page", "most"), COLUMNS)
def test_real_columns_are_read_one_after_the_other(name: str, page: int, most: int) -> None:
    order = pytest.importorskip("benchmarks.pdf_order", exc_type=ImportError)
    document = (CASES / name).read_bytes()
    layout = order.layout_of(order.pdfium.PdfDocument(document)[page])
    assert order.jumps(order.by_ours(document, page + 1)[page], layout) <= most


@needs_cases
def test_wrapped_cells_are_read_whole() -> None:
    lines = text_of("table_wrapped_cells.pdf", 0)
    assert lines[:8] == ["Code", "Benchmark", "Finding", "Remedy", *lines[4:8]]
    assert lines[4:8] == ["Other", "The factory shall hire", "no one below the age", "of eighteen"]
    china = text_of("camelot__china.pdf", 0)
    start = china.index("Country")
    assert china[start + 1] == "China"


def test_authors_in_columns_of_their_own_stand_above_two_columns() -> None:
    authors = [(f"Author {r}{c}", 20.0 + 140 * c, 20.0 + 40 * r, 110.0) for r in range(3) for c in range(3)]
    left, right = prose("left", 0, 150, 20), prose("right", 230, 150, 20)
    found = order([*authors, *across(left, right)])
    assert found[:9] == names(authors)
    assert found[9:] == names([*left, *right])


def test_a_line_that_hangs_over_the_gutter_beside_nothing_is_its_columns() -> None:
    left, right = prose("left", 0, 0, 20), prose("right", 230, 0, 20)
    right = [spot for spot in right if spot[2] != 96]
    left[8] = (left[8][0], 0, 96, 250)
    assert order(across(left, right)) == names([*left, *right])


def test_numbers_that_hang_before_the_right_columns_headings_are_read_with_them() -> None:
    left, right = prose("left", 0, 0, 20), prose("right", 240, 0, 20)
    numbered = [
        spot
        for i, one in enumerate(right)
        for spot in ([(f"{i}", 226.0, one[2], 8.0)] * (i % 4 == 0) + [one])
    ]
    assert order([*left, *numbered]) == names([*left, *numbered])


def test_a_title_of_two_lines_beside_the_authors_is_not_parted() -> None:
    title = [
        ("A title that is long and", 120.0, 0.0, 200.0),
        ("goes on in a second line", 120.0, 12.0, 190.0),
    ]
    authors = [(f"author {i}", 0.0, 11.0 + 12 * i, 60.0) for i in range(4)]
    found = order([*title, *authors])
    assert abs(found.index(title[0][0]) - found.index(title[1][0])) == 1


def test_the_last_rows_of_a_list_are_no_footer() -> None:
    entries = [
        [(f"{name} entry number {i} of the list", x, 30.0 * i, 150.0) for i in range(8)]
        for name, x in (("left", 0.0), ("right", 230.0))
    ]
    assert order([*entries[0], *entries[1]]) == names([*entries[0], *entries[1]])


@pytest.mark.parametrize("last", [False, True])
def test_an_initial_is_read_before_the_line_at_its_top(last: bool) -> None:
    lines = [(f"line {i} of the text beside it", 40.0 if i < 3 else 0.0, 12.0 * i, 200.0) for i in range(6)]
    spots = [*lines, ("T", 0.0, 0.0, 32.0)] if last else [("T", 0.0, 0.0, 32.0), *lines]
    pieces = [
        piece_of(i, text, (x, y, x + w, y + (32 if text == "T" else 8)), 36.0 if text == "T" else 9.0)
        for i, (text, x, y, w) in enumerate(spots)
    ]
    assert [spots[i][0] for i in reading_order(pieces)] == ["T", *names(lines)]


def test_many_zones_end() -> None:
    pieces = [
        piece_of(i, "some words of running text here", (x, y, x + 180, y + 6), 6)
        for i, (x, y) in enumerate((37.0 * (k % 11), 9.0 * k) for k in range(900))
    ]
    assert sorted(reading_order(pieces)) == list(range(900))


def numbers(left: float, first: int, count: int, pitch: float = 12.0) -> list[Spot]:
    return [(f"{first + i}", left, pitch * i + 1, 8.0) for i in range(count)]


def test_numbers_of_lines_are_read_with_their_lines_though_the_content_has_them_first() -> None:
    left, right = prose("left", 30, 0, 12), prose("right", 260, 0, 12)
    ours, theirs = numbers(5, 1, 12), numbers(475, 13, 12)
    wanted = [spot for pair in zip(ours, left, strict=True) for spot in pair]
    wanted += [spot for pair in zip(right, theirs, strict=True) for spot in pair]
    assert order([*ours, *theirs, *left, *right]) == names(wanted)


def test_numbers_of_blank_lines_stay_behind_the_line_above() -> None:
    lines = [spot for i, spot in enumerate(prose("line", 30, 0, 12)) if i not in (0, 5)]
    found = order([*numbers(5, 1, 12), *lines])
    assert found[:4] == ["1", "2", lines[0][0], "3"]
    assert found[found.index("6") - 1] == lines[3][0]


def test_a_numbered_line_of_a_listing_is_read_to_its_end() -> None:
    rows = [
        spot
        for i in range(8)
        for spot in (
            (f"{i + 1}", 5.0, 12.0 * i, 8.0),
            (f"name / key {i} of the settings", 30.0, 12.0 * i, 130.0 + 7 * (3 * i % 8)),
            (f"its value {i} as it is written down", 260.0, 12.0 * i, 150.0),
        )
    ]
    assert order(rows) == names(rows)


def test_a_numbered_line_of_an_aligned_listing_is_read_to_its_end() -> None:
    rows = [
        spot
        for i in range(8)
        for spot in (
            (f"{i + 1}", 5.0, 12.0 * i, 8.0),
            *((f"[{i}{part}] = utf8.char(6434{i})", 30.0 + 170 * part, 12.0 * i, 140.0) for part in range(3)),
        )
    ]
    assert order(rows) == names(rows)


def test_a_numbered_line_of_a_column_ends_with_the_column() -> None:
    left, right = prose("left", 20, 0, 8), prose("right", 250, 0, 8)
    content = [spot for i in range(8) for spot in ((f"{i + 1}", 5.0, 12.0 * i, 8.0), left[i], right[i])]
    found = order(content)
    assert [text for text in found if len(text) > 2] == names([*left, *right])
    assert found[:2] == ["1", left[0][0]]


def test_a_list_in_two_columns_is_read_down_each_though_its_pages_stand_in_columns() -> None:
    halves = [
        [
            spot
            for i in range(6)
            for spot in (
                (f"part {name}{i}", left, 14.0 * i, 60.0),
                (f"{i // 2 + 3}", left + 150, 14.0 * i, 5.0),
            )
        ]
        for name, left in (("a", 0.0), ("b", 200.0))
    ]
    after = ("A heading below", 0.0, 100.0, 80.0)
    assert order([*halves[0], *halves[1], after]) == names([*halves[0], *halves[1], after])


def test_pages_in_a_table_of_contents_are_no_numbers_of_lines() -> None:
    pages = [7, 8, 8, 8, 9, 10, 10, 11, 12, 12, 13]
    rows = [
        spot
        for i, number in enumerate(pages)
        for spot in (
            (f"part {i}", 0.0, 14.0 * i, 60.0),
            (". . .", 70.0, 14.0 * i + 6, 30.0),
            (f"{number}", 120.0, 14.0 * i, 8.0),
        )
    ]
    assert order(rows) == names(rows)


def test_years_of_a_chart_are_no_numbers_of_lines() -> None:
    years = numbers(5, 2001, 6)
    left, right = prose("left", 120, 0, 8), prose("right", 350, 0, 8)
    assert order([*years, *left, *right]) == names([*years, *left, *right])


def test_entries_of_a_form_are_read_across_where_the_content_does() -> None:
    rows = [
        spot
        for i in range(10)
        for spot in (
            (f"a label {i} and what was written", 0.0, 18.0 * i, 110.0 + 11 * (i % 7)),
            (f"another {i} with what was written", 230.0, 18.0 * i, 110.0 + 13 * ((i + 3) % 6)),
        )
    ]
    assert order(rows) == names(rows)


def form(left: float, names: str, top: float = 0.0, pitch: float = 20.0) -> tuple[list[Spot], list[Spot]]:
    """A column of labels and one of values."""
    heights = [top + pitch * i for i in range(len(names))]
    labels = [(f"Name of {name}:", left, y, 50.0) for name, y in zip(names, heights, strict=True)]
    return labels, [(f"of {name} it is", left + 70, y, 60.0) for name, y in zip(names, heights, strict=True)]


def row_by_row(*columns: list[Spot]) -> list[str]:
    return [text for row in zip(*columns, strict=True) for text, *_ in row]


@pytest.mark.parametrize("first", [0, 1])
def test_each_label_of_a_form_is_read_with_its_value_though_the_content_has_all_labels_first(
    first: int,
) -> None:
    columns = form(0, "abcdef")
    title, end = ("Application for a permit to build", 0.0, -30.0, 200.0), prose("end", 0, 150, 4)
    assert order([title, *columns[first], *columns[1 - first], *end]) == [
        title[0],
        *row_by_row(*columns),
        *names(end),
    ]


def test_pairs_beside_each_other_are_read_row_by_row_where_the_content_goes_by_columns() -> None:
    columns = [*form(0, "abcdef"), *form(220, "uvwxyz")]
    assert order([spot for column in columns for spot in column]) == row_by_row(*columns)


def test_pairs_are_read_down_where_the_content_does() -> None:
    left, right = row_by_row(*form(0, "abcdef")), row_by_row(*form(220, "uvwxyz"))
    spots = {spot[0]: spot for column in (*form(0, "abcdef"), *form(220, "uvwxyz")) for spot in column}
    assert order([spots[text] for text in (*left, *right)]) == [*left, *right]


def test_a_value_of_several_lines_is_read_whole_beside_its_label() -> None:
    labels, values = form(0, "abcd", pitch=40)
    more = [[(f"{text} and {k}", x, y + 10 * k, w) for k in (1, 2)] for text, x, y, w in values]
    right = [
        text
        for label, value, rest in zip(labels, values, more, strict=True)
        for text, *_ in (label, value, *rest)
    ]
    assert (
        order([*labels, *(spot for pair in zip(values, more, strict=True) for spot in (pair[0], *pair[1]))])
        == right
    )


def test_long_labels_and_values_are_pairs_as_well() -> None:
    labels = [
        (f"{name} what the office asks of the applicant:", 0.0, 20.0 * i, 180.0)
        for i, name in enumerate("abcd")
    ]
    values = [
        (f"{name} what the applicant has to say about it", 210.0, 20.0 * i, 180.0)
        for i, name in enumerate("abcd")
    ]
    assert order([*labels, *values]) == row_by_row(labels, values)


def test_lines_that_end_in_a_colon_in_columns_of_running_text_are_no_labels() -> None:
    left, right = prose("left", 0, 0, 12), prose("right", 230, 0, 12)
    for k in (2, 5, 8):
        left[k] = (f"ANN {k}:", *left[k][1:3], 40.0)
    assert order(across(left, right)) == names([*left, *right])


def test_a_column_of_labels_beside_running_text_is_read_by_itself() -> None:
    labels, _ = form(0, "abcdef", pitch=24)
    right = prose("right", 70, 0, 14)
    assert order([*labels, *right]) == names([*labels, *right])


def styled(columns: list[list[Spot]], pitch: float) -> list[str]:
    """The texts of columns in reading order, whose content goes down each; every other column is bold."""
    spots = [
        (*spot, "bold" if k % 2 == 0 else "plain") for k, column in enumerate(columns) for spot in column
    ]
    pieces = [
        piece_of(i, text, (x, y * pitch, x + w, y * pitch + 8), 9.0, style)
        for i, (text, x, y, w, style) in enumerate(spots)
    ]
    return [spots[i][0] for i in reading_order(pieces)]


def test_labels_without_colons_are_told_by_their_looks_where_rows_are_set_apart() -> None:
    columns = [[(f"{name}{i}", x, float(i), 40.0) for i in range(5)] for name, x in (("a", 0.0), ("b", 80.0))]
    assert styled(columns, pitch=16) == row_by_row(*columns)
    assert styled(columns, pitch=10) == [*names(columns[0]), *names(columns[1])]


def test_a_short_list_of_contents_in_two_columns_is_read_down_each_though_text_goes_on_below() -> None:
    def entries(first: int, left: float) -> list[Spot]:
        return [
            spot
            for k in range(3)
            for spot in (
                (f"{first + k}", left, 20.0 * k, 6.0),
                (f"Chapter {first + k}", left + 14, 20.0 * k, 60.0),
                (f"{first + k + 20}", left + 140, 20.0 * k, 12.0),
            )
        ]

    left, right, below = entries(1, 0), entries(4, 180), prose("below", 10, 60, 6, width=290)
    assert order([*left, *right, *below]) == names([*left, *right, *below])


def test_a_table_whose_rules_are_drawn_for_each_row_a_little_apart_is_read_by_rows() -> None:
    cells = [(f"r{row}c{k}", 5 + 60.0 * k, 12.0 * row, 20.0) for row in range(8) for k in range(3)]
    box = [(0, -4, 180, -4), (0, 96, 180, 96), (0, -4, 0, 96), (180, -4, 180, 96), (0, 10, 180, 10)]
    down = [
        (x + row % 4 * 0.4, 12.0 * row - 4, x + row % 4 * 0.4, 12.0 * row + 8)
        for row in range(8)
        for x in (60, 120)
        if (row, x) != (5, 120)
    ]
    assert order(cells, [*box, *down]) == names(cells)


def test_all_above_a_rule_right_across_the_page_is_read_before_the_columns_below_it() -> None:
    head = [("Notice 1036", 0.0, 0.0, 60.0), ("Department of the Treasury", 240.0, 4.0, 130.0)]
    left, right = prose("left", 0, 30, 6), prose("right", 230, 30, 6)
    rule = (0.0, 20.0, 430.0, 21.0)
    assert order([head[1], *across(left, right), head[0]], [rule]) == names([*head, *left, *right])


def test_a_rule_through_a_line_or_not_right_across_parts_nothing() -> None:
    left, right = prose("left", 0, 0, 6), prose("right", 230, 0, 6)
    for rule in ((0.0, 28.0, 430.0, 28.5), (0.0, 34.0, 300.0, 34.5)):
        assert order(across(left, right), [rule]) == names([*left, *right])


def test_labels_that_no_rules_part_are_read_with_the_rows_of_the_ruled_columns_beside_them() -> None:
    rules = [(0.0, 0.0, 0.5, 60.0), *((x, 0.0, x + 0.5, 60.0) for x in (60.0, 120.0, 180.0))]
    rules += [
        (0.0, 0.0, 180.0, 0.5),
        (0.0, 60.0, 180.0, 60.5),
        *((60.0, y, 180.0, y + 0.5) for y in (12.0, 24.0, 36.0, 48.0)),
    ]
    labels: list[Spot] = [(f"label {i}", 2.0, 2.0 + 12 * i, 40.0) for i in range(5)]
    values: list[list[Spot]] = [
        [(f"{i}.{k}", 64.0 + 60 * k, 2.0 + 12 * i, 20.0) for k in range(2)] for i in range(5)
    ]
    rows = [[label, *cells] for label, cells in zip(labels, values, strict=True)]
    content = [*labels, *(cell for cells in values for cell in cells)]
    assert order(content, rules) == [text for row in rows for text in names(row)]


def test_a_wrapped_cell_beside_ruled_rows_at_other_heights_is_whole() -> None:
    rules = [(x, 0.0, x + 0.5, 60.0) for x in (0.0, 60.0, 120.0)]
    rules += [
        (0.0, 0.0, 120.0, 0.5),
        (0.0, 60.0, 120.0, 60.5),
        (60.0, 20.0, 120.0, 20.5),
        (60.0, 40.0, 120.0, 40.5),
    ]
    wrapped: list[Spot] = [(f"wrapped {i}", 2.0, 6.0 + 10 * i, 40.0) for i in range(5)]
    cells: list[Spot] = [(f"cell {i}", 64.0, 6.0 + 20 * i, 40.0) for i in range(3)]
    assert order([*wrapped, *cells], rules) == names([*wrapped, *cells])


def test_leaders_below_labels_are_read_behind_them_and_both_with_the_numbers_of_their_row() -> None:
    labels: list[Spot] = [(f"Country {i}", 0.0, 12.0 * i, 60.0) for i in range(5)]
    leaders: list[Spot] = [("." * 40 + " " * i, 0.0, 12.0 * i + 1, 150.0) for i in range(5)]
    numbers: list[list[Spot]] = [
        [(f"{i} 00{k}", 160.0 + 40 * k, 12.0 * i, 20.0) for k in range(6)] for i in range(5)
    ]
    rows = [[label, leader, *cells] for label, leader, cells in zip(labels, leaders, numbers, strict=True)]
    content = [*leaders, *(cell for cells in numbers for cell in cells), *labels]
    assert order(content) == [text for row in rows for text in names(row)]
