"""Scanned pages, read by Tesseract."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from typing import Any

import pytest

from renderers import NotReadyError
from renderers.pdf.frames import LEVEL, View
from renderers.pdf.line import Line
from renderers.pdf.mupdf import pymupdf
from renderers.pdf.ocr import ReadWord, line_of, not_among, words_of
from renderers.pdf.ocr_boxes import apart
from renderers.pdf.pixels import Picture
from renderers.pdf.render import PdfSettings, check_machine, render

LINES = ["What is written here was scanned,", "and holds no text to be copied:", "a machine has to read it."]


@pytest.fixture
def tesseract() -> None:
    if shutil.which("tesseract") is None:
        pytest.skip("tesseract is not installed")


def scan(*, stamp: bool = False, size: float = 14) -> bytes:
    inner = pymupdf.open()
    sheet = inner.new_page(width=300, height=120)
    for i, line in enumerate(LINES):
        sheet.insert_text((20, 30 + 20 * i), line, fontsize=size)
    pdf = pymupdf.open()
    page = pdf.new_page(width=300, height=120)
    page.insert_image(page.rect, pixmap=sheet.get_pixmap(dpi=200))
    if stamp:
        page.insert_text((20, 110), "Downloaded from an archive", fontsize=10)
    return bytes(pdf.tobytes())


def page(document: bytes, **settings: Any) -> dict[str, Any]:
    (row,) = (row for batch in render(document, PdfSettings(**settings)) for row in batch.to_pylist())
    return dict(row)


def test_a_scan_is_dropped_unless_it_is_to_be_read() -> None:
    row = page(scan())
    assert row["dropped"] == "no_text_layer"
    assert json.loads(row["extra"])["class"] == "scan"


@pytest.mark.parametrize("granularity", ["lines", "words"])
def test_a_scan_is_read_and_says_so(tesseract: None, granularity: str) -> None:
    row = page(scan(), ocr="tesseract", granularity=granularity)
    assert row["text"] == "\n".join(LINES)
    facts = json.loads(row["extra"])
    assert facts["class"] == "scan"
    assert facts["ocr"]["engine"].startswith("tesseract ")
    assert facts["ocr"]["languages"] == "eng"
    assert 0.8 < facts["ocr"]["score"] <= 1
    assert facts["unlabelled"] < 0.05
    assert len(row["regions"]) == (3 if granularity == "lines" else len(" ".join(LINES).split()))
    px = row["width"] / 300
    for region in row["regions"]:
        line = row["text"].count("\n", 0, region["start"])
        assert 0.5 < region["score"] < 1
        assert abs(region["quad"][5] - (30 + 20 * line) * px) < 6 * px  # its foot is at the base line


def test_a_stamp_on_a_scan_stays_what_the_page_says_and_the_scan_is_read(tesseract: None) -> None:
    row = page(scan(stamp=True), ocr="tesseract")
    assert row["text"] == "\n".join([*LINES, "Downloaded from an archive"])
    facts = json.loads(row["extra"])
    assert facts["class"] == "mixed"
    assert facts["ocr"]["lines"] == 3
    assert facts["unlabelled"] < 0.05
    assert [region["score"] == 1 for region in row["regions"]] == [False, False, False, True]


def test_a_scan_under_a_stamp_that_is_too_small_to_be_read_is_dropped(tesseract: None) -> None:
    document = scan(stamp=True, size=7)
    assert page(document, min_text_px=30)["dropped"] is None
    assert page(document, ocr="tesseract", min_text_px=30)["dropped"] == "text_too_small"


def test_a_stamp_alone_is_the_label_where_nothing_is_to_be_read() -> None:
    row = page(scan(stamp=True))
    assert row["text"] == "Downloaded from an archive"
    assert "ocr" not in json.loads(row["extra"])


def test_writing_under_the_page_s_own_text_is_labelled_once() -> None:
    def line(text: str, box: tuple[float, float, float, float]) -> Line:
        return Line(text, box, LEVEL, LEVEL, 10.0, "", 0, -1)

    own = [line("own", (0, 0, 100, 10))]
    under, half, beside = (
        line("under", (10, 1, 60, 9)),
        line("half", (50, 0, 150, 10)),
        line("beside", (90, 0, 190, 10)),
    )
    assert not_among([under, half, beside], own) == [beside]
    assert not_among([under], []) == [under]


def test_a_page_that_takes_too_long_costs_itself_alone(tesseract: None) -> None:
    assert page(scan(), ocr="tesseract", ocr_s=0.001)["dropped"] == "ocr_timed_out"


def test_a_page_that_is_read_without_certainty_is_dropped(tesseract: None) -> None:
    row = page(scan(), ocr="tesseract", ocr_min_score=1.0)
    assert row["dropped"] == "ocr_uncertain"
    assert row["detail"].startswith("score=0.9")


def test_a_language_that_is_not_there_stops_before_anything_is_read(tesseract: None) -> None:
    check_machine(PdfSettings(ocr="tesseract"))
    with pytest.raises(NotReadyError, match=r"no data to read tlh: apt-get install"):
        check_machine(PdfSettings(ocr="tesseract", ocr_languages="eng+tlh"))


def test_without_the_program_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    check_machine(PdfSettings())
    with pytest.raises(NotReadyError, match="Tesseract, which is not installed"):
        check_machine(PdfSettings(ocr="tesseract"))


@pytest.mark.parametrize("languages", ["", "--psm", "eng+", "eng chi_sim", "../eng"])
def test_what_is_no_list_of_languages_is_refused(languages: str) -> None:
    with pytest.raises(ValueError, match="ocr_languages"):
        PdfSettings(ocr_languages=languages)


def test_chinese_words_are_put_together_without_spaces() -> None:
    rows = ["level", "4\t1\t1\t1\t1\t0\t10\t20\t90\t30\t-1\t"]
    rows += [
        f"5\t1\t1\t1\t1\t{i}\t{10 + 30 * i}\t20\t28\t30\t{score}\t{text}"
        for i, (text, score) in enumerate([("学而", 90), ("时", 80), ("PDF", 70), ("is", 60), (" ", 95)])
    ]
    words = list(words_of("\n".join([*rows, "5\tcut"]), View(2.0, (0, 0), (200, 100))))
    line = line_of(words)
    assert line.text == "学而时 PDF is"
    assert line.box == (5.0, 10.0, 64.0, 25.0)
    assert line.score == pytest.approx((2 * 0.9 + 0.8 + 3 * 0.7 + 2 * 0.6) / 8)


def read_line(top: float, heights: Sequence[tuple[float, float]], left: float = 20.0) -> Line:
    """A line of words that reach from so far above `top` to so far below it, 30 wide each."""
    boxes = [(left + 30 * i, top + a, left + 30 * i + 28, top + b) for i, (a, b) in enumerate(heights)]
    return line_of([ReadWord(("1", "1", str(top)), box, "word", 0.9) for box in boxes])


def strokes(tops: Sequence[int]) -> Picture:
    """A page of rows of strokes, 20 high."""
    pdf = pymupdf.open()
    page = pdf.new_page(width=300, height=300)
    for top in tops:
        for left in range(20, 200, 12):
            page.draw_rect((left, top, left + 4, top + 20), fill=(0, 0, 0), color=None)
    return Picture(page.get_displaylist(), 1.0, colour=False)


def test_boxes_of_lines_that_are_read_end_where_their_ink_does() -> None:
    reaching = [read_line(40, [(0, 20), (0, 48), (0, 20)]), read_line(64, [(0, 20), (-12, 20), (0, 20)])]
    found = apart(reaching, strokes([40, 64]))
    assert [(line.box[1], line.box[3]) for line in found] == [(40, 60), (64, 84)]
    assert [line.text for line in found] == ["word word word"] * 2


def test_boxes_that_are_apart_or_beside_each_other_stay() -> None:
    lines = [read_line(40, [(0, 24)]), read_line(50, [(0, 24)], left=150), read_line(90, [(0, 24)])]
    assert apart(lines, strokes([40, 90])) == lines
    assert apart([], strokes([])) == []


def test_a_word_is_no_higher_than_the_ink_of_its_line() -> None:
    head = "level\tpage\tblock\tpar\tline\tword\tleft\ttop\twidth\theight\tconf\ttext"
    rows = ["4\t1\t1\t1\t1\t0\t10\t40\t200\t22\t-1\t", "5\t1\t1\t1\t1\t1\t10\t30\t50\t60\t91\t学而"]
    (word,) = words_of("\n".join([head, *rows]), View(1.0, (0, 0), (300, 300)))
    assert word.box == (10, 40, 60, 62)
