from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pymupdf = pytest.importorskip("pymupdf")

from renderers import RenderError  # noqa: E402 (PyMuPDF is an extra: skip before importing what needs it)
from renderers.boxes import draw  # noqa: E402
from renderers.pdf.document import chosen  # noqa: E402
from renderers.pdf.render import PdfSettings, render  # noqa: E402
from renderers.schema import PAGES  # noqa: E402

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "manifests" / "samples" / "pdf"
SHARED = ROOT.parent / "shared" / "data" / "pdf"


def pages(document: bytes, **settings: Any) -> list[dict[str, Any]]:
    return [batch.to_pylist()[0] for batch in render(document, PdfSettings(**settings))]


def sample(name: str, **settings: Any) -> dict[str, Any]:
    return pages((SAMPLES / f"{name}.pdf").read_bytes(), **settings)[0]


def made(paint: Callable[[Any], None], width: float = 400, height: float = 300) -> bytes:
    pdf = pymupdf.open()
    paint(pdf.new_page(width=width, height=height))
    return bytes(pdf.tobytes())


def texts(page: dict[str, Any]) -> list[str]:
    return [region["text"] for region in page["regions"]]


def test_a_page_is_an_image_its_text_and_the_place_of_each_line() -> None:
    batch = next(render((SAMPLES / "two-columns.pdf").read_bytes()))
    assert batch.schema == PAGES
    page = batch.to_pylist()[0]
    image = Image.open(io.BytesIO(page["image"]))
    assert (image.format, image.mode, image.size) == ("JPEG", "L", (page["width"], page["height"]))
    assert max(image.size) == 1600
    assert page["text"] == "\n".join(texts(page))
    for region in page["regions"]:
        assert page["text"][region["start"] : region["end"]] == region["text"]
    facts = json.loads(page["extra"])
    assert facts["title"] == "two columns"
    assert facts["pages"] == 1
    assert "Times-Roman" in facts["fonts"]


def test_no_layout_model_is_loaded_with_the_renderer() -> None:
    listed = "import sys, renderers.pdf.render; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", listed], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "pymupdf" in loaded.stdout.split()
    assert not {"onnxruntime", "pymupdf.layout", "pymupdf4llm"} & set(loaded.stdout.split())


def test_columns_are_read_one_after_the_other() -> None:
    lines = texts(sample("two-columns"))
    assert lines[0] == "How a Page Is Read"
    assert lines[2].startswith("A page is a small landscape")
    left = next(i for i, line in enumerate(lines) if line.startswith("A box has a beginning"))
    right = next(i for i, line in enumerate(lines) if line.startswith("What cannot be seen"))
    assert 3 < left < right
    assert lines[-1] == "The order of these lines is part of the label."


def test_chinese_is_read_across_and_downwards_from_the_right() -> None:
    lines = sample("chinese")["regions"]
    assert [line["text"] for line in lines[:2]] == [
        "怎样读一页书",
        "一页纸是一片小小的风景。目光从左上角进入，沿着一行走到尽",
    ]
    first, second = lines[-2:]
    assert [first["text"], second["text"]] == ["春眠不觉晓，处处闻啼鸟。", "夜来风雨声，花落知多少。"]
    x0, y0, x1, y1, _, y2, *_ = first["quad"]
    assert y0 == y1
    assert x1 > x0, "upright characters: the quad begins at the page's top left"
    assert y2 - y1 > 5 * (x1 - x0)
    assert second["quad"][0] < x0


@pytest.mark.parametrize(
    ("text", "along"),
    [
        ("This line is turned by 0 degrees", (0, 1)),
        ("This line is turned by 90 degrees", (1, 0)),
        ("This line is turned by 180 degrees", (0, -1)),
        ("This line is turned by 270 degrees", (-1, 0)),
        ("and this one leans by 20", (np.sin(np.radians(20)), np.cos(np.radians(20)))),
        ("and this one leans by -35", (-np.sin(np.radians(35)), np.cos(np.radians(35)))),
    ],
)
def test_a_quad_runs_the_way_its_text_does_on_a_turned_page(text: str, along: tuple[float, float]) -> None:
    region = next(region for region in sample("rotated")["regions"] if region["text"] == text)
    quad = np.array(region["quad"]).reshape(4, 2)
    direction = (quad[1] - quad[0]) / np.hypot(*(quad[1] - quad[0]))
    np.testing.assert_allclose(direction, along, atol=2e-3)
    across = quad[3] - quad[0]
    assert abs(direction @ across) < 0.1, "corners are square"
    assert direction[0] * across[1] - direction[1] * across[0] > 0, "and clockwise"


