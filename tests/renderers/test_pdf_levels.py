"""A small label and a big number beside it at another height: lines of their own, though MuPDF joins them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

pymupdf = pytest.importorskip("pymupdf")

from renderers.pdf.render import PdfSettings, render  # noqa: E402 (PyMuPDF is an extra)

Run = tuple[str, float, float]  # a text, its size, and how far its base line is below the first one's


def lines_of(runs: Sequence[Run], rotate: int = 0, **settings: str) -> list[str]:
    """The lines of a page on which the runs stand one right after the other."""
    pdf = pymupdf.open()
    page = pdf.new_page(width=500, height=200)
    x = 40.0
    for text, size, below in runs:
        page.insert_text((x, 100 + below), text, fontsize=size)
        x += pymupdf.get_text_length(text, fontsize=size) + 1
    page.set_rotation(rotate)
    (found,) = (row for batch in render(pdf.tobytes(), PdfSettings(**settings)) for row in batch.to_pylist())
    return str(found["text"]).splitlines()


@pytest.mark.parametrize(
    "runs",
    [
        [("Way changed", 10, 0), ("30%", 40, 26)],
        [("Spent in all", 9, 0), ("$12", 30, 20)],
        [("30%", 40, 0), ("of all who came", 10, -30)],
        [("Share", 8, 0), ("7", 36, 27)],
    ],
)
@pytest.mark.parametrize("rotate", [0, 90])
def test_another_height_is_another_line(runs: list[Run], rotate: int) -> None:
    assert sorted(lines_of(runs, rotate)) == sorted(text for text, *_ in runs)


@pytest.mark.parametrize(
    "runs",
    [
        [("a", 20, 0), ("2", 10, -7)],
        [("$9", 40, 0), ("99", 16, -12)],
        [("From ", 10, 0), ("300", 30, 0), (" euros", 10, 0)],
        [("Title", 30, 0), ("(draft)", 12, -6)],
    ],
)
def test_indices_cents_and_words_on_one_base_line_stay_in_it(runs: list[Run]) -> None:
    assert len(lines_of(runs)) == 1
