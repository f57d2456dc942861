"""PDF pages as images with the place of every line: Qwen-VL, appendix A.4, steps 1 and 2.

One pass over a page's content makes a display list; text and pixels both come from it, so that they agree.
Documents are hostile: run `render` in a process that can be killed, with a limit to its memory and a deadline
for each page.
"""

from __future__ import annotations

import gc
import hashlib
import io
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from PIL import Image

from renderers import RenderError
from renderers.pdf.bidi import is_rtl
from renderers.pdf.cover import VECTOR_BLOCK, image_share, layers, shapes_of
from renderers.pdf.frames import Box, Turn, View
from renderers.pdf.join import distinct
from renderers.pdf.line import Line
from renderers.pdf.lines import page_lines, structured
from renderers.pdf.mupdf import mupdf, pymupdf
from renderers.pdf.order import reading_order
from renderers.pdf.pieces import piece_of
from renderers.pdf.pixels import Picture, coloured
from renderers.pdf.plain import plain_lines
from renderers.pdf.rules import Rules
from renderers.pdf.sight import seen
from renderers.pdf.unlabelled import unlabelled_share
from renderers.schema import Page, Region, record

HEADER = b"%PDF-"  # without it MuPDF would try its readers of HTML, SVG, …
HEADER_WITHIN = 1024  # bytes, as readers agree
# MuPDF's errors and its binding's; anything else is a mistake of ours, and shall not pass for the document's
UNREADABLE = (mupdf.FzErrorBase, RuntimeError, ValueError, AssertionError, IndexError, MemoryError)
POINTS_AN_INCH = 72
SCAN_SHARE = 0.7  # of the page: with so much image it is a scan, or has one beneath its text
SPECKS = 0.1  # of the characters of a page with a scan: where fewer can be seen, they are a hidden layer's
DRAWINGS = 10  # shapes other than rectangles: with more, letters may be among them
FLAT_SHARE = 0.8  # of the pixels, in two shades
STORE_FREED = 95  # per cent of MuPDF's store, after each document: its latest, colours, are dear to make


@dataclass(frozen=True)
class PdfSettings:
    """How pages are chosen, rendered and stored."""

    long_side: int = 1600  # px of the image, where max_dpi allows
    max_dpi: float = 300.0  # small pages are not blown up beyond this
    granularity: Literal["lines", "words"] = "lines"
    format: Literal["jpeg", "png", "auto"] = "jpeg"  # auto: PNG for flat pages without colour, else JPEG
    quality: int = 90  # of JPEG
    min_text_px: float = 6.0  # half of a page's characters stand in lines at least so high, or it is dropped
    max_pages: int = (
        100  # of a document; of a longer one so many are drawn, the same for the same bytes and seed
    )
    seed: int = 0


def render(document: bytes, settings: PdfSettings | None = None) -> Iterator[pa.RecordBatch]:
    """One batch of one row (`schema.PAGES`) a page, in page order, each as soon as it is done.

    A page that gives no record is a row with `dropped`: `no_text_layer` (no text that a person could see),
    `text_too_small` (to be read from the image), `damaged`, `out_of_memory`.

    Raises:
        RenderError: the document is `not_a_pdf`, `damaged`, `encrypted` (needs a password), has `no_pages`.
    """
    settings = settings or PdfSettings()
    pdf = opened(document)
    try:
        facts = {"title": (pdf.metadata or {}).get("title") or None, "pages": pdf.page_count}
        for number in chosen(pdf.page_count, document, settings):
            yield guarded_record(pdf, number, facts, settings)
    finally:
        pdf.close()
        pymupdf.TOOLS.store_shrink(STORE_FREED)


def opened(document: bytes) -> pymupdf.Document:
    """The document, of which at least one page is said to be there."""
    if HEADER not in document[:HEADER_WITHIN]:
        raise RenderError("not_a_pdf", f"no {HEADER.decode()} in its first {HEADER_WITHIN} bytes")
    try:
        pdf = pymupdf.open(stream=document, filetype="pdf")
        if not pdf.is_pdf:
            raise RenderError("not_a_pdf", "MuPDF takes it for another format")
        if pdf.needs_pass:
            raise RenderError("encrypted", "needs a password")
        if pdf.page_count < 1:
            raise RenderError("no_pages", "its page tree is empty")
    except UNREADABLE as error:
        raise RenderError(*failure(error)) from error
    return pdf


