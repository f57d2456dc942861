"""Columns that are read downwards: whole, though words and numbers in them stand otherwise; furigana apart."""

from __future__ import annotations

import pytest

pytest.importorskip("pymupdf")

from renderers.pdf.frames import DOWN, LEVEL, Turn, turned
from renderers.pdf.line import Line
from renderers.pdf.render import in_order
from renderers.pdf.rules import Rules
from renderers.pdf.upright_columns import parted_furigana, whole_columns


def column(
    text: str, x: float, y: float, size: float = 10, *, turn: Turn = DOWN, stacked: bool = True
) -> Line:
    """A text from (x, y) downwards, a character each `size` points; level text is no wider than the column."""
    step = size / len(text) if turn == LEVEL else size
    cells = [
        (x + step * i, y, x + step * (i + 1), y + size)
        if turn == LEVEL
        else (x, y + size * i, x + size, y + size * (i + 1))
        for i in range(len(text))
    ]
    glyphs = [{"c": char, "bbox": cell} for char, cell in zip(text, cells, strict=True)]
    box = turned((x, y, cells[-1][2], cells[-1][3]), turn)
    return Line(text, box, turn, turn, size, "F", 0, 0, stacked=stacked and turn == DOWN, glyphs=glyphs)


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


@pytest.mark.parametrize(
    "inner",
    [
        column("12", 100, 30, turn=LEVEL),
        column("Ab", 100, 30, 5, stacked=False),
        column("……", 100, 30, stacked=False),
    ],
)
def test_what_stands_otherwise_in_a_column_is_a_part_of_it(inner: Line) -> None:
    end = 30 + (10 if inner.turn == LEVEL else inner.size * 2)
    if inner.text == "Ab":
        inner.size = 10
    (found,) = whole_columns([column("昨日は", 100, 0), inner, column("人の", 100, end)])
    assert found.text == f"昨日は{inner.text}人の"
    assert found.stacked
    assert found.turn == DOWN
    assert found.box == pytest.approx(turned((100, 0, 110, end + 20), DOWN))


def test_a_column_begins_with_a_number_too() -> None:
    assert texts(whole_columns([column("25", 100, 0, turn=LEVEL), column("年の", 100, 10)])) == ["25年の"]


@pytest.mark.parametrize(
    "other",
    [
        column("次の", 80, 0),  # the next column
        column("下の", 100, 60),  # another tier
        column("ふり", 111, 0, 5),  # furigana
        column("a heading", 100, 30, turn=LEVEL),
    ],
)
def test_what_stands_elsewhere_is_no_part_of_a_column(other: Line) -> None:
    assert len(whole_columns([column("昨日は", 100, 0), other])) == 2


def test_turned_words_alone_make_no_column() -> None:
    words = [column("one", 100, 0, stacked=False), column("two", 100, 32, stacked=False)]
    assert whole_columns(words) == words


def test_furigana_are_read_after_the_text_that_they_would_part() -> None:
    first, second = column("東京の大学で", 100, 0), column("研究をする", 80, 0)
    readings = [column("とうきょう", 110, 0, 4), column("けんきゅう", 90, 0, 4)]
    assert parted_furigana([readings[0], first, readings[1], second]) == ([first, second], readings)
    found = list(in_order([readings[0], first, readings[1], second], Rules(())))
    assert texts(found) == ["東京の大学で", "研究をする", "とうきょう", "けんきゅう"]


def test_small_kana_elsewhere_are_no_furigana() -> None:
    lines = [column("東京の大学で", 100, 0), column("あとがき", 40, 0, 4), column("漢字", 110, 0, 4)]
    assert parted_furigana(lines) == (lines, [])
