"""PDF pages as images with the place of every line: Qwen-VL, appendix A.4, steps 1 and 2.

One pass over a page's content makes a display list; text and pixels both come from it, so that they agree.
Documents are hostile: run `render` in a process that can be killed, with a limit to its memory and a deadline
for each page.
"""

from __future__ import annotations

import gc
import io
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from renderers import RenderError
from renderers.pdf.bands import bands_by_length, bands_of, lines_in
from renderers.pdf.bidi import is_rtl
from renderers.pdf.cover import VECTOR_BLOCK, shapes_of
from renderers.pdf.document import UNREADABLE, chosen, failure, is_cut, opened, wanted_pages
from renderers.pdf.frames import DOWN, LEVEL, Box, Turn, View
from renderers.pdf.initials import line_ends
from renderers.pdf.join import LEADERS, distinct
from renderers.pdf.kinds import SCAN_SHARE, hidden_text, hides, page_class, said_of
from renderers.pdf.letter_shapes import unlike_share
from renderers.pdf.line import Line
from renderers.pdf.mupdf import pymupdf
from renderers.pdf.ocr import check_engine, lines_read, not_among, ocr_facts
from renderers.pdf.order import reading_order
from renderers.pdf.page_content import PageContent, content_of
from renderers.pdf.pieces import piece_of
from renderers.pdf.pixels import Area, Picture, coloured
from renderers.pdf.rules import Rules
from renderers.pdf.settings import PdfSettings
from renderers.pdf.sight import seen
from renderers.pdf.structure import blocks_of, described
from renderers.pdf.tags import tags_of
from renderers.pdf.unlabelled import unlabelled_share
from renderers.pdf.upright_columns import parted_furigana
from renderers.schema import Page, Region, record

MAX_NAMED = 10_000  # pages beyond max_pages that have a row each
POINTS_AN_INCH = 72
DRAWINGS = 10  # shapes other than rectangles: with more, letters may be among them
READ_SHARE = 0.1  # of a scan's writing: with so much in none of the page's own lines it is read by OCR
# That are written around a text and for its place, at most, as rule `target_too_long` counts them
QUAD_CHARS = 66
GRID_CELL = 0.00101  # of the longer side: what is as wide has two different thousandths of it
HEAD_EM = 0.5  # so far may a level heading reach into columns that are read downwards
FLAT_SHARE = 0.8  # of the pixels, in two shades
STORE_FREED = 95  # per cent of MuPDF's store, after each document: its latest, colours, are dear to make


def check_machine(settings: PdfSettings) -> None:
    """Raises: NotReadyError, which says what this machine lacks to render PDFs so, and how to mend it."""
    check_engine(settings)


def render(document: bytes, settings: PdfSettings | None = None) -> Iterator[pa.RecordBatch]:
    """One batch of one row (`schema.PAGES`) a page, in page order, each as soon as it is done.

    A long page whose text would be too small gives several, from the top, numbered in `part` from 1.
    A page that gives no record is a row with `dropped`: `no_text_layer` (no text that a person could see),
    `text_too_small` (to be read from the image), `ocr_uncertain`, `ocr_timed_out`, `ocr_failed`,
    `beyond_max_pages`, `truncated` (no text, or damaged, in a file
    that was cut), `damaged`, `out_of_memory`.

    Raises:
        RenderError: the document is `not_a_pdf`, `truncated`, `damaged`, `encrypted` (needs a password), has
            `no_pages`.
    """
    settings = settings or PdfSettings()
    pdf = opened(document, settings.password)
    try:
        wanted = wanted_pages(settings.pages, pdf.page_count)
        facts = {"title": (pdf.metadata or {}).get("title") or None, "pages": pdf.page_count}
        taken = {wanted[i] for i in chosen(len(wanted), document, settings)}
        left_out = itertools.islice((number for number in wanted if number not in taken), MAX_NAMED)
        why = f"{len(wanted) - len(taken)} of {len(wanted)} pages, of which max_pages = {settings.max_pages}"
        cut = pdf.is_repaired and is_cut(document)
        for number in sorted(taken.union(left_out)):
            if number in taken:
                yield from guarded_records(pdf, number, facts, settings, cut=cut)
            else:
                yield record(dropped(number, facts, "beyond_max_pages", f"{why} were drawn"))
    finally:
        pdf.close()
        pymupdf.TOOLS.store_shrink(STORE_FREED)