def failure(error: BaseException) -> tuple[str, str]:
    """The reason and detail that an error of MuPDF's stands for."""
    told = " ".join(str(error.__cause__ or error).split())[:200] or type(error).__name__
    if isinstance(error, MemoryError) or "alloc" in told:
        return "out_of_memory", told
    return "encrypted" if "encryption" in told else "damaged", told


def chosen(pages: int, document: bytes, settings: PdfSettings) -> Sequence[int]:
    """The page numbers to render, ascending: all, or `max_pages` drawn by document and seed."""
    if pages <= settings.max_pages:
        return range(pages)
    seed = hashlib.sha256(document).digest() + settings.seed.to_bytes(8, "big", signed=True)
    drawn: set[int] = set()
    for draw in itertools.count():
        if len(drawn) >= settings.max_pages:
            break
        drawn.add(int.from_bytes(hashlib.sha256(seed + draw.to_bytes(8, "big")).digest(), "big") % pages)
    return sorted(drawn)


def guarded_record(
    pdf: pymupdf.Document, number: int, facts: Mapping[str, Any], settings: PdfSettings
) -> pa.RecordBatch:
    """The page's row, or what became of it instead.

    Without the garbage collector: a page's thousands of small dictionaries hold no cycles, and walking them
    takes longer than all else.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return record(page(pdf, number, facts, settings))
    except UNREADABLE as error:
        return record(dropped(number, facts, *failure(error)))
    finally:
        if collecting:
            gc.enable()


def dropped(number: int, facts: Mapping[str, Any], reason: str, detail: str) -> Page:
    """A page without a record."""
    return Page(number, None, None, None, None, (), json.dumps(facts), reason, detail)


def page(pdf: pymupdf.Document, number: int, facts: Mapping[str, Any], settings: PdfSettings) -> Page:
    """The page as an image with its regions, or dropped."""
    loaded = pdf[number]
    display = loaded.get_displaylist()  # with annotations and form fields as they look
    text = structured(display, 0.0)
    blocks = text.extractDICT()["blocks"]
    rules = Rules(blocks)
    lines = plain_lines(text, blocks, tuple(display.rect), rules) if settings.granularity == "lines" else None
    if lines is None:
        lines = page_lines(display, text)
    drawn = layers(display, order=False)
    images = image_share(drawn.pictures, tuple(display.rect))
    facts = {**facts, "image_share": round(images, 2)}
    if not lines:
        hidden = hidden_text(text)
        kind = page_class(images, bool(hidden), False)
        return dropped(number, {**facts, "class": kind}, "no_text_layer", said_of(hidden))
    px_a_point = scale(display, settings)
    height = text_height(lines) * px_a_point
    if height < settings.min_text_px:
        return dropped(number, facts, "text_too_small", f"lines {height:.1f} px high")
    picture = Picture(display, px_a_point, colour=coloured(loaded, display))
    visible = seen(lines, display, text, picture, shapes_of(blocks), drawn)
    if reason := hides(lines, visible, images):
        facts["class"] = page_class(images, True, False)
        return dropped(number, facts, "no_text_layer", reason)
    regions = page_regions(visible, rules, picture.view, settings)
    image, form = encoded(picture, settings)
    quads = np.array([region.quad for region in regions]).reshape(-1, 4, 2)
    may_hold = drawn.pictures or drawn.images or len(visible) < len(lines) or has_drawings(blocks)
    facts |= {
        "class": page_class(images, False, True),
        "unlabelled": round(unlabelled_share(picture.pixels, quads), 3) if may_hold else 0.0,
        "fonts": sorted(
            {line.font.partition(" (")[0] for line in lines}
        ),  # Type3 fonts have an object's number
        "rotation": loaded.rotation,
    }
    return Page(number, image, form, *picture.view.size, regions, json.dumps(facts, ensure_ascii=False))


def has_drawings(blocks: Iterable[dict[str, Any]]) -> bool:
    """True where so many shapes other than rectangles are drawn that they may be letters."""
    shapes = (block for block in blocks if block["type"] == VECTOR_BLOCK and not block["isrect"])
    return next(itertools.islice(shapes, DRAWINGS, None), None) is not None


def page_class(images: float, hidden: bool, shown: bool) -> str:
    """What kind of page it is, by the share of images on it, and whether it has hidden text, and shown text."""
    if shown:
        return "mixed" if images >= SCAN_SHARE else "born-digital"
    if images < SCAN_SHARE:
        return "without text"
    return "scan with OCR" if hidden else "scan"


def hides(lines: Sequence[Line], visible: Sequence[Line], images: float) -> str:
    """Why the text that can be seen is no label; empty where it is one.

    Of a hidden layer under a scan specks may show: dots and dashes on the scan's dirt.
    """
    if not visible:
        return "none of its text can be seen"
    count, shown = (sum(len(line.text) for line in some) for some in (lines, visible))
    if images >= SCAN_SHARE and shown < SPECKS * count:
        return f"hidden text, of which specks can be seen ({shown} of {count} characters)"
    return ""


def hidden_text(text: pymupdf.TextPage) -> str:
    """The text of a page without painted text."""
    return str(text.extractText().strip())


def said_of(hidden: str) -> str:
    """What to say of it."""
    return f"only hidden text ({len(hidden)} characters)" if hidden else "no text"


def scale(display: pymupdf.DisplayList, settings: PdfSettings) -> float:
    """Pixels a point, so that the long side comes to the wanted size."""
    width: float = display.rect.width
    height: float = display.rect.height
    if not 0 < min(width, height) <= max(width, height) < math.inf:
        raise ValueError(f"page of {width} × {height} points")
    return min(settings.long_side / max(width, height), settings.max_dpi / POINTS_AN_INCH)


def text_height(lines: Sequence[Line]) -> float:
    """The height, in points, of the line that the page's middle character stands in, from small to large."""
    sizes = sorted((line.box[3] - line.box[1], len(line.text)) for line in lines)
    passed = list(itertools.accumulate(count for _, count in sizes))
    return next(height for (height, _), so_far in zip(sizes, passed, strict=True) if 2 * so_far >= passed[-1])


