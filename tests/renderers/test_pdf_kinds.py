"""Kinds of pages that went wrong: initials, writing downwards, long pages, fonts with boxes of any size."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from PIL import Image

pymupdf = pytest.importorskip("pymupdf")

from renderers.pdf.bands import bands_by_length  # noqa: E402
from renderers.pdf.frames import LEVEL  # noqa: E402
from renderers.pdf.line import Line  # noqa: E402
from renderers.pdf.render import PdfSettings, render  # noqa: E402
from renderers.pdf.rules import Rules  # noqa: E402

WORDS = "Reading order is how a person reads the lines of a page"
CHINESE = "春眠不觉晓处处闻啼鸟夜来风雨声花落知多少"


def pages(pdf: Any, **settings: Any) -> list[dict[str, Any]]:
    return [batch.to_pylist()[0] for batch in render(bytes(pdf.tobytes()), PdfSettings(**settings))]


def texts(page: dict[str, Any]) -> list[str]:
    return [region["text"] for region in page["regions"]]


def height(region: dict[str, Any]) -> float:
    return max(region["quad"][1::2]) - min(region["quad"][1::2])


@pytest.mark.parametrize("painted_last", [False, True])
def test_an_initial_is_a_region_of_its_own_before_its_line(painted_last: bool) -> None:
    pdf = pymupdf.open()
    page = pdf.new_page()
    if not painted_last:
        page.insert_text((72, 128), "T", fontsize=52)
    for i in range(8):
        page.insert_text((108 if i < 3 else 72, 100 + 14 * i), f"{i} {WORDS}", fontsize=10)
    if painted_last:
        page.insert_text((72, 128), "T", fontsize=52)
    (found,) = pages(pdf)
    assert texts(found) == ["T", *(f"{i} {WORDS}" for i in range(8))]
    assert height(found["regions"][1]) < 2 * height(found["regions"][3])


def test_a_large_letter_on_the_same_base_line_is_part_of_its_line() -> None:
    pdf = pymupdf.open()
    page = pdf.new_page()
    page.insert_text((72, 100), "T", fontsize=30)
    page.insert_text((91, 100), "he first line", fontsize=12)
    assert texts(pages(pdf)[0]) == ["The first line"]


def test_a_page_that_is_read_downwards_begins_with_its_level_heading_and_keeps_short_columns() -> None:
    pdf = pymupdf.open()
    page = pdf.new_page()

    def column(x: float, top: float, text: str) -> None:
        for i, character in enumerate(text):
            page.insert_text((x, top + 16 * i), character, fontname="china-s", fontsize=14)

    columns = [CHINESE, CHINESE[::-1], "终了"]
    for k, text in enumerate(columns):
        column(400 - 24 * k, 140, text)
    below = [CHINESE[3:15], CHINESE[5:18]]
    for k, text in enumerate(below):
        column(400 - 24 * k, 500, text)
    page.insert_text((200, 80), "横写的题目", fontname="china-s", fontsize=20)
    page.insert_text((200, 800), "第十二页", fontname="china-s", fontsize=10)
    assert texts(pages(pdf)[0]) == ["横写的题目", *columns, *below, "第十二页"]


def test_a_long_page_is_cut_between_lines_into_parts() -> None:
    pdf = pymupdf.open()
    page = pdf.new_page(width=612, height=6000)
    lines = [f"{i} {WORDS}" for i in range(160)]
    for i, line in enumerate(lines):
        page.insert_text((72, 60 + 34 * i), line, fontsize=16)
    page.draw_rect((80, 5600, 500, 5900), fill=(0.5, 0.5, 0.5))
    found = pages(pdf)
    kept = [part for part in found if part["dropped"] is None]
    assert [part["part"] for part in found] == list(range(1, len(found) + 1))
    assert [part["page"] for part in found] == [0] * len(found)
    assert [text for part in kept for text in texts(part)] == lines
    for part in kept:
        assert Image.open(io.BytesIO(part["image"])).size == (part["width"], part["height"])
        assert max(part["width"], part["height"]) <= 1600
        assert all(0 < height(region) < 40 for region in part["regions"])
        assert json.loads(part["extra"])["parts"] == len(found)


def test_a_long_page_whose_text_can_be_read_stays_whole() -> None:
    pdf = pymupdf.open()
    pdf.new_page(width=300, height=900).insert_text((20, 60), WORDS, fontsize=10)
    (found,) = pages(pdf)
    assert (found["part"], found["dropped"]) == (None, None)


def crowded(columns: int = 2) -> tuple[Any, list[str]]:
    """A page of short words in columns, and these by its halves."""
    pdf = pymupdf.open()
    page = pdf.new_page(width=400, height=500)
    for row in range(40):
        for column in range(columns):
            page.insert_text(
                (20 + 190 * column, 30 + 11 * row), f"r{row} c{column} " + "of it " * 10, fontsize=7
            )
    return pdf, [f"r{row}" for row in range(40)]


def test_a_page_with_more_words_than_a_model_can_say_is_cut_between_lines() -> None:
    pdf, rows = crowded()
    (whole,) = pages(pdf, granularity="words", max_chars=0)
    parts = pages(pdf, granularity="words", max_chars=60_000)
    assert [part["part"] for part in parts] == [1, 2, 3]
    for part in parts:
        assert sum(len(region["text"]) + 66 for region in part["regions"]) <= 60_000
        assert max(part["width"], part["height"]) == 1600
    assert sorted(text for part in parts for text in texts(part)) == sorted(texts(whole))
    ends = [max(int(text[1:]) for text in texts(part) if text in rows) for part in parts]
    assert ends == sorted(ends)


def test_a_page_is_cut_where_no_line_is_or_not_at_all() -> None:
    pdf, _ = crowded()
    assert [page["part"] for page in pages(pdf, max_chars=30_000)] == [None]
    assert [page["part"] for page in pages(pdf, granularity="words", max_chars=500)] == [
        None
    ]  # less than a row
    assert [page["part"] for page in pages(pdf, granularity="words", structure=True)] == [None]


def test_a_page_is_cut_into_as_few_parts_as_can_be_and_into_no_strips() -> None:
    lengths = [60, 30, 20, 60, 45]
    lines = [
        Line("a", (0, 20 * i + 2, 9, 20 * i + 18), LEVEL, LEVEL, 9, "", 0, 0) for i in range(len(lengths))
    ]
    assert bands_by_length((0, 0, 60, 100), lines, lengths, [], 100) == [
        (0, 0, 60, 40),
        (0, 40, 60, 80),
        (0, 80, 60, 100),
    ]
    assert bands_by_length((0, 0, 60, 100), lines, lengths, [], 59) == []  # less than a line
    assert bands_by_length((0, 0, 120, 100), lines, [10] * 5, [], 40) == [(0, 0, 120, 40), (0, 40, 120, 100)]


def test_hidden_text_cuts_no_page() -> None:
    pdf, _ = crowded()
    (page,) = pdf
    page.clean_contents()
    pdf.update_stream(page.get_contents()[0], page.read_contents().replace(b"BT", b"BT 3 Tr"))
    page.insert_image(page.rect, pixmap=pymupdf.Pixmap(pymupdf.csGRAY, (0, 0, 20, 20)))
    assert [row["dropped"] for row in pages(pdf, granularity="words", max_chars=1000)] == ["no_text_layer"]


def type3(pdf: Any) -> None:
    """A page of three lines in a font of drawings that claims twenty ems for each letter."""
    page = pdf.new_page(width=300, height=200)
    glyph = pdf.get_new_xref()
    pdf.update_object(glyph, "<<>>")
    pdf.update_stream(glyph, b"0.6 0 -10 -10 10 10 d1 0.1 -0.1 0.4 0.8 re f")
    font = pdf.get_new_xref()
    pdf.update_object(
        font,
        "<</Type/Font/Subtype/Type3/FontBBox[-10 -10 10 10]/FontMatrix[1 0 0 1 0 0]/FirstChar 97"
        f"/LastChar 97/Widths[0.6]/Resources<<>>/CharProcs<</a {glyph} 0 R>>"
        "/Encoding<</Type/Encoding/Differences[97/a]>>>>",
    )
    content = pdf.get_new_xref()
    pdf.update_object(content, "<<>>")
    lines = b" ".join(b"BT /T3 12 Tf 1 0 0 1 20 %d Tm (aaaaaaaa) Tj ET" % y for y in (150, 120, 90))
    pdf.update_stream(content, lines)
    pdf.xref_set_key(page.xref, "Contents", f"{content} 0 R")
    pdf.xref_set_key(page.xref, "Resources", f"<</Font<</T3 {font} 0 R>>>>")


@pytest.mark.parametrize("granularity", ["lines", "words"])
def test_letters_of_a_font_that_claims_any_box_have_boxes_of_their_size(granularity: str) -> None:
    pdf = pymupdf.open()
    type3(pdf)
    (found,) = pages(pdf, granularity=granularity)
    em = 12 * found["width"] / 300
    assert len(found["regions"]) == 3
    for number, region in enumerate(found["regions"]):
        assert height(region) <= 1.7 * em
        base = (50 + 30 * number) * found["width"] / 300
        assert min(region["quad"][1::2]) < base - 0.7 * em
        assert max(region["quad"][1::2]) > base


def test_hairlines_of_a_scaled_page_are_rules_though_their_boxes_are_wide() -> None:
    def stroke(x0: float, y0: float, x1: float, y1: float) -> dict[str, Any]:
        box = (x0 - 5, y0 - 5, x1 + 5, y1 + 5)
        return {"type": 3, "alpha": 255, "isrect": True, "stroked": True, "bbox": box}

    across = [stroke(0, y, 200, y) for y in (0, 30, 60)]
    down = [stroke(x, 0, x, 60) for x in (0, 100, 200)]
    assert sorted(Rules([*across, *down]).boxes) == sorted(
        [(0, y, 200, y) for y in (0, 30, 60)] + [(x, 0, x, 60) for x in (0, 100, 200)]
    )
    outlines = [stroke(10, 10 + 40 * i, 100, 30 + 40 * i) for i in range(4)]
    assert len(Rules(outlines).boxes) == 16


def test_dots_that_lead_across_a_form_are_one_line() -> None:
    pdf = pymupdf.open()
    page = pdf.new_page(width=400, height=300)
    page.insert_text((20, 50), "Total income", fontsize=10)
    for x in range(120, 300, 14):
        page.insert_text((x, 50), ".", fontsize=10)
    page.insert_text((330, 50), "1,234", fontsize=10)
    (row,) = pages(pdf)
    assert texts(row) == ["Total income", " ".join("." * 13), "1,234"]