def guarded_records(
    pdf: pymupdf.Document, number: int, facts: Mapping[str, Any], settings: PdfSettings, *, cut: bool
) -> list[pa.RecordBatch]:
    """The page's rows, or what became of it instead; `cut` says that the file's end is missing.

    Without the garbage collector: a page's thousands of small dictionaries hold no cycles, and walking them
    takes longer than all else.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        try:
            found = page(pdf, number, facts, settings)
        except UNREADABLE as error:
            found = [dropped(number, facts, *failure(error))]
        return [record(cut_off(one) if cut else one) for one in found]
    finally:
        if collecting:
            gc.enable()


def cut_off(found: Page) -> Page:
    """The page of a file whose end is missing: that is why it has no text, or is damaged."""
    if found.dropped not in ("no_text_layer", "damaged"):
        return found
    return found._replace(dropped="truncated", detail=f"the file's end is missing; {found.detail}")


def dropped(number: int, facts: Mapping[str, Any], reason: str, detail: str) -> Page:
    """A page without a record."""
    return Page(number, None, None, None, None, (), json.dumps(facts), reason, detail)


def page(pdf: pymupdf.Document, number: int, facts: Mapping[str, Any], settings: PdfSettings) -> list[Page]:
    """The page as an image with its regions, or dropped; a long one in several parts."""
    content = content_of(pdf[number], settings)
    facts = {**facts, "image_share": round(content.images, 2)}
    if not content.lines:
        hidden = hidden_text(content.text)
        return [scanned(content, number, facts, settings, hidden=bool(hidden), why=said_of(hidden))]
    box: Box = tuple(content.display.rect)
    px_a_point, height = scale(box, settings), text_height(content.lines)
    if height * px_a_point >= settings.min_text_px:
        whole = drawn(content, number, facts, settings, px_a_point)
        bands = shorter_bands(content, whole, settings)
        if not bands:
            return [whole]
    else:
        bands = bands_of(box, content.lines, content.layers.pictures)
    smallest = min((scale(band, settings) for band in bands), default=0.0)
    if height * smallest < settings.min_text_px:
        return [dropped(number, facts, "text_too_small", f"lines {height * px_a_point:.1f} px high")]
    out = []
    for part, band in enumerate(bands, 1):
        said = {**facts, "part": part, "parts": len(bands)}
        inside = content._replace(lines=lines_in(band, content.lines))
        if inside.lines:
            one = drawn(inside, number, said, settings, smallest, area_px(band, smallest))
        else:
            one = dropped(number, said, "no_text_layer", "no text in this part of the page")
        out.append(one._replace(part=part))
    return out


def shorter_bands(content: PageContent, whole: Page, settings: PdfSettings) -> list[Box]:
    """The bands of a page whose regions come to more than `max_chars`; none where they do not."""
    length = sum(len(region.text) + QUAD_CHARS for region in whole.regions)
    if settings.structure or not 0 < settings.max_chars < length:
        return []
    by_words = settings.granularity == "words"
    lengths = [
        len(line.text) + QUAD_CHARS * (line.text.count(" ") + 1 if by_words else 1) for line in content.lines
    ]
    box: Box = tuple(content.display.rect)
    return bands_by_length(box, content.lines, lengths, content.layers.pictures, settings.max_chars)


def area_px(band: Box, px_a_point: float) -> Area:
    """A band of the page in whole pixels."""
    x0, y0, x1, y1 = (round(side * px_a_point) for side in band)
    return x0, y0, x1, y1


def drawn(
    content: PageContent,
    number: int,
    facts: Mapping[str, Any],
    settings: PdfSettings,
    px_a_point: float,
    area: Area | None = None,
) -> Page:
    """A page, or an area of it, as an image with its lines that can be seen; dropped where none can."""
    display, lines = content.display, content.lines
    picture = Picture(display, px_a_point, colour=coloured(content.page, display), area=area)
    visible = seen(lines, display, content.text, picture, shapes_of(content.blocks), content.layers)
    if reason := hides(lines, visible, content.images):
        return scanned(content, number, facts, settings, hidden=True, why=reason)
    pictures = content.layers.pictures or content.layers.images
    may_hold = bool(pictures) or len(visible) < len(lines) or has_drawings(content.blocks)
    said = {
        **facts,
        "class": page_class(content.images, False, True),
        "unlike": round(unlike_share(visible, content.text, picture), 3),
        # Type3 fonts have an object's number
        "fonts": sorted({line.font.partition(" (")[0] for line in lines}),
    }
    label, own = Label(number, said, may_hold), distinct(visible)
    if settings.ocr == "none" or area or content.images < SCAN_SHARE:
        return labelled(content, own, picture, label, settings)
    return with_scan(content, own, picture, label, settings)


def with_scan(
    content: PageContent, own: list[Line], picture: Picture, label: Label, settings: PdfSettings
) -> Page:
    """A page with a scan and text of its own, such as a stamp: where that is not all its writing, the rest by OCR."""
    quads = picture.view.quads([line.box for line in own], [line.turn for line in own])
    if unlabelled_share(picture.pixels, quads) < READ_SHARE:
        return labelled(content, own, picture, label, settings)
    try:
        read = lines_read(content.display, picture.view.scale, settings, text=False)
    except RenderError as error:
        return dropped(label.number, label.said, error.reason, error.detail)
    if read := not_among(read, own):
        if small := small_text([*own, *read], picture.view.scale, settings):
            return dropped(label.number, label.said, "text_too_small", small)
        label.said["ocr"] = ocr_facts(read, settings)
    return labelled(content, [*own, *read], picture, label, settings)


def scanned(
    content: PageContent,
    number: int,
    facts: Mapping[str, Any],
    settings: PdfSettings,
    *,
    hidden: bool,
    why: str,
) -> Page:
    """A page without text that a person sees: read by OCR where it is a scan and that is wanted, else dropped."""
    facts = {**facts, "class": page_class(content.images, hidden, False)}
    if settings.ocr == "none" or content.images < SCAN_SHARE:
        return dropped(number, facts, "no_text_layer", why)
    px_a_point = scale(tuple(content.display.rect), settings)
    try:
        lines = lines_read(content.display, px_a_point, settings)
    except RenderError as error:
        return dropped(number, facts, error.reason, error.detail)
    if not lines:
        return dropped(number, facts, "no_text_layer", f"{why}; OCR reads none")
    if small := small_text(lines, px_a_point, settings):
        return dropped(number, facts, "text_too_small", small)
    picture = Picture(content.display, px_a_point, colour=coloured(content.page, content.display))
    said = {**facts, "unlike": 0.0, "ocr": ocr_facts(lines, settings)}
    return labelled(content, lines, picture, Label(number, said, True), settings)


class Label(NamedTuple):
    """What is known of a page's text before it is put in order."""

    number: int
    said: dict[str, Any]  # what `extra` says
    may_hold: bool  # writing that is in no line


