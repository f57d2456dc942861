"""Makes the sample PDFs in pdf/: our own words, CC0-1.0; a subset of Noto Serif CJK, OFL-1.1, in one of them.

    python manifests/samples/make_pdf.py

Needs PyMuPDF, fontTools and fonts-noto-cjk. The same versions give the same bytes, but for the encrypted one.
"""

from __future__ import annotations

import io
from pathlib import Path

import pymupdf
from fontTools import subset
from fontTools.ttLib import TTFont

OUT = Path(__file__).parent / "pdf"
SERIF = "/usr/share/fonts/opentype/noto/NotoSerifCJK-Regular.ttc"
SIMPLIFIED = 2  # of the faces in that file
A4 = pymupdf.paper_rect("a4")

LEFT = [
    "A page is a small landscape. The eye enters at the top left, walks along a line until it ends, drops "
    "to the next. Where a page has two columns the walk is broken: at the foot of the first column the eye "
    "climbs again and starts afresh. Nothing in the file says so. The order has to be found from the white "
    "space between the blocks, as a reader finds it.",
    "A line of text is a rectangle only as long as nobody turns the page. Maps carry street names that lean "
    "with the street, tables turn their headings to save room, and scanners swallow sheets sideways. A box "
    "drawn around such a line must lean with it, or it will hold more paper than ink.",
    "A box has a beginning as well as a size. The first corner is where the first letter has its top left, "
    "and the others follow clockwise, so that a reader of the label knows which way the words run.",
]
RIGHT = [
    "What cannot be seen must not be learnt. Files hide words under pictures, outside the margins, or in the "
    "colour of the paper. A reader who is asked for them can only guess; a model that is taught to answer "
    "all the same is taught to invent.",
    "Office, affluent, fjord, flying buffaloes: some fonts join the letters of these words into one shape. "
    "The label spells them out, letter by letter, as anyone would who types what is written here.",
    "Some words are broken where the line is full. The hyphen at the end is printed, so it belongs to the "
    "label; whether the word would have one elsewhere is a question for another day, and another tool.",
]
TITLE = "怎样读一页书"
CHINESE = [
    "一页纸是一片小小的风景。目光从左上角进入，沿着一行走到尽头，再落到下一行。",
    "书上的字有横排，也有直排。横排自左而右，直排自上而下，行与行自右而左。",
    "看不见的字不应当学。藏在图画下面、页边之外，或者与纸同色的字，谁也读不出来。",
    "标点也是字的一部分：逗号、句号、引号“”和书名号《》都要照样写下。",
]
VERTICAL = ["春眠不觉晓，处处闻啼鸟。", "夜来风雨声，花落知多少。"]


def save(pdf: pymupdf.Document, name: str, **options: object) -> None:
    """Write the document without what changes from run to run."""
    pdf.set_metadata({"title": name.replace("-", " "), "author": "curate", "producer": "", "creator": ""})
    pdf.save(OUT / f"{name}.pdf", garbage=4, deflate=True, no_new_id=True, **options)


def small_font(text: str) -> bytes:
    """The glyphs of `text` alone, as an OpenType font."""
    whole = TTFont(SERIF, fontNumber=SIMPLIFIED)
    cut = subset.Subsetter(
        subset.Options(
            layout_features=[], retain_gids=True, name_IDs=[0, 1, 2, 13, 14], recalc_timestamp=False
        )
    )
    cut.populate(text=text)
    cut.subset(whole)
    buffer = io.BytesIO()
    whole.save(buffer)
    return buffer.getvalue()


def two_columns() -> None:
    """A title over two columns of running text."""
    pdf = pymupdf.open()
    page = pdf.new_page(width=A4.width, height=A4.height)
    page.insert_textbox((60, 60, 535, 100), "How a Page Is Read", fontname="tibo", fontsize=22, align=1)
    page.insert_textbox(
        (60, 95, 535, 120), "a sample for curate, in two columns", fontname="tiit", fontsize=12, align=1
    )
    for left, texts in ((60, LEFT), (310, RIGHT)):
        top = 140.0
        for text in texts:
            box = pymupdf.Rect(left, top, left + 225, top + 300)
            room = page.insert_textbox(box, text, fontname="tiro", fontsize=11, align=3)
            top += 300 - room + 8
    page.insert_textbox(
        (60, 760, 535, 780), "The order of these lines is part of the label.", fontsize=9, align=1
    )
    save(pdf, "two-columns")


def chinese() -> None:
    """Lines across, and a poem downwards in two columns."""
    pdf = pymupdf.open()
    page = pdf.new_page(width=A4.width, height=A4.height)
    font = pymupdf.Font(fontbuffer=small_font("".join([TITLE, *CHINESE, *VERTICAL])))
    across = pymupdf.TextWriter(page.rect)
    across.append((60, 100), TITLE, font=font, fontsize=24)
    for row, text in enumerate(CHINESE):
        for part, start in enumerate(range(0, len(text), 28)):
            across.append((60, 150 + 60 * row + 26 * part), text[start : start + 28], font=font, fontsize=15)
    across.write_text(page)
    down = pymupdf.TextWriter(page.rect)
    for column, text in enumerate(VERTICAL):
        for row, character in enumerate(text):
            down.append((480 - 40 * column, 460 + 24 * row), character, font=font, fontsize=20)
    down.write_text(page)
    save(pdf, "chinese")


def rotated() -> None:
    """A turned page with lines in six directions."""
    pdf = pymupdf.open()
    page = pdf.new_page(width=A4.width, height=A4.height)
    for turn, at in ((0, (200, 120)), (90, (120, 700)), (180, (400, 740)), (270, (480, 200))):
        page.insert_text(
            at, f"This line is turned by {turn} degrees", fontname="tiro", fontsize=16, rotate=turn
        )
    for slant in (20, -35):
        at = pymupdf.Point(200, 380 if slant > 0 else 560)
        page.insert_text(
            at,
            f"and this one leans by {slant}",
            fontname="tiro",
            fontsize=16,
            morph=(at, pymupdf.Matrix(slant)),
        )
    page.set_rotation(90)
    save(pdf, "rotated")


def encrypted() -> None:
    """A page that needs a password."""
    pdf = pymupdf.open()
    pdf.new_page().insert_text((72, 72), "Only with the password.", fontname="tiro")
    save(pdf, "encrypted", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="sesame", owner_pw="open")


def scanned() -> None:
    """A picture of words with its invisible text layer."""
    words = pymupdf.open()
    words.new_page(width=300, height=120).insert_text(
        (20, 60), "A scan of typed words", fontname="cour", fontsize=18
    )
    picture = words[0].get_pixmap(dpi=150, colorspace=pymupdf.csGRAY).tobytes("png")
    pdf = pymupdf.open()
    page = pdf.new_page(width=300, height=120)
    page.insert_image(page.rect, stream=picture)
    page.insert_text((20, 60), "A scan of typed words", fontname="cour", fontsize=18, render_mode=3)
    save(pdf, "scanned")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for make in (two_columns, chinese, rotated, encrypted, scanned):
        make()
