"""What pages are made of: tables, headings, lists and figures as HTML."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pymupdf = pytest.importorskip("pymupdf")

from renderers.pdf.list_marks import is_mark, mark_of  # noqa: E402
from renderers.pdf.render import PdfSettings, render  # noqa: E402

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium to print")


def page(document: bytes, **settings: Any) -> dict[str, Any]:
    return next(render(document, PdfSettings(structure=True, **settings))).to_pylist()[0]


def blocks(document: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(page(document)["extra"])["blocks"]
    return found


def made(paint: Any) -> bytes:
    with pymupdf.open() as pdf:
        paint(pdf.new_page(width=500, height=600))
        data: bytes = pdf.tobytes()
    return data


def ruled(
    page: Any, rows: int = 3, columns: int = 3, without: frozenset[tuple[int, int]] = frozenset()
) -> None:
    """A grid of 100 × 30 points a cell, without the borders at the right of some cells."""
    for row in range(rows + 1):
        page.draw_line((50, 50 + 30 * row), (50 + 100 * columns, 50 + 30 * row))
    for column in range(columns + 1):
        for row in range(rows):
            if (row, column - 1) not in without:
                page.draw_line((50 + 100 * column, 50 + 30 * row), (50 + 100 * column, 80 + 30 * row))
    for row in range(rows):
        for column in range(columns):
            if (row, column - 1) not in without and (row, column) != (1, 1):
                page.insert_text((55 + 100 * column, 68 + 30 * row), f"{row}<{column}", fontsize=9)


def test_a_ruled_table_is_html_with_its_empty_cells() -> None:
    (found,) = blocks(made(ruled))
    assert found["type"] == "table"
    assert found["html"] == (
        "<table><tr><td>0&lt;0</td><td>0&lt;1</td><td>0&lt;2</td></tr>"
        "<tr><td>1&lt;0</td><td></td><td>1&lt;2</td></tr>"
        "<tr><td>2&lt;0</td><td>2&lt;1</td><td>2&lt;2</td></tr></table>"
    )
    scale = page(made(ruled))["width"] / 500
    assert found["quad"][:2] == pytest.approx([50 * scale, 50 * scale], abs=2)
    assert found["quad"][4:6] == pytest.approx([350 * scale, 140 * scale], abs=2)


def test_a_cell_without_a_border_spans_the_next_one() -> None:
    (found,) = blocks(made(lambda page: ruled(page, 2, 3, frozenset({(0, 0)}))))
    assert found["html"].startswith('<table><tr><td colspan="2">0&lt;0</td><td>0&lt;2</td></tr>')


@pytest.mark.parametrize(
    ("labels", "first"), [(("Alcona", "Curtis", "Gustin"), "<td>Alcona</td>"), (("Alcona",), "")]
)
def test_labels_of_rows_left_of_a_table_are_its_first_column(labels: tuple[str, ...], first: str) -> None:
    def paint(page: Any) -> None:
        for row, label in enumerate(labels):
            page.insert_text((5, 68 + 30 * row), label, fontsize=9)
        ruled(page, 3, 3)

    found = blocks(made(paint))
    (table,) = (block for block in found if block["type"] == "table")
    assert table["html"].startswith(f"<table><tr>{first}<td>0&lt;0</td><td>0&lt;1</td>")
    assert (len(found) == 1) == bool(first)
    if first:
        assert [text for text in page(made(paint))["text"].split("\n") if "<" not in text] == list(labels)
        assert page(made(paint))["text"].startswith("Alcona\n0<0\n0<1\n0<2\nCurtis\n1<0")


def test_turned_text_in_a_cell_is_the_cells() -> None:
    def paint(page: Any) -> None:
        ruled(page, 3, 3)
        page.insert_text((185, 105), "up", fontsize=9, rotate=90)

    (found,) = blocks(made(paint))
    assert "<td>1&lt;0</td><td>up</td>" in found["html"]


@pytest.mark.parametrize("half", [True, False])
def test_a_column_without_a_rule_or_half_a_border_makes_it_no_table(half: bool) -> None:
    def paint(page: Any) -> None:
        ruled(page, 3, 3, frozenset({(0, 0), (1, 0), (2, 0)}) if not half else frozenset())
        if half:
            page.draw_line((50, 155), (100, 155))
            page.draw_line((50, 140), (50, 170))
            page.draw_line((350, 140), (350, 170))
            page.draw_line((50, 170), (350, 170))
        for row in range(3):
            page.insert_text((155, 68 + 30 * row), "apart", fontsize=9)

    assert "table" not in {block["type"] for block in blocks(made(paint))}


def test_a_line_across_a_border_makes_it_no_table() -> None:
    def paint(page: Any) -> None:
        ruled(page)
        page.insert_text((60, 100), "a line that runs right across the borders of cells", fontsize=9)

    assert "table" not in {block["type"] for block in blocks(made(paint))}


def test_rules_that_part_no_whole_cells_make_no_table() -> None:
    def paint(page: Any) -> None:
        page.draw_rect((50, 50, 350, 140))
        page.draw_line((50, 80), (200, 80))
        page.draw_line((120, 50), (120, 110))
        page.insert_text((60, 70), "one", fontsize=9)
        page.insert_text((220, 120), "two", fontsize=9)

    assert "table" not in {block["type"] for block in blocks(made(paint))}


def test_the_first_bold_row_is_of_headings() -> None:
    def paint(page: Any) -> None:
        for y in (50, 80, 110):
            page.draw_line((50, y), (250, y))
        for x in (50, 150, 250):
            page.draw_line((x, 50), (x, 110))
        for column in range(2):
            page.insert_text((55 + 100 * column, 68), f"head {column}", fontname="hebo", fontsize=9)
            page.insert_text((55 + 100 * column, 98), f"cell {column}", fontsize=9)

    assert blocks(made(paint))[0]["html"] == (
        "<table><tr><th>head 0</th><th>head 1</th></tr><tr><td>cell 0</td><td>cell 1</td></tr></table>"
    )


@needs_chromium
def test_a_head_that_a_browser_made_bold_by_itself_is_of_headings(tmp_path: Path) -> None:
    source, target = tmp_path / "page.html", tmp_path / "page.pdf"
    source.write_text(
        "<!doctype html><meta charset=utf-8><style>table{border-collapse:collapse}"
        "td,th{border:1px solid;padding:3px 7px}</style>"
        "<table><tr><th>港口</th><th>head</th></tr><tr><td>船舶</td><td>ship</td></tr></table>",
        encoding="utf-8",
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--print-to-pdf={target}"]
    subprocess.run(["chromium", *options, source.as_uri()], capture_output=True, check=True)
    with pymupdf.open(target) as pdf:
        pdf.xref_set_key(pdf.pdf_catalog(), "StructTreeRoot", "null")
        (table,) = [block for block in blocks(pdf.tobytes()) if block["type"] == "table"]
    assert table["html"] == (
        "<table><tr><th>港口</th><th>head</th></tr><tr><td>船舶</td><td>ship</td></tr></table>"
    )


def test_sentences_above_a_table_in_small_type_are_no_headings() -> None:
    def paint(page: Any) -> None:
        page.insert_text((50, 60), "A heading in two", fontsize=20)
        page.insert_text((50, 84), "lines", fontsize=20)
        page.insert_text((50, 140), "The ratings of the last three years", fontsize=12)
        page.insert_text((50, 156), "are in the next table.", fontsize=12)
        page.insert_text((50, 200), "没有其他评级安排。", fontsize=12, fontname="china-s")
        for row in range(20):
            page.insert_text(
                (50, 240 + 14 * row), f"Row {row} of small type that is most of this page", fontsize=8
            )

    assert [block["type"] for block in blocks(made(paint))][:3] == ["heading", "paragraph", "paragraph"]


def test_headings_lists_figures_and_wrapped_paragraphs() -> None:
    def paint(page: Any) -> None:
        page.insert_text((50, 60), "A heading of the page", fontsize=20)
        page.insert_text((50, 100), "A paragraph of running text that is longer than one line", fontsize=10)
        page.insert_text((50, 113), "and goes on in a second one.", fontsize=10)
        for i in range(3):
            page.insert_text((60, 150 + 14 * i), f"{i + 1}. point {i + 1}", fontsize=10)
        picture = pymupdf.Pixmap(pymupdf.csRGB, (0, 0, 40, 40), False)
        picture.clear_with(120)
        page.insert_image((50, 220, 250, 360), pixmap=picture, keep_proportion=False)
        page.insert_text((50, 400), "After the figure stands a line.", fontsize=10)

    row = page(made(paint))
    found = json.loads(row["extra"])["blocks"]
    assert [block["type"] for block in found] == ["heading", "paragraph", "list", "figure", "paragraph"]
    assert row["html"] == (
        "<h1>A heading of the page</h1><p>A paragraph of running text that is longer than one line and goes on in"
        " a second one.</p><ol><li>point 1</li><li>point 2</li><li>point 3</li></ol><figure></figure>"
        "<p>After the figure stands a line.</p>"
    )


def test_without_the_setting_there_is_no_structure() -> None:
    row = next(render(made(ruled), PdfSettings())).to_pylist()[0]
    assert row["html"] is None
    assert "blocks" not in json.loads(row["extra"])


@needs_chromium
@pytest.mark.parametrize("border", ["1px solid #000", "none"])
def test_what_chromium_prints_is_the_html_that_it_read(tmp_path: Path, border: str) -> None:
    spans = ' colspan="2"' if border != "none" else ""
    rest, empty = ("", "") if spans else ("<td>of four</td>", "none")
    body = (
        "<h1>The harbour</h1><p>A paragraph about ships.</p><ul><li>first point</li><li>second point</li></ul>"
        "<h2>By month</h2><table><tr><th>Month</th><th>In</th><th>Out</th></tr>"
        f"<tr><td{spans}>May &amp; June</td>{rest}<td>7</td></tr>"
        f"<tr><td>July</td><td>{empty}</td><td>9</td></tr></table>"
        "<p>After it.</p>"
    )
    style = f"table{{border-collapse:collapse}} td,th{{border:{border};padding:6px}}"
    (tmp_path / "a.html").write_text(f"<!doctype html><meta charset=utf-8><style>{style}</style>{body}")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    command = ["chromium", *options, f"--print-to-pdf={tmp_path / 'a.pdf'}", (tmp_path / "a.html").as_uri()]
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    assert page((tmp_path / "a.pdf").read_bytes())["html"] == body


@needs_chromium
def test_a_table_without_rules_that_lacks_a_cell_is_none(tmp_path: Path) -> None:
    table = "<table><tr><td>May</td><td>7</td></tr><tr><td></td><td>9</td></tr></table>"
    (tmp_path / "a.html").write_text(
        f"<!doctype html><meta charset=utf-8><p>Some words before it.</p>{table}"
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    command = ["chromium", *options, f"--print-to-pdf={tmp_path / 'a.pdf'}", (tmp_path / "a.html").as_uri()]
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    assert "table" not in {block["type"] for block in blocks((tmp_path / "a.pdf").read_bytes())}


def items(marks: str, indent: float, lines: int = 2) -> bytes:
    """A list between two paragraphs: each mark (l is a bullet) at the left, its item's lines indented."""

    def paint(page: Any) -> None:
        page.insert_text((40, 40), "What comes before the list:", fontsize=10)
        y = 60
        for mark in marks.split():
            page.insert_text((40, y), mark, fontsize=10, fontname="zadb" if mark == "l" else "helv")
            for k in range(lines):
                page.insert_text((40 + indent, y), f"words of the item in line {k}", fontsize=10)
                y += 12
        page.insert_text((40, y), "What comes after the list, and is a paragraph again.", fontsize=10)

    return made(paint)