def labelled(
    content: PageContent, lines: Sequence[Line], picture: Picture, label: Label, settings: PdfSettings
) -> Page:
    """The page with its lines in reading order, its structure where that is wanted, and what can be told of it."""
    ordered = list(in_order(lines, content.rules))
    regions = page_regions(ordered, picture.view, settings)
    image, form = encoded(picture, settings)
    quads = np.array([region.quad for region in regions]).reshape(-1, 4, 2)
    unlabelled = round(unlabelled_share(picture.pixels, quads), 3) if label.may_hold else 0.0
    said = {**label.said, "unlabelled": unlabelled, "rotation": content.page.rotation}
    markup = None
    if settings.structure:
        box: Box = tuple(content.display.rect)
        tree = tags_of(content.page.parent, content.display)
        blocks = blocks_of(ordered, tree, content.rules.boxes, content.layers.pictures, box)
        said["blocks"] = described(blocks, picture.view)
        markup = "".join(block.html for block in blocks)
    extra = json.dumps(said, ensure_ascii=False)
    return Page(label.number, image, form, *picture.view.size, regions, extra, html=markup)


def has_drawings(blocks: Iterable[dict[str, Any]]) -> bool:
    """True where so many shapes other than rectangles are drawn that they may be letters."""
    shapes = (block for block in blocks if block["type"] == VECTOR_BLOCK and not block["isrect"])
    return next(itertools.islice(shapes, DRAWINGS, None), None) is not None