def test_all_ink_of_a_page_lies_in_the_quads() -> None:
    for name in ("two-columns", "chinese", "rotated"):
        page = sample(name, format="png")
        ink = np.array(Image.open(io.BytesIO(page["image"])).convert("L")) < 128
        outside = ink.copy()
        for region in page["regions"]:
            outside &= ~covered(ink.shape, region["quad"], margin=2.0)
        assert not outside.any(), name
        assert ink.any()


def test_vertical_writing_mode_has_its_ink_in_its_quad() -> None:
    page = pages(vertical("春眠不觉晓，处处闻啼鸟。"), format="png")[0]
    assert texts(page) == ["春眠不觉晓，处处闻啼鸟。"]
    ink = np.array(Image.open(io.BytesIO(page["image"])).convert("L")) < 128
    quad = page["regions"][0]["quad"]
    assert not (ink & ~covered(ink.shape, quad, margin=3.0)).any()
    assert quad[0] < quad[2]
    assert quad[1] == quad[3]


def vertical(text: str) -> bytes:
    """A page in PDF's own vertical writing mode, its font not embedded."""
    shown = f"BT /F1 20 Tf 300 500 Td <{text.encode('utf-16-be').hex()}> Tj ET"
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 600]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        f"<</Length {len(shown)}>>stream\n{shown}\nendstream",
        "<</Type/Font/Subtype/Type0/BaseFont/Song/Encoding/UniGB-UCS2-V/DescendantFonts[6 0 R]>>",
        "<</Type/Font/Subtype/CIDFontType0/BaseFont/Song/CIDSystemInfo"
        "<</Registry(Adobe)/Ordering(GB1)/Supplement 2>>/DW 1000/FontDescriptor 7 0 R>>",
        "<</Type/FontDescriptor/FontName/Song/Flags 4/FontBBox[0 -200 1000 900]/Ascent 880/Descent -120>>",
    ]
    body = "".join(f"{number} 0 obj\n{content}\nendobj\n" for number, content in enumerate(objects, 1))
    return f"%PDF-1.4\n{body}trailer<</Root 1 0 R>>\n%%EOF".encode()


def covered(shape: tuple[int, ...], quad: list[float], margin: float) -> np.ndarray[Any, Any]:
    corners, whole = np.array(quad).reshape(4, 2), np.zeros(shape, bool)
    left, top = np.maximum(corners.min(0) - margin - 1, 0).astype(int)
    right, bottom = (corners.max(0) + margin + 2).astype(int)
    part = whole[top:bottom, left:right]  # what lies around the quad
    y, x = np.mgrid[: part.shape[0], : part.shape[1]] + 0.5
    part[:] = True
    for start, end in zip(corners - (left, top), np.roll(corners, -1, axis=0) - (left, top), strict=True):
        edge = (end - start) / np.hypot(*(end - start))
        part &= edge[0] * (y - start[1]) - edge[1] * (x - start[0]) > -margin
    return whole