@pytest.mark.parametrize("indent", [14, 22, 34])
@pytest.mark.parametrize(
    ("marks", "tag"), [("1. 2. 3.", "ol"), ("(1) (2) (3)", "ol"), ("i. ii. iii.", "ol"), ("l l l", "ul")]
)
def test_an_item_whose_mark_hangs_is_one_item(marks: str, tag: str, indent: float) -> None:
    before, found, after = blocks(items(marks, indent))
    assert (
        found["html"]
        == f"<{tag}>{3 * '<li>words of the item in line 0 words of the item in line 1</li>'}</{tag}>"
    )
    assert (before["type"], after["type"]) == ("paragraph", "paragraph")


@pytest.mark.parametrize("mark", ["❑", "◆", "▪", "➢", "✓", "–", "→", "☐"])
def test_signs_of_all_kinds_are_marks_of_lists(mark: str) -> None:
    assert mark_of(f"{mark} an item") == ("ul", "an item")
    assert is_mark(mark)


@pytest.mark.parametrize("text", ["–5 degrees", "-x", "*note", "a dash – within", "1.5 m", "", "(see"])
def test_other_texts_begin_no_item(text: str) -> None:
    assert mark_of(text) is None


def test_a_dash_at_the_start_of_a_line_within_a_sentence_begins_no_item() -> None:
    def paint(page: Any) -> None:
        for k, text in enumerate(("A sentence that goes on", "- as some do - in a second line.")):
            page.insert_text((40, 40 + 12 * k), text, fontsize=10)

    (found,) = blocks(made(paint))
    assert found["type"] == "paragraph"