def scale(box: Box, settings: PdfSettings) -> float:
    """Pixels a point, so that the long side of a page, or of a part of it, comes to the wanted size."""
    width, height = box[2] - box[0], box[3] - box[1]
    if not 0 < min(width, height) <= max(width, height) < math.inf:
        raise ValueError(f"page of {width} × {height} points")
    return min(settings.long_side / max(width, height), settings.max_dpi / POINTS_AN_INCH)


def text_height(lines: Sequence[Line]) -> float:
    """The height, in points, of the line that the page's middle character stands in, from small to large.

    Lines of dots count only where there are no others: a dot is low in any size.
    """
    words = [line for line in lines if not LEADERS.issuperset(line.text)] or lines
    sizes = sorted((line.box[3] - line.box[1], len(line.text)) for line in words)
    passed = list(itertools.accumulate(count for _, count in sizes))
    return next(height for (height, _), so_far in zip(sizes, passed, strict=True) if 2 * so_far >= passed[-1])


def small_text(lines: Sequence[Line], px_a_point: float, settings: PdfSettings) -> str:
    """How high the page's lines are, where that is too small to be read; else nothing."""
    height = text_height(lines) * px_a_point
    return f"lines {height:.1f} px high" if height < settings.min_text_px else ""


def page_regions(lines: Sequence[Line], view: View, settings: PdfSettings) -> list[Region]:
    """The lines, in reading order, or their words, as regions."""
    rows = [list(line.words()) if settings.granularity == "words" else [line] for line in lines]
    parts = [part for row in rows for part in row]
    least = GRID_CELL * max(view.size) / view.scale
    quads = view.quads([with_area(part.box, least) for part in parts], [part.turn for part in parts])
    upright = [i for i, part in enumerate(parts) if part.stacked]
    quads[upright] = np.roll(quads[upright], 1, axis=1)  # upright characters begin at their own top left
    corners = quads.clip(0, view.size).reshape(-1, 8).tolist()
    ends = dict(zip((end - 1 for end in itertools.accumulate(map(len, rows))), line_ends(lines), strict=True))
    return [
        Region(part.text, tuple(quad), part.score, after=ends.get(i, " "))
        for i, (part, quad) in enumerate(zip(parts, corners, strict=True))
        if part.text
    ]


def with_area(box: Box, least: float) -> Box:
    """The box, at least so wide and high: a dash or a stop keeps an area once its corners are whole thousandths."""
    u0, v0, u1, v1 = box
    wide, high = max(0.0, least - (u1 - u0)) / 2, max(0.0, least - (v1 - v0)) / 2
    return (u0 - wide, v0 - high, u1 + wide, v1 + high) if wide or high else box


def in_order(lines: Sequence[Line], rules: Rules) -> Iterator[Line]:
    """The lines in reading order: first the direction in which most of the page is read, then the others.

    Where that is downwards, level lines above all columns, such as a heading, come before them. Furigana, which would
    part the text that they stand beside, come last.
    """
    lines, furigana = parted_furigana(lines)
    share: Counter[Turn] = Counter()
    for line in lines:
        share[line.turn] += len(line.text)
    groups = {turn: [line for line in lines if line.turn == turn] for turn, _ in share.most_common()}
    main = next(iter(groups), LEVEL)
    if main == DOWN and LEVEL in groups:
        top = min(line.box[0] for line in groups[main])
        heads = [line for line in groups[LEVEL] if line.box[3] < top + HEAD_EM * line.size]
        yield from in_one_direction(heads, LEVEL, rules)
        groups[LEVEL] = [line for line in groups[LEVEL] if line.box[3] >= top + HEAD_EM * line.size]
    for turn, group in groups.items():
        yield from in_one_direction(group, turn, rules)
    if furigana:
        yield from in_order(furigana, rules)


def in_one_direction(group: Sequence[Line], turn: Turn, rules: Rules) -> Iterator[Line]:
    """Lines of one turn in reading order."""
    boxes, drawn = [line.box for line in group], rules.turned(turn)
    if is_rtl("".join(line.text for line in group)):  # columns and cells go from the right as well
        boxes, drawn = mirrored(boxes), mirrored(drawn)
    pieces = [
        piece_of(i, line.text, box, line.size, f"{line.font} {line.colour}")
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
