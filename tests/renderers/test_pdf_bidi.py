from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("bidi")
pymupdf = pytest.importorskip("pymupdf")

from renderers.pdf.bidi import in_reading_order  # noqa: E402 (PyMuPDF is an extra)
from renderers.pdf.frames import Box  # noqa: E402
from renderers.pdf.line import Glyph  # noqa: E402
from renderers.pdf.render import PdfSettings, render  # noqa: E402

SHARED = Path(__file__).parents[3] / "shared" / "data" / "pdf"
DEJAVU = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
WIDTH = 5.0  # of every glyph, ten points high


def placed(visual: str) -> list[tuple[str, float, float]]:
    """A line as it is seen, from left to right."""
    return [(char, WIDTH * i, WIDTH * (i + 1)) for i, char in enumerate(visual)]


def read(glyphs: list[tuple[str, float, float]], gutter: float = 100.0) -> list[str]:
    drawn: list[Glyph] = [{"c": char} for char, *_ in glyphs]
    boxes: list[Box] = [(start, 0.0, end, 10.0) for _, start, end in glyphs]
    return ["".join(glyph["c"] for glyph in run) for run in in_reading_order(drawn, boxes, 1.5, gutter)]


@pytest.mark.parametrize(
    "logical",
    [
        "שלום עולם?",
        "סעיף 15 לחוק",
        "ביום 15.03.2021 בשעה 10:30",
        "١٤ إبريل ١٤٣٤",
        "العربية (اختبار) «نعم» [لا]",
        "מחשב PC חדש",
        "A line with العربية inside",
        "abc",
    ],
)
def test_a_line_is_read_as_it_was_written(logical: str) -> None:
    from bidi import algorithm

    direction = "L" if logical[0] in "Aa" else "R"
    visual = algorithm.get_display(logical, base_dir=direction)
    assert read(placed(visual)) == [logical]
    assert read(placed(visual)[::-1]) == [logical]  # whatever the order in which they are drawn


def test_a_bracket_named_for_what_it_does_is_not_turned_round() -> None:
    assert read(placed(")4()ב(15 ףיעס")) == ["סעיף 15(ב)(4)"]
    assert read(placed("(4)(ב)15 ףיעס")) == ["סעיף 15(ב)(4)"]


def test_the_rest_of_a_ligature_stays_in_its_order() -> None:
    # one glyph for two letters, lam and khah: MuPDF puts the second, without width, at its end and before it
    turned = [("ا", 30.0, 35.0), ("خ", 30.0, 30.0), ("ل", 20.0, 30.0), ("ط", 15.0, 20.0)]
    assert read(turned) == ["الخط"]
    following = [("ا", 30.0, 35.0), ("ل", 20.0, 30.0), ("خ", 30.0, 30.0), ("ط", 15.0, 20.0)]
    assert read(following) == ["الخط"]


def test_a_mark_stays_with_the_letter_it_follows() -> None:
    glyphs = [("ي", 15.0, 20.0), ("ض", 10.0, 15.0), ("\u064b", 15.0, 15.0), ("ا", 5.0, 10.0)]
    assert read(glyphs) == ["يض\u064bا"]
    over_the_last = [("\u064b", 11.0, 14.0), *placed("اضي")]  # no glyph comes before it
    assert read(over_the_last) == ["ي\u064bضا"]


def test_marks_of_one_letter_stay_together() -> None:
    glyphs = [("ב", 10.0, 15.0), ("\u05bc", 10.0, 10.0), ("\u05b0", 10.0, 10.0), ("ר", 5.0, 10.0)]
    assert read(glyphs) == ["ב\u05bc\u05b0ר"]


def test_a_mark_over_half_a_ligature_is_that_letter_s() -> None:
    over_lam = [("ا", 30.0, 30.0), ("ل", 20.0, 30.0), ("\u0651", 26.0, 29.0), ("ط", 15.0, 20.0)]
    over_alef = [("ا", 30.0, 30.0), ("ل", 20.0, 30.0), ("\u064b", 21.0, 24.0), ("ط", 15.0, 20.0)]
    assert [*read(over_lam), *read(over_alef)] == ["ل\u0651اط", "لا\u064bط"]


def test_spaces_are_those_that_are_seen() -> None:
    narrow = [("ב", 0.0, 5.0), (" ", 5.0, 6.0), ("א", 6.0, 11.0)]
    under_a_mark = [("?", 0.0, 5.0), (" ", 0.1, 3.5), ("א", 5.0, 10.0)]
    gap = [("ב", 0.0, 5.0), ("א", 6.5, 11.5)]
    assert [*read(narrow), *read(under_a_mark), *read(gap)] == ["א ב", "א?", "א ב"]