def test_text_that_nobody_can_see_is_left_out() -> None:
    def paint(page: Any) -> None:
        page.insert_text((40, 40), "plain to see", fontsize=16)
        page.insert_text((40, 70), "render mode three", fontsize=16, render_mode=3)
        page.insert_text((40, 100), "no opacity", fontsize=16, fill_opacity=0, stroke_opacity=0)
        page.insert_text((40, 130), "white on white", fontsize=16, color=(1, 1, 1))
        page.insert_text((40, 160), "under a shape", fontsize=16)
        page.draw_rect((30, 140, 300, 170), fill=(0.2, 0.4, 0.9), color=None)
        page.insert_text((40, 190), "under a picture", fontsize=16)
        noise = np.random.default_rng(0).integers(0, 255, (40, 300, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, "PNG")
        page.insert_image((30, 172, 330, 198), stream=buffer.getvalue(), keep_proportion=False)
        page.insert_text((40, 230), "on a picture", fontsize=16, color=(1, 0, 0))
        page.insert_text((-300, 260), "off the page", fontsize=16)
        page.draw_rect((30, 270, 300, 292), fill=(0.1, 0.1, 0.1), color=None)
        page.insert_text((40, 287), "white on black", fontsize=16, color=(1, 1, 1))

    assert texts(pages(made(paint))[0]) == ["plain to see", "on a picture", "white on black"]


def test_a_word_under_a_black_bar_is_left_out_of_its_line() -> None:
    def paint(page: Any) -> None:
        page.insert_text((40, 60), "the secret word is hidden", fontname="cour", fontsize=16)
        page.draw_rect((40 + 4 * 9.6, 45, 40 + 10.4 * 9.6, 66), fill=(0, 0, 0), color=None)

    assert texts(pages(made(paint))[0]) == ["the", "word is hidden"]


def test_text_under_or_in_its_own_colour_is_left_out_beside_lines_that_show() -> None:
    def paint(page: Any) -> None:
        page.insert_text((40, 40), "a secret word here", fontname="cour", fontsize=16)
        page.draw_line((40 + 2 * 9.6, 35), (40 + 8 * 9.6, 35), width=20)
        page.insert_text((40, 80), "struck through only", fontsize=16)
        page.draw_line((40, 75), (180, 75))
        page.draw_line((30, 105), (380, 105))
        page.insert_text((40, 120), "white on white under a rule", fontsize=16, color=(1, 1, 1))
        page.draw_rect((30, 150, 200, 170), fill=(0, 0, 0))
        page.insert_text((28, 165), "black on black", fontsize=16)
        page.insert_text((40, 200), "highlighted", fontsize=16)
        page.draw_rect((30, 185, 200, 205), fill=(1, 1, 0), color=None, fill_opacity=0.4)

    assert texts(pages(made(paint))[0]) == ["a", "word here", "struck through only", "highlighted"]


def test_a_shape_painted_after_thousands_of_others_still_covers() -> None:
    def paint(page: Any) -> None:
        page.insert_text((40, 40), "plain to see", fontsize=16)
        page.insert_text((40, 80), "covered in the end", fontsize=16)
        shape = page.new_shape()
        for i in range(2500):
            x, y = 300 + i % 50, 200 + i // 50
            shape.draw_rect((x, y, x + 3, y + 3))
            shape.finish(fill=(0.5, 0.5, 0.5), color=None)
        shape.draw_rect((20, 60, 200, 90))
        shape.finish(fill=(0.2, 1, 1), color=None)
        shape.commit()

    assert texts(pages(made(paint))[0]) == ["plain to see"]


def test_text_cropped_away_is_left_out() -> None:
    def paint(page: Any) -> None:
        page.insert_text((40, 40), "above the crop", fontsize=16)
        page.insert_text((40, 200), "inside the crop", fontsize=16)
        page.set_cropbox(pymupdf.Rect(20, 150, 380, 290))

    page = pages(made(paint))[0]
    assert texts(page) == ["inside the crop"]
    assert page["width"] == pytest.approx(1500, abs=1), "360 points at no more than 300 dpi"


def test_text_painted_twice_to_look_bold_counts_once() -> None:
    def paint(page: Any) -> None:
        for offset in (0.0, 0.4):
            page.insert_text((40 + offset, 60), "heavy heading", fontsize=20)

    assert texts(pages(made(paint))[0]) == ["heavy heading"]


@pytest.mark.parametrize("turn", [0, 90])
def test_cells_close_to_a_rule_are_lines_of_their_own(turn: int) -> None:
    def paint(page: Any) -> None:
        page.insert_text((40, 50), "10", fontsize=12)
        page.insert_text((61, 50), "Hundred and", fontsize=12)
        page.insert_text((140, 50), "ten", fontsize=12)
        for x in (36, 57, 130, 160):
            page.draw_line((x, 35), (x, 55), width=0.5)
        page.draw_rect((36, 95, 57, 115))
        page.draw_rect((57, 95, 130, 115))
        page.insert_text((40, 110), "11", fontsize=12)
        page.insert_text((61, 110), "Elevens", fontsize=12)
        page.insert_text((40, 160), "no rule but a short one parts these words", fontsize=12)
        page.draw_line((59, 155), (59, 170), width=0.5)
        page.insert_text((40, 200), "a grid goes through words", fontsize=12)
        page.draw_line((72.4, 180), (72.4, 210), width=0.5)
        page.set_rotation(turn)

    lines = texts(pages(made(paint))[0])
    assert sorted(lines[:5]) == ["10", "11", "Elevens", "Hundred and", "ten"]
    assert lines[5:] == ["no rule but a short one parts these words", "a grid goes through words"]


def test_the_text_is_that_of_the_glyphs_whatever_a_document_says_they_stand_for() -> None:
    def paint(page: Any) -> None:
        page.insert_text((40, 60), "left empty", fontsize=16)
        page.insert_text((40, 100), "renamed", fontsize=16)
        document = page.parent
        for xref, said in zip(page.get_contents(), (b"()", b"(something else)"), strict=True):
            content = document.xref_stream(xref)
            document.update_stream(xref, b"/Span <</ActualText " + said + b">> BDC\n" + content + b"\nEMC\n")

    assert texts(pages(made(paint))[0]) == ["left empty", "renamed"]


def test_a_mirrored_letter_within_a_line_is_part_of_it() -> None:
    def paint(page: Any) -> None:
        page.insert_text((20, 50), "Fonts of X", fontsize=20)
        at = pymupdf.Point(123, 54)
        page.insert_text(at, "E", fontsize=20, morph=(at, pymupdf.Matrix(-1, 0, 0, 1, 0, 0)))
        page.insert_text((123, 50), "TEX are many", fontsize=20)

    (page,) = pages(made(paint))
    assert texts(page) == ["Fonts of XETEX are many"]


def test_words_are_regions_on_demand() -> None:
    lines, words = sample("two-columns"), sample("two-columns", granularity="words")
    assert words["text"] == lines["text"]
    assert [r["text"] for r in words["regions"]] == lines["text"].split()
    for region in words["regions"]:
        assert words["text"][region["start"] : region["end"]] == region["text"]


def test_a_scan_with_a_hidden_text_layer_has_no_text_layer() -> None:
    page = sample("scanned")
    assert (page["dropped"], page["image"], page["regions"]) == ("no_text_layer", None, [])
    assert page["detail"] == "only hidden text (21 characters)"


def test_letters_too_small_to_read_are_a_reason() -> None:
    document = made(lambda page: page.insert_text((40, 60), "fine print " * 20, fontsize=4), 2000, 2000)
    assert pages(document)[0]["dropped"] == "text_too_small"
    assert pages(document, long_side=4000)[0]["dropped"] is None


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "not_a_pdf"),
        (b"<html><body>%PD</body></html>", "not_a_pdf"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/><!-- %PDF-1.4 -->", "damaged"),
        (b"%PDF-1.4\nnothing that follows", "truncated"),
        (b"\xef\xbb\xbf%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 ob", "truncated"),
        (b"%PDF-1.4\nnothing that follows\n%%EOF\n", "damaged"),
        ((SAMPLES / "encrypted.pdf").read_bytes(), "encrypted"),
    ],
)
def test_a_document_that_cannot_be_read_has_a_reason(document: bytes, reason: str) -> None:
    with pytest.raises(RenderError) as caught:
        list(render(document))
    assert caught.value.reason == reason


