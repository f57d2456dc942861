"""Letter-spaced text is words."""

from __future__ import annotations

from typing import Any

import pytest

pymupdf = pytest.importorskip("pymupdf")

from renderers.pdf.render import PdfSettings, render  # noqa: E402 (PyMuPDF is an extra)


def texts(*content: str, **settings: Any) -> list[str]:
    """The lines of a page with this content, in 12 points of Helvetica, each a line lower."""
    pdf = pymupdf.open()
    page = pdf.new_page(width=600, height=300)
    page.insert_text((0, 0), " ", fontsize=12)
    (xref,) = page.get_contents()
    lines = (f"BT /helv 12 Tf 0 Tc 30 {270 - 20 * k} Td {line} ET" for k, line in enumerate(content))
    pdf.update_stream(xref, "\n".join(lines).encode())
    (found,) = (row for batch in render(pdf.tobytes(), PdfSettings(**settings)) for row in batch.to_pylist())
    return [region["text"] for region in found["regions"]]


def moved(text: str, room: float, word: float) -> str:
    """A text without spaces of its own, letter by letter, with room (in ems) after each, and so much for a space."""
    parts = (f"{-1000 * word:.0f}" if char == " " else f"({char}) {-1000 * room:.0f}" for char in text)
    return f"[{' '.join(parts)}] TJ"


@pytest.mark.parametrize("room", [1.3, 2.0, 3.0, 6.0, 9.0, 14.0])
@pytest.mark.parametrize("granularity", ["lines", "words"])
def test_letter_spaced_lines_are_words(room: float, granularity: str) -> None:
    said = "What a line of words"
    found = texts(f"{room} Tc ({said}) Tj", granularity=granularity)
    assert found == (said.split() if granularity == "words" else [said])


@pytest.mark.parametrize("room", [0.1, 0.2, 0.4, 0.8, 1.2])
def test_without_spaces_of_its_own_there_is_one_where_there_is_much_more_room(room: float) -> None:
    said = "Chapter Two or IX"
    assert texts(moved(said, room, 0.3 + room)) == [said]


def test_one_word_is_told_as_well() -> None:
    assert texts("4 Tc (ABSTRACT) Tj", "14 Tc (Contents) Tj") == ["ABSTRACT", "Contents"]


def test_a_word_among_others_is_told() -> None:
    assert texts("(so it is ) Tj 4 Tc (gesperrt) Tj 0 Tc ( set) Tj") == ["so it is gesperrt set"]


@pytest.mark.parametrize(
    "said",
    [
        "A B C D E F",  # steps of one
        "x x x x x",
        "1 2 4 8 9 7",
        "a B c F e Q",
        "where L is low and H is high",
    ],
)
def test_single_letters_are_not_made_words(said: str) -> None:
    assert texts(moved(said, 0.0, 0.28)) == [said]


def test_columns_of_single_letters_stay_apart() -> None:
    months = [f"1 0 0 1 {30 + 25 * k} 270 Tm ({char}) Tj" for k, char in enumerate("JFMAMJJASOND")]
    assert texts(" ".join(months)) == list("JFMAMJJASOND")