def test_cells_are_parted_and_each_read_by_itself() -> None:
    assert read([*placed("test"), *((c, x + 80, y + 80) for c, x, y in placed("ןחבמ"))], gutter=25.0) == [
        "test",
        "מבחן",
    ]


def test_a_line_of_controls_is_no_line() -> None:
    assert read(placed("\x01")) == [""]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/pdf")
def test_real_pages_are_read_from_the_right() -> None:
    hebrew, arabic = (
        next(render((SHARED / f"rtl__{name}.pdf").read_bytes(), PdfSettings()))["text"][0].as_py().split("\n")
        for name in ("pdf.js__issue11656", "pdfbox__BidiSample")
    )
    assert hebrew == [
        "שלום עולם מה שלום כולם?",
        "אני יורד מן החוטים, אני כבר ילד אמיתי.",
        "כמו כל הילדים.",
        "לחיוב פעולות אלה לפי סעיף 15(ב)(4) לחוק מבקר המדינה",
    ]
    assert arabic[4:8] == ["١٤ إبريل ١٤٣٤", "14 april 1434", "١٤-إبريل-١٤٣٤", "14-april-1434"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/pdf")
def test_words_of_a_line_go_from_right_to_left() -> None:
    document = (SHARED / "rtl__pdf.js__issue11656.pdf").read_bytes()
    page = next(render(document, PdfSettings(granularity="words"))).to_pylist()[0]
    words = [(region["text"], region["quad"][0]) for region in page["regions"][:5]]
    assert [word for word, _ in words] == ["שלום", "עולם", "מה", "שלום", "כולם?"]
    assert [x for _, x in words] == sorted((x for _, x in words), reverse=True)


def marked(lines: Sequence[str], size: float = 24) -> bytes:
    """Lines of right-to-left text as a browser prints them: from the left, marks before their letters."""
    pdf, font = pymupdf.open(), pymupdf.Font(fontfile=str(DEJAVU))
    page = pdf.new_page(width=400, height=160)
    writer = pymupdf.TextWriter(page.rect)
    for y, line in zip((60, 120), lines, strict=True):
        letters: list[tuple[str, float, list[str]]] = []
        x = 300.0
        for char in line:
            if unicodedata.combining(char):
                letters[-1][2].append(char)
            else:
                x -= font.text_length(char, size)
                letters.append((char, x, []))
        for char, at, marks in reversed(letters):
            for mark in marks:
                ink = font.glyph_bbox(ord(mark))
                writer.append(
                    (at + (font.glyph_advance(ord(char)) - ink.x0 - ink.x1) * size / 2, y), mark, font, size
                )
            writer.append((at, y), char, font, size)
    writer.write_text(page)
    return bytes(pdf.tobytes())


@pytest.mark.skipif(not DEJAVU.exists(), reason="needs Debian's fonts-dejavu-core")
@pytest.mark.parametrize("lines", [["דוּד שׁלום בּרא", "אמת בּרשׁ"], ["شכر ﻛﺘﺎبٌ", "ﺟﺪيﺪٌ"]])
def test_marks_that_are_painted_before_their_letters_stand_on_these(lines: list[str]) -> None:
    (page,) = (row for batch in render(marked(lines), PdfSettings()) for row in batch.to_pylist())
    assert page["text"] == unicodedata.normalize("NFKC", "\n".join(lines))


@pytest.mark.skipif(not DEJAVU.exists(), reason="needs Debian's fonts-dejavu-core")
def test_a_mark_that_a_letter_s_own_glyph_shows_is_that_letter_s() -> None:
    pdf = pymupdf.open(stream=marked(["אמת מלך", "אמת מלך"]), filetype="pdf")
    glyph = pymupdf.Font(fontfile=str(DEJAVU)).has_glyph(ord("ך"))
    both = f"1 beginbfchar <{glyph:04x}> <05da05b0> endbfchar endcmap".encode()
    for xref in range(1, pdf.xref_length()):
        if pdf.xref_is_stream(xref) and b"beginbf" in (table := pdf.xref_stream(xref)):
            pdf.update_stream(xref, table.replace(b"endcmap", both))
    (page,) = (row for batch in render(pdf.tobytes(), PdfSettings()) for row in batch.to_pylist())
    assert page["text"].split("\n") == ["אמת מלך\u05b0"] * 2