def test_a_huge_page_is_rendered_within_bounds() -> None:
    page = pages(made(lambda p: p.insert_text((1000, 200_000), "vast", fontsize=200_000), 1e6, 1e6))[0]
    assert (page["width"], page["height"]) == (1600, 1600)
    assert texts(page) == ["vast"]


def test_pages_of_a_long_document_are_drawn_by_its_bytes_and_the_seed() -> None:
    settings = PdfSettings(max_pages=10)
    drawn = chosen(1_000_000_000, b"one", settings)
    assert len(set(drawn)) == 10
    assert list(drawn) == sorted(drawn)
    assert drawn == chosen(1_000_000_000, b"one", settings)
    assert drawn != chosen(1_000_000_000, b"two", settings)
    assert drawn != chosen(1_000_000_000, b"one", PdfSettings(max_pages=10, seed=1))
    assert list(chosen(10, b"one", settings)) == list(range(10))


def painted(content: bytes, glyph: bytes) -> bytes:
    """A page of words and this content; with a `glyph`, font F draws it for the letter a (Type 3)."""
    pdf = pymupdf.open()
    page = pdf.new_page(width=100, height=200)
    page.insert_text((10, 100), "words")
    if glyph:
        font, drawn = pdf.get_new_xref(), pdf.get_new_xref()
        pdf.update_object(drawn, "<<>>")
        pdf.update_stream(drawn, glyph)
        pdf.update_object(
            font,
            "<</Type/Font/Subtype/Type3/FontBBox[0 0 1000 1000]/FontMatrix[.001 0 0 .001 0 0]/FirstChar 97"
            f"/LastChar 97/Widths[500]/CharProcs<</a {drawn} 0 R>>/Encoding<</Differences[97/a]>>>>",
        )
        words, *_, name, _ = page.get_fonts()[0]
        pdf.xref_set_key(page.xref, "Resources", f"<</Font<</F {font} 0 R/{name} {words} 0 R>>>>")
    contents = page.get_contents()[0]
    pdf.update_stream(contents, pdf.xref_stream(contents) + b"\n" + content)
    return bytes(pdf.tobytes())


