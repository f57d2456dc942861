"""Fonts of symbols: their glyphs are called by what they show, not by the letters of an encoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

pymupdf = pytest.importorskip("pymupdf")

from renderers.pdf.render import PdfSettings, render  # noqa: E402 (PyMuPDF is an extra)
from renderers.pdf.symbols import is_symbolic, table_of, tex_names, tex_sign  # noqa: E402

LABELS = ("Applicant", "Passport enclosed", "Paid in cash, by whom")


def form(marks: str, font: str = "zadb", **keys: str) -> Any:
    """A form with a mark before each label, and changed keys of the marks' font."""
    pdf = pymupdf.open()
    page = pdf.new_page(width=400, height=200)
    for y, (mark, label) in enumerate(zip(marks, LABELS, strict=True), 1):
        page.insert_text((30, 40 * y), mark, fontname=font, fontsize=14)
        page.insert_text((60, 40 * y), label)
    for key, value in keys.items():
        pdf.xref_set_key(xref(pdf, font), key, value)
    return pdf


def xref(pdf: Any, font: str) -> int:
    return next(entry[0] for entry in pdf[0].get_fonts() if entry[4] == font)


def embed(pdf: Any, font: str, name: str, said: Mapping[str, str]) -> None:
    """Put a font program into the file under a name, with a table of what its codes stand for."""
    program, descriptor, table = pdf.get_new_xref(), pdf.get_new_xref(), pdf.get_new_xref()
    for one, value in ((program, "<</Subtype/Type1C>>"), (table, "<<>>")):
        pdf.update_object(one, value)
    pdf.update_stream(program, pymupdf.Font(font).buffer)
    rows = "".join(f"<{ord(code):02x}> <{ord(char):04x}>\n" for code, char in said.items())
    head = "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def\n"
    space = f"1 begincodespacerange <00> <ff> endcodespacerange {len(said)} beginbfchar\n"
    pdf.update_stream(table, f"{head}{space}{rows}endbfchar endcmap end end".encode())
    box = "/FontBBox[0 -200 1000 900]/ItalicAngle 0/Ascent 900/Descent -200/CapHeight 700/StemV 80"
    pdf.update_object(
        descriptor, f"<</Type/FontDescriptor/FontName/{name}/Flags 4{box}/FontFile3 {program} 0 R>>"
    )
    keys = {"BaseFont": f"/{name}", "FontDescriptor": f"{descriptor} 0 R"}
    if said:
        keys["ToUnicode"] = f"{table} 0 R"
    for key, value in keys.items():
        pdf.xref_set_key(xref(pdf, font), key, value)


def marks_of(pdf: Any, **settings: Any) -> list[str]:
    (page,) = (row for batch in render(pdf.tobytes(), PdfSettings(**settings)) for row in batch.to_pylist())
    first = (region["text"].split()[0] for region in page["regions"])
    return [word for word in first if len(word) == 1]


@pytest.mark.parametrize(
    "encoding",
    ["/WinAnsiEncoding", "/MacRomanEncoding", "null", "<</Differences[51/a19 108/a71 110/a73]>>"],
)
def test_the_boxes_of_a_form_are_no_letters_whatever_their_encoding(encoding: str) -> None:
    assert marks_of(form("3ln", Encoding=encoding)) == ["✓", "●", "■"]


def test_words_have_them_as_well() -> None:
    assert marks_of(form("3ln"), granularity="words") == ["✓", "●", "■"]


def test_greek_is_greek_though_its_encoding_is_latin() -> None:
    assert marks_of(form("abS", "symb", Encoding="/WinAnsiEncoding")) == ["α", "β", "Σ"]


def test_a_font_under_another_name_is_told_by_the_names_of_its_glyphs() -> None:
    pdf = form("3ln", Encoding="<</Differences[51/a74 108/a20 110/a24]>>")
    embed(pdf, "zadb", "ABCDEF+ITCZapfDingbatsStd", {})
    assert marks_of(pdf) == ["❏", "✔", "✘"]


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ({}, ["✈", "●", "■"]),
        ({"Q": "Q", "l": "l", "n": "n"}, ["✈", "●", "■"]),
        ({"Q": "\uf051", "l": "\uf06c", "n": "\uf06e"}, ["✈", "●", "■"]),
        ({"Q": "☑", "l": "✦", "n": "•"}, ["☑", "✦", "•"]),
    ],
)
def test_codes_of_wingdings_are_looked_up(said: Mapping[str, str], right: list[str]) -> None:
    pdf = form("Qln", Encoding="/WinAnsiEncoding")
    embed(pdf, "zadb", "ABCDEF+Wingdings-Regular", said)
    assert marks_of(pdf) == right


@pytest.mark.parametrize("font", ["CMEX10", "ABCDEF+CMEX9", "LMMathExtension10-Regular"])
def test_large_signs_of_tex_are_told_by_their_codes(font: str) -> None:
    pdf = form("P0h", Encoding="null")
    embed(pdf, "zadb", font, {})
    assert marks_of(pdf) == ["∑", "⎛", "["]


def test_large_signs_of_tex_are_told_by_their_names() -> None:
    names = tex_names()
    assert len(names) == 128
    told = [
        names[name]
        for name in ("summationdisplay", "parenlefttp", "bracerightBigg", "slashBig", "arrowdblbt")
    ]
    assert told == ["∑", "⎛", "}", "/", "⇓"]
    assert [tex_sign(code, "?") for code in (2, 163, 175, 127, 128)] == ["[", "[", "|", "⇓", "?"]


def test_parts_of_brackets_of_any_font_are_no_private_use() -> None:
    pdf = form("Qln", Encoding="/WinAnsiEncoding")
    embed(pdf, "zadb", "ABCDEF+SomeMath", {"Q": "\uf8eb", "l": "\uf8ec", "n": "\uf8ed"})
    assert marks_of(pdf) == ["⎛", "⎜", "⎝"]


def test_letters_of_unknown_ornaments_are_unknown() -> None:
    pdf = form("3ln", Encoding="/WinAnsiEncoding")
    embed(pdf, "zadb", "ABCDEF+Bodoni-Ornaments", {})
    assert marks_of(pdf) == ["\N{REPLACEMENT CHARACTER}"] * 3


def test_letters_that_are_shown_in_the_place_of_a_font_that_the_file_lacks_stay() -> None:
    assert marks_of(form("3ln", Encoding="/WinAnsiEncoding", BaseFont="/Wingdings")) == ["3", "l", "n"]


def test_fonts_of_symbols_are_known_by_name() -> None:
    assert all(map(is_symbolic, ["ZapfDingbats", "ABCDEF+Wingdings3", "SymbolMT,Bold", "StandardSymbolsPS"]))
    assert not any(map(is_symbolic, ["Symbola", "SegoeUISymbol", "Helvetica", "SymbolicSans", ""]))
    assert table_of("Wingdings") != table_of("Wingdings2-Regular")


@pytest.mark.parametrize(("gap", "text"), [(0.5, "●Item"), (2.0, "● Item"), (4.0, "● Item")])
def test_a_gap_after_a_symbol_is_a_space(gap: float, text: str) -> None:
    pdf = pymupdf.open()
    page = pdf.new_page(width=200, height=100)
    page.insert_text((20, 40), "l", fontname="zadb", fontsize=10)
    page.insert_text((27.91 + gap, 40), "Item", fontsize=10)
    (row,) = (row for batch in render(pdf.tobytes()) for row in batch.to_pylist())
    assert row["text"] == text
