from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.html.page_cuts import HtmlLine, cut_pages, on_page, region, tighten, with_initial
from renderers.html.quads import overlapping

TALL = 400  # px, the tallest page


def line(y: float, height: float = 20, x: float = 0, width: float = 100, flow: str = "level") -> HtmlLine:
    return HtmlLine("text", x, y, width, height, height / 1.2, flow)


lines = st.builds(line, st.floats(0, 5000), st.floats(1, 60), st.sampled_from([0.0, 300.0]))


@settings(max_examples=300, deadline=None)
@given(st.lists(lines, max_size=120), st.floats(0, 60))
def test_every_line_is_whole_on_one_page_and_hidden_wherever_else_it_would_be_seen(
    found: list[HtmlLine], below: float
) -> None:
    height = max((one.y + one.height for one in found), default=0) + below
    cuts = list(cut_pages(found, set(range(len(found))), height, TALL, 10_000))
    shown = [number for cut in cuts for number in cut.lines]
    assert sorted(shown) == list(range(len(found)))
    for cut in cuts:
        assert 0 < cut.height <= TALL
        assert cut.lines
        for number, one in enumerate(found):
            inside = cut.y <= one.y and one.y + one.height <= cut.y + cut.height
            touched = one.y < cut.y + cut.height and one.y + one.height > cut.y
            assert not (number in cut.lines and not inside)
            assert not touched or (number in cut.lines) != (number in cut.hidden)
    assert [cut.y for cut in cuts] == sorted(cut.y for cut in cuts)


def test_a_page_ends_above_a_line_that_it_would_halve() -> None:
    first, second = cut_pages([line(30.0 * i) for i in range(20)], set(range(20)), 600, TALL, 9)
    assert (first.y, first.height) == (0, 390)
    assert (second.y, second.height) == (390, 210)


def test_a_line_between_one_that_is_cut_and_the_cut_is_shown_once() -> None:
    found = [line(150.0 * i, height=190, x=300.0 * (i % 2)) for i in range(8)] + [line(380, height=10, x=600)]
    shown = [number for cut in cut_pages(found, set(range(9)), 1300, TALL, 9) for number in cut.lines]
    assert sorted(shown) == list(range(9))


def test_the_last_image_of_a_long_page_is_not_a_sliver() -> None:
    first, second = cut_pages([line(20.0 * i) for i in range(21)], set(range(21)), 420, TALL, 9)
    assert (first.height, second.y, second.height) == (320, 320, 100)


def test_blank_stretches_make_no_pages() -> None:
    first, second = cut_pages([line(10), line(5000)], {0, 1}, 5040, TALL, 9)
    assert first.lines == (0,)
    assert (second.y, second.lines) == (4940, (1,))  # 100 px above the page's end, so that it is no sliver


def test_a_line_taller_than_a_page_is_hidden_and_ends_nothing() -> None:
    found = [line(10), line(100, height=900), line(1200)]
    cuts = list(cut_pages(found, {0, 1, 2}, 1300, TALL, 9))
    assert [number for cut in cuts for number in cut.lines] == [0, 2]
    assert all(1 in cut.hidden for cut in cuts if cut.y < 1000)


def test_lines_written_over_each_other_are_found() -> None:
    assert overlapping([line(0), line(5), line(40), line(40, x=90)]) == {0, 1}


def test_a_chinese_font_s_box_is_drawn_in_to_its_ink() -> None:
    tight = tighten(HtmlLine("字", 0, 100, 16, 23.2, 16, "level"))
    assert abs(tight.height - 1.24 * 16) < 0.01
    assert abs(tight.y + tight.height / 2 - 111.6) < 0.01


def test_a_column_begins_where_its_letters_are_read_from() -> None:
    (cut,) = cut_pages([line(0, 100, 50, 20)], {0}, 120, TALL, 1)
    for flow, first in (("mixed", 1), ("down", 1), ("upright", 0), ("up", 3)):
        quad = [50, 0, 70, 0, 70, 100, 50, 100]
        assert region(line(0, 100, 50, 20, flow), cut, 200, 1).quad == (
            *quad[2 * first :],
            *quad[: 2 * first],
        )


def test_no_cut_parts_the_large_first_letter_of_a_line_near_the_end_of_a_page() -> None:
    first = replace(line(TALL - 30), reach=(TALL - 30, TALL + 30))
    found = [line(30.0 * i) for i in range(12)] + [first, line(TALL + 5, x=60), line(TALL + 40)]
    boxes = [with_initial(one) for one in found]
    upper, lower = cut_pages(boxes, set(range(len(found))), 900, TALL, 9)
    assert upper.height <= first.y
    assert lower.lines[0] == 12


def test_a_line_whose_font_reaches_beyond_the_upper_edge_begins_there() -> None:
    assert (on_page(line(-4, 40)).y, on_page(line(-4, 40)).height) == (0, 36)
    assert on_page(line(7)) == line(7)