@pytest.mark.parametrize(
    ("content", "glyph", "form", "mode"),
    [
        (b"", b"", "PNG", "L"),
        (b"1 0 0 rg 0 0 5 5 re f", b"", "JPEG", "RGB"),
        (b"BT /F 20 Tf 10 50 Td (a) Tj ET", b"500 0 d0 0 1 0 rg 0 0 400 400 re f", "JPEG", "RGB"),
    ],
    ids=["flat", "coloured", "coloured Type 3 glyph"],
)
def test_auto_stores_flat_grey_pages_as_png_and_others_as_jpeg(
    content: bytes, glyph: bytes, form: str, mode: str
) -> None:
    page = next(render(painted(content, glyph), PdfSettings(format="auto"))).to_pylist()[0]
    image = Image.open(io.BytesIO(page["image"]))
    assert (image.format, image.mode) == (form, mode)


def test_the_same_document_gives_the_same_bytes() -> None:
    first, second = (sample("chinese") for _ in range(2))
    assert first == second


def test_nothing_is_written_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    broken = (
        (SAMPLES / "two-columns.pdf")
        .read_bytes()
        .replace(b"/Type/Page", b"/Typo/Page")
        .replace(b"xref", b"yref")
    )
    with contextlib.suppress(RenderError):
        pages(broken)
    assert capfd.readouterr() == ("", "")


def test_boxes_are_drawn_where_the_regions_are() -> None:
    image = Image.new("L", (60, 40), 255)
    drawn = draw(image, [{"quad": [10, 10, 50, 10, 50, 30, 10, 30]}, {"quad": None}])
    assert drawn.mode == "RGB"
    assert drawn.getpixel((30, 10)) != (255, 255, 255)
    assert drawn.getpixel((30, 20)) == (255, 255, 255)
    assert image.getpixel((30, 10)) == 255


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/pdf")
def test_every_shared_document_ends_as_records_or_reasons() -> None:
    reasons = {"no_text_layer", "text_too_small", "damaged", "encrypted", "no_pages", "not_a_pdf"}
    reasons |= {"beyond_max_pages", "truncated"}
    kept = 0
    for path in sorted(SHARED.glob("*.pdf")):
        rows = rows_or_reason(path.read_bytes())
        assert rows, path.name
        for row in rows:
            assert row["dropped"] is None or row["dropped"] in reasons
            kept += row["dropped"] is None
            quads = np.array([region["quad"] for region in row["regions"]]).reshape(-1, 2)
            assert (quads >= 0).all()
            assert not len(quads) or (quads <= (row["width"], row["height"])).all()
    assert kept > 90


def rows_or_reason(document: bytes) -> list[dict[str, Any]]:
    try:
        return pages(document, max_pages=2, long_side=800, min_text_px=3)
    except RenderError as error:
        return [{"dropped": error.reason, "regions": []}]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/pdf")
@pytest.mark.parametrize("name", ["plain_text__grobid__Wang-paperAVE2008.pdf", "zh__Qwen-Agent__poem.pdf"])
def test_an_independent_reader_finds_the_same_words_in_the_same_places(name: str) -> None:
    pdfium = pytest.importorskip("pypdfium2")
    document = (SHARED / name).read_bytes()
    other = pdfium.PdfDocument(document)
    found = total = 0
    for row in pages(document, granularity="words", max_pages=3, max_chars=0):
        if row["dropped"] == "beyond_max_pages":
            continue
        page = other[row["page"]]
        px = row["width"] / page.get_width()
        for word, box in pdfium_words(page, px):
            total += 1
            ours = [np.array(r["quad"]).reshape(4, 2) for r in row["regions"] if r["text"] == word]
            found += any(abs(np.concatenate([q.min(axis=0), q.max(axis=0)]) - box).max() <= 2 for q in ours)
    assert total > 30
    assert found >= 0.99 * total