def test_marks_that_the_content_has_first_are_read_with_their_items() -> None:
    def paint(page: Any) -> None:
        for k in range(3):
            page.insert_text((40, 40 + 28 * k), f"{k + 1}.", fontsize=10)
        for k in range(6):
            page.insert_text((75, 40 + 14 * k), f"line {k} of the items", fontsize=10)

    assert blocks(made(paint))[0]["html"].count("<li>") == 3


def opening(initial: str, rest: str, drop: float) -> dict[str, Any]:
    """A page of a paragraph whose initial stands `drop` points below its first line."""

    def paint(page: Any) -> None:
        page.insert_text((40, 60 + drop), initial, fontsize=30)
        left = 42 + pymupdf.get_text_length(initial, fontsize=30)
        page.insert_text((left, 60), rest, fontsize=10)
        page.insert_text((left, 72), "and so it went on for a while, as things of this kind do", fontsize=10)

    return page(made(paint))


@pytest.mark.parametrize("drop", [0, 12])
@pytest.mark.parametrize(
    ("initial", "rest", "text"),
    [
        ("L", "ately the world changed", "Lately the world changed"),
        ("T", "HE WORLD changed", "THE WORLD changed"),
        ("A", "nd so it changed", "And so it changed"),
        ("I", "n the world it changed", "In the world it changed"),
        ("A", "world has changed", "A world has changed"),
        ("5", "tips for the world", "5 tips for the world"),
    ],
)
def test_an_initial_belongs_to_its_word(initial: str, rest: str, text: str, drop: float) -> None:
    row = opening(initial, rest, drop)
    (found,) = json.loads(row["extra"])["blocks"]
    assert found["html"] == f"<p>{text} and so it went on for a while, as things of this kind do</p>"
    assert row["text"].replace("\n", " ").startswith(text)