def page_regions(lines: Sequence[Line], rules: Rules, view: View, settings: PdfSettings) -> list[Region]:
    """The lines, or their words, as regions in reading order."""
    rows = [
        list(r.words()) if settings.granularity == "words" else [r] for r in in_order(distinct(lines), rules)
    ]
    parts = [part for row in rows for part in row]
    quads = view.quads([part.box for part in parts], [part.turn for part in parts])
    upright = [i for i, part in enumerate(parts) if part.stacked]
    quads[upright] = np.roll(quads[upright], 1, axis=1)  # upright characters begin at their own top left
    corners = quads.clip(0, view.size).reshape(-1, 8).tolist()
    ends = {end - 1 for end in itertools.accumulate(len(row) for row in rows)}
    return [
        Region(part.text, tuple(quad), after="\n" if i in ends else " ")
        for i, (part, quad) in enumerate(zip(parts, corners, strict=True))
        if part.text
    ]


def in_order(lines: Sequence[Line], rules: Rules) -> Iterator[Line]:
    """The lines in reading order: first the direction in which most of the page is read, then the others."""
    share: Counter[Turn] = Counter()
    for line in lines:
        share[line.turn] += len(line.text)
    for turn, _ in share.most_common():
        group = [line for line in lines if line.turn == turn]
        boxes, drawn = [line.box for line in group], rules.turned(turn)
        if is_rtl("".join(line.text for line in group)):  # columns and cells go from the right as well
            boxes, drawn = mirrored(boxes), mirrored(drawn)
        pieces = [
            piece_of(i, line.text, box, line.size)
            for i, (line, box) in enumerate(zip(group, boxes, strict=True))
        ]
        yield from (group[i] for i in reading_order(pieces, drawn))


def mirrored(boxes: Sequence[Box]) -> list[Box]:
    """The boxes with left and right exchanged."""
    return [(-u1, v0, -u0, v1) for u0, v0, u1, v1 in boxes]


def encoded(picture: Picture, settings: PdfSettings) -> tuple[bytes, str]:
    """The image's bytes and their format."""
    mode = "RGBX" if picture.colour else "L"
    image = Image.frombuffer(mode, picture.view.size, picture.pixels, "raw", mode, 0, 1)  # a view, not a copy
    form = settings.format
    if form == "auto":
        form = "png" if not picture.colour and is_flat(image) else "jpeg"
    buffer = io.BytesIO()
    if form == "png":
        (image.convert("RGB") if picture.colour else image).save(buffer, "PNG", compress_level=1)
    else:
        image.save(buffer, "JPEG", quality=settings.quality)
    return buffer.getvalue(), form


def is_flat(image: Image.Image) -> bool:
    """True where two shades make up most of a grey image."""
    shades = sorted(image.histogram())
    return sum(shades[-2:]) >= FLAT_SHARE * sum(shades)