def pdfium_words(page: Any, px: float) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """Words with boxes: glyphs' advances across, their outlines up and down, as ours."""
    text, height = page.get_textpage(), page.get_height()
    words: list[tuple[str, np.ndarray[Any, Any]]] = []
    fresh = True
    for i in range(text.count_chars()):
        character = text.get_text_range(i, 1)
        if not character.strip():
            fresh = True
            continue
        _, bottom, _, top = text.get_charbox(i)
        left, _, right, _ = text.get_charbox(i, loose=True)
        box = np.array([left, height - top, right, height - bottom]) * px
        if fresh:
            words.append((character, box))
        else:
            word, last = words[-1]
            words[-1] = (
                word + character,
                np.concatenate([np.minimum(last, box)[:2], np.maximum(last, box)[2:]]),
            )
        fresh = False
    return words


def test_a_scan_with_a_stamp_has_most_of_its_writing_unlabelled() -> None:
    def scan(page: Any) -> None:
        inner = pymupdf.open()
        sheet = inner.new_page(width=400, height=300)
        for y in range(30, 270, 12):
            sheet.insert_text(
                (20, y), "What is written here can be seen, but has no label at all", fontsize=10
            )
        page.insert_image(page.rect, pixmap=sheet.get_pixmap(dpi=200))
        page.insert_text((20, 290), "Downloaded from an archive", fontsize=8)

    (page,) = pages(made(scan))
    facts = json.loads(page["extra"])
    assert facts["class"] == "mixed"
    assert facts["image_share"] == 1.0
    assert facts["unlabelled"] > 0.9
    (whole,) = pages((SAMPLES / "two-columns.pdf").read_bytes())
    assert {k: json.loads(whole["extra"])[k] for k in ("class", "image_share", "unlabelled")} == {
        "class": "born-digital",
        "image_share": 0.0,
        "unlabelled": 0.0,
    }


def test_a_table_and_a_drawing_are_no_unlabelled_writing() -> None:
    def table(page: Any) -> None:
        for k in range(11):
            page.draw_line((20, 20 + 20 * k), (320, 20 + 20 * k), width=3)
            page.draw_line((20 + 30 * k, 20), (20 + 30 * k, 220), width=3)
        page.draw_circle((350, 250), 30)
        page.insert_text((22, 36), "cell 1", fontsize=8)

    assert json.loads(pages(made(table))[0]["extra"])["unlabelled"] < 0.1


def test_specks_of_hidden_text_under_a_scan_are_hidden_too() -> None:
    def scan(page: Any) -> None:
        for y in range(20, 280, 10):
            page.insert_text((20, y), "hidden words . - and more", fontsize=8, color=(1, 1, 1))
            page.insert_text((200, y), ".", fontsize=3, color=(1, 1, 1))
        noise = np.random.default_rng(0).integers(120, 255, (900, 1200, 3), np.uint8)
        picture = io.BytesIO()
        Image.fromarray(noise).save(picture, "PNG")
        page.insert_image(page.rect, stream=picture.getvalue())

    (page,) = pages(made(scan))
    assert page["dropped"] == "no_text_layer"
    assert json.loads(page["extra"])["class"] == "scan with OCR"


def book(count: int, **saved: Any) -> bytes:
    pdf = pymupdf.open()
    for number in range(1, count + 1):
        pdf.new_page(width=200, height=200).insert_text((20, 50), f"This is page {number}")
    return bytes(pdf.tobytes(**saved))


def test_pages_beyond_the_most_are_named_and_the_others_keep_their_numbers() -> None:
    found = pages(book(12), max_pages=5)
    assert [page["page"] for page in found] == list(range(12))
    kept = {page["page"]: page["text"] for page in found if page["dropped"] is None}
    assert len(kept) == 5
    assert all(text == f"This is page {number + 1}" for number, text in kept.items())
    left = [page for page in found if page["dropped"] is not None]
    assert {page["dropped"] for page in left} == {"beyond_max_pages"}
    assert left[0]["detail"] == "7 of 12 pages, of which max_pages = 5 were drawn"


