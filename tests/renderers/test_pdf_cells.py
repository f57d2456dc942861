"""Cells that a table's rules part, however little room there is between their texts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

pymupdf = pytest.importorskip("pymupdf")

from renderers.pdf.render import PdfSettings, render  # noqa: E402 (PyMuPDF is an extra)

ROWS = [["Jan", "Feb", "Mar"], ["100", "2 300", "41"], ["Alpha", "Be", "C1"]]


def texts(page: Any, **settings: Any) -> list[str]:
    (found,) = (
        row for batch in render(page.parent.tobytes(), PdfSettings(**settings)) for row in batch.to_pylist()
    )
    return [region["text"] for region in found["regions"]]


def new_page() -> Any:
    return pymupdf.open().new_page(width=300, height=200)


def width(text: str) -> float:
    return float(pymupdf.get_text_length(text, fontsize=12))


def frames(page: Any, xs: Sequence[float], ys: Sequence[float], whole: bool) -> None:
    """A table's rules, each drawn whole, or around each cell."""
    if whole:
        for x in xs:
            page.draw_line((x, ys[0]), (x, ys[-1]), width=0.5)
        for y in ys:
            page.draw_line((xs[0], y), (xs[-1], y), width=0.5)
        return
    for x, x1 in itertools.pairwise(xs):
        for y, y1 in itertools.pairwise(ys):
            page.draw_rect((x, y, x1, y1), width=0.5)


@pytest.mark.parametrize("turn", [0, 90])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("room", [0.4, 1.0, 2.0])
def test_cells_are_apart_at_any_gap(room: float, whole: bool, turn: int) -> None:
    page, xs = new_page(), [40.0]
    for column in zip(*ROWS, strict=True):
        xs.append(xs[-1] + max(map(width, column)) + 2 * room)
    for y, row in zip((40, 55, 70), ROWS, strict=True):
        for text, end in zip(row, xs[1:], strict=True):
            page.insert_text((end - room - width(text), y), text, fontsize=12)
    frames(page, xs, [28.0, 43.0, 58.0, 73.0], whole)
    page.set_rotation(turn)
    cells = [text for row in ROWS for text in row]
    assert texts(page) == cells
    assert texts(page, granularity="words") == " ".join(cells).split()


def test_a_grid_behind_words_parts_none() -> None:
    page = new_page()
    for k in range(6):
        page.draw_line((60 + 30 * k, 20), (60 + 30 * k, 160), width=0.5)
        page.draw_line((60, 20 + 28 * k), (210, 20 + 28 * k), width=0.5)
    labels = ["costs of the whole year in euros", "what was hoped for"]
    for k, label in enumerate(labels):  # a rule of the grid stands in a gap between words
        words = label.split(" ")
        before = pymupdf.get_text_length(" ".join(words[:2]), fontsize=9) + 1.2
        x = 90 - before
        for word in words:
            page.insert_text((x, 40 + 56 * k), word, fontsize=9)
            x += pymupdf.get_text_length(word + " ", fontsize=9)
    assert texts(page) == labels


def test_frames_around_links_part_no_words() -> None:
    page, said = new_page(), "see what was shown in [12] [13] and [14]"
    for y, start in ((40, 20.0), (53, 24.0)):
        x = start
        for text in said.split():
            width = pymupdf.get_text_length(text, fontsize=11)
            page.insert_text((x, y), text, fontsize=11)
            if text.startswith("["):
                page.draw_rect((x - 1, y - 10, x + width + 1, y + 2.5), width=0.4)
            x += width + pymupdf.get_text_length(" ", fontsize=11)
    assert texts(page) == [said, said]


def test_characters_in_a_narrow_comb_stay_together() -> None:
    page = new_page()
    page.insert_text((0, 0), " ", fontsize=12)
    (content,) = page.get_contents()
    page.parent.update_stream(content, b"BT /helv 12 Tf 3.328 Tc 40 160 Td (417410) Tj ET")
    frames(page, [38.3 + 10 * k for k in range(7)], [28.0, 43.0, 58.0], whole=True)
    assert len(texts(page)) == 1


def test_borders_that_end_aslant_are_rules() -> (
    None
):  # as browsers draw them where a table's sides differ in colour
    page, cells = new_page(), ["Name", "Amount due", "Ok"]
    for y in (40, 57):
        x = 40.0
        for text in cells:
            page.insert_text((x + 1, y), text, fontsize=12)
            x += width(text) + 3.5
    for y in (40, 57):
        x = 40.0
        for text in cells:
            end = x + width(text) + 2
            for side in (
                ((x, y - 11), (end, y - 11), (end - 1, y - 10), (x + 1, y - 10)),
                ((x, y + 4), (end, y + 4), (end - 1, y + 3), (x + 1, y + 3)),
                ((x, y - 11), (x + 0.7, y - 10), (x + 0.7, y + 3), (x, y + 4)),
                ((end, y - 11), (end - 0.7, y - 10), (end - 0.7, y + 3), (end, y + 4)),
            ):
                page.draw_polyline([*side, side[0]], fill=(0.4, 0.4, 0.4), color=None)
            x = end + 1.5
    assert texts(page) == cells * 2