def test_some_pages_on_demand() -> None:
    assert [page["page"] + 1 for page in pages(book(12), pages="2-3, 7,11-")] == [2, 3, 7, 11, 12]
    with pytest.raises(RenderError, match="none of pages 20-30: it has 12") as error:
        pages(book(12), pages="20-30")
    assert error.value.reason == "no_pages"


@pytest.mark.parametrize("asked", ["0", "3-1", "a", "1,,2", "1-2-3", "-3"])
def test_what_is_no_list_of_pages_is_refused(asked: str) -> None:
    with pytest.raises(ValueError, match="pages = "):
        PdfSettings(pages=asked)


def test_a_password_opens_what_wants_one() -> None:
    locked = book(1, encryption=pymupdf.PDF_ENCRYPT_AES_256, owner_pw="owner", user_pw="user")
    assert pages(locked, password="user")[0]["text"] == "This is page 1"
    for password, said in (("", "needs a password"), ("wrong", "does not open it")):
        with pytest.raises(RenderError, match=said) as error:
            pages(locked, password=password)
        assert error.value.reason == "encrypted"


@pytest.mark.parametrize(
    ("name", "share"), [("two-columns.pdf", 0.1), ("scanned.pdf", 0.5), ("scanned.pdf", 0.9)]
)
def test_a_file_that_was_cut_is_truncated(name: str, share: float) -> None:
    document = (SAMPLES / name).read_bytes()
    try:
        reasons = {page["dropped"] for page in pages(document[: int(share * len(document))])}
    except RenderError as error:
        reasons = {error.reason}
    assert reasons == {"truncated"}


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_page_of_a_cut_file_is_kept_with_the_text_that_is_there(share: float) -> None:
    document = (SAMPLES / "two-columns.pdf").read_bytes()
    (whole,) = pages(document)
    (page,) = pages(document[: int(share * len(document))])
    assert page["dropped"] is None
    assert page["text"]
    assert set(page["text"].split()) <= set(whole["text"].split())


@pytest.mark.parametrize("turn", [0, 90])
def test_a_dash_and_a_stop_have_an_area_in_whole_thousandths(turn: int) -> None:
    def specks(page: Any) -> None:
        for k in range(40):
            page.insert_text((20 + 8.03 * k, 20 + 5.07 * k), "-.|"[k % 3], fontsize=4 + k % 3, rotate=turn)
        page.insert_text((20, 280), "a line of words beside them that is easily read", fontsize=9)

    (page,) = pages(made(specks))
    for region in page["regions"]:
        across = {min(999, int(1000 * x / page["width"])) for x in region["quad"][0::2]}
        down = {min(999, int(1000 * y / page["height"])) for y in region["quad"][1::2]}
        assert len(across) > 1, region["text"]
        assert len(down) > 1, region["text"]


def test_text_filled_with_a_gradient_is_labelled_and_a_mere_clip_is_not() -> None:
    pdf = pymupdf.open()
    page = pdf.new_page(width=400, height=300)
    page.insert_text((20, 40), "plain", fontsize=20)
    page.insert_text((20, 100), "gradient", fontsize=40)
    page.insert_text((20, 200), "clip only", fontsize=40, render_mode=7)
    pattern, function = pdf.get_new_xref(), pdf.get_new_xref()
    pdf.update_object(function, "<</FunctionType 2/Domain[0 1]/C0[1 0 0]/C1[0 0 1]/N 1>>")
    shading = (
        f"<</ShadingType 2/ColorSpace/DeviceRGB/Coords[0 0 400 0]/Function {function} 0 R/Extend[true true]>>"
    )
    pdf.update_object(pattern, f"<</PatternType 2/Shading {shading}>>")
    resources = int(pdf.xref_get_key(page.xref, "Resources")[1].split()[0])
    pdf.xref_set_key(resources, "Pattern", f"<</P {pattern} 0 R>>")
    second = page.get_contents()[1]
    pdf.update_stream(second, pdf.xref_stream(second).replace(b"BT", b"/Pattern cs /P scn BT"))
    (row,) = pages(pdf.tobytes())
    assert texts(row) == ["plain", "gradient"]
