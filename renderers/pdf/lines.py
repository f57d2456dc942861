"""The lines of text that a PDF page paints, from MuPDF's structured text; frames are told in `pdf_frames`."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Container, Iterator, Sequence, Set
from itertools import pairwise
from typing import Any

from renderers.pdf.frames import LEVEL, Box, Turn, turned, within
from renderers.pdf.initials import is_one_word, span_after_initial
from renderers.pdf.join import SPACE_EM, joined, read_from_right, stacks
from renderers.pdf.levels import level_parts
from renderers.pdf.line import SPACE, Glyph, Line, around, spelt
from renderers.pdf.mupdf import mupdf, pymupdf
from renderers.pdf.rtl_marks import has_marks, put_marks_right
from renderers.pdf.rules import CELL_EM, Rules
from renderers.pdf.tracking import closed_up
from renderers.pdf.upright_columns import whole_columns

# Boxes of the glyphs as drawn, not as the font claims; ligatures apart; nothing from outside the page. Filled
# shapes too, as blocks in the order of painting, those within a line after it: they part no line (LAZY). Not
# what a document says that its glyphs stand for (ActualText): that may be nothing, or more than is shown.
FLAGS = (
    pymupdf.TEXT_PRESERVE_WHITESPACE
    | pymupdf.TEXT_CLIP
    | pymupdf.TEXT_ACCURATE_BBOXES
    | pymupdf.TEXT_COLLECT_VECTORS
    | pymupdf.TEXT_LAZY_VECTORS
    | pymupdf.TEXT_IGNORE_ACTUALTEXT
)
TEXT_BLOCK = 0  # of MuPDF's dictionaries
PAINTED = (
    mupdf.FZ_STEXT_FILLED | mupdf.FZ_STEXT_STROKED | mupdf.FZ_STEXT_CLIPPED
)  # render mode 3 does none of them
PATTERNED = mupdf.FZ_STEXT_FILLED | mupdf.FZ_STEXT_CLIPPED  # both: filled with a pattern, without a colour

MAX_SLANTS = 24  # angles beside the four upright ones that a page's text may have: each costs one more pass
BASE_LINE_EM = 0.88  # of vertical writing: how far it lies below the top of a character's cell (PDF's DW2)
NO_ROOM_EM = 0.02  # less is no gap between characters
NEAR_WHITE = 0xE0E0E0
SYMBOL_BEFORE = re.compile(r"[\u2100-\u2bff\U0001f000-\U0001faff]\S")


def page_lines(display: pymupdf.DisplayList, text: pymupdf.TextPage) -> list[Line]:
    """All painted lines of a page in the order of its content; without hidden text and text off the page.

    `text` is the page's structured text.
    """
    page: Box = tuple(display.rect)
    slants: Counter[float] = Counter()
    lines: list[Line] = []
    blocks = text.extractRAWDICT()["blocks"]
    rules = Rules(blocks)
    raws = [(raw, upright_axis(raw["dir"])) for raw in raw_lines(blocks)]
    marked = Counter(axis for raw, axis in raws if axis is not None and has_marks(raw))
    for most, _ in marked.most_common(1):
        put_marks_right([raw for raw, axis in raws if axis == most], display, most)
    for raw, axis in raws:
        if axis is None:
            slants[angle(raw["dir"])] += len(raw["spans"])
        else:
            lines += pieces(raw, axis, axis, page, rules)
    for slant, _ in slants.most_common(MAX_SLANTS):
        lines += slanted_lines(display, slant, page)
    lines = list(closed_up(lines, rules))
    read = [part for line in joined(lines, rules) for part in read_from_right(line)]
    return whole_columns(stacks(read))


def slanted_lines(display: pymupdf.DisplayList, slant: float, page: Box) -> Iterator[Line]:
    """The lines that run `slant` degrees clockwise, found on the page turned back by that angle."""
    turn = math.cos(math.radians(slant)), math.sin(math.radians(slant))
    for raw in raw_lines(structured(display, slant).extractRAWDICT()["blocks"]):
        if abs(angle(raw["dir"])) <= 0.05 and upright_axis(raw["dir"]) in (LEVEL, None):
            raw["painted"] = -1  # a number of another pass
            yield from pieces(raw, LEVEL, turn, page, Rules(()))


def structured(display: pymupdf.DisplayList, slant: float, flags: int = FLAGS) -> pymupdf.TextPage:
    """MuPDF's structured text of the page, turned counter-clockwise by `slant` degrees."""
    options = mupdf.FzStextOptions()
    options.flags = flags
    matrix = mupdf.fz_rotate(-slant)
    bounds = mupdf.fz_transform_rect(mupdf.fz_bound_display_list(display.this), matrix)
    text = mupdf.FzStextPage(bounds)
    device = mupdf.fz_new_stext_device(text, options)
    everywhere = mupdf.FzRect(mupdf.FzRect.Fixed_INFINITE)
    mupdf.fz_run_display_list(display.this, device, matrix, everywhere, mupdf.FzCookie())
    mupdf.fz_close_device(device)
    return pymupdf.TextPage(text)


def raw_lines(blocks: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every line of MuPDF's raw dictionary, with its block's number, vertical writing put right."""
    for block in blocks:
        if block["type"] != TEXT_BLOCK:
            continue
        for raw in block["lines"]:
            raw["painted"] = block["number"]
            if raw["wmode"]:
                lift(raw)
            yield raw


def lift(raw: dict[str, Any]) -> None:
    """Move a line of vertical writing to where it is drawn: MuPDF's boxes start at the base lines."""
    x, y = raw["dir"]
    for span in raw["spans"]:
        dx, dy = -x * BASE_LINE_EM * span["size"], -y * BASE_LINE_EM * span["size"]
        for glyph in span["chars"]:
            x0, y0, x1, y1 = glyph["bbox"]
            glyph["bbox"] = x0 + dx, y0 + dy, x1 + dx, y1 + dy
    glyphs = [glyph for span in raw["spans"] for glyph in span["chars"]]
    if any(not glyph["c"].isspace() for glyph in glyphs):
        raw["bbox"] = around(glyphs)


def angle(direction: Turn) -> float:
    """Degrees clockwise of a direction, to a tenth: over a page's width that is within 2 px."""
    return round(math.degrees(math.atan2(direction[1], direction[0])), 1)


def upright_axis(direction: Turn) -> Turn | None:
    """The direction as one of the four upright ones, or None where it is more than 0.03° off."""
    x, y = round(direction[0]), round(direction[1])
    return (float(x), float(y)) if abs(direction[0] - x) + abs(direction[1] - y) < 5e-4 else None


def pieces(raw: dict[str, Any], axis: Turn, turn: Turn, page: Box, rules: Rules) -> Iterator[Line]:
    """The painted runs of one raw line: hidden spans, other heights and a table's rules part them.

    Characters off the page are left out.
    """
    for part in level_parts(raw, axis):
        yield from level_runs(part, axis, turn, page, rules)


def level_runs(raw: dict[str, Any], axis: Turn, turn: Turn, page: Box, rules: Rules) -> Iterator[Line]:
    """The painted runs of a raw line at one height."""
    inside = turn == axis and within(raw["bbox"], page)
    run: list[Glyph] = []
    for span in raw["spans"]:
        if is_painted(span):
            run += (
                span["chars"]
                if inside
                else [g for g in span["chars"] if on_page(g["bbox"], axis, turn, page)]
            )
        elif run:
            yield from cells(run, raw, axis, turn, rules)
            run = []
    yield from cells(run, raw, axis, turn, rules)


def cells(run: Sequence[Glyph], raw: dict[str, Any], axis: Turn, turn: Turn, rules: Rules) -> Iterator[Line]:
    """A run of glyphs as one line, or parted where a rule of a table runs down through a gap."""
    starts: list[int] = []
    if rules.boxes and not raw["wmode"]:
        inked = [i for i, glyph in enumerate(run) if not glyph["c"].isspace()]
        boxes = [turned(run[i]["bbox"], axis) for i in inked]
        whole = {
            k for k, (i, after) in enumerate(pairwise(inked), 1) if is_set_space(run[i + 1 : after + 1], axis)
        }
        starts = [inked[k] for k in parted(boxes, raw["spans"][0]["size"], axis, rules, whole)]
    for start, end in pairwise([0, *starts, len(run)]):
        yield from piece(run[start:end], raw, axis, turn)


def is_set_space(after: Sequence[Glyph], axis: Turn) -> bool:
    """True for a space, and the glyph after it, that were set as one text: the glyph begins where the space ends."""
    if len(after) != 2 or after[0].get("synthetic"):
        return False
    space, glyph = (turned(glyph["bbox"], axis) for glyph in after)
    return abs(glyph[0] - space[2]) < NO_ROOM_EM * (glyph[3] - glyph[1])


def parted(
    boxes: Sequence[Box], em: float, turn: Turn, rules: Rules, whole: Container[int] = ()
) -> list[int]:
    """Which of the boxes along a line, in the frame of its turn, begin a cell beyond a table's rule.

    A rule in a narrow gap parts none of the boxes in `whole` from the one before, nor single characters from each
    other: these are a form's, in a comb.
    """
    gaps = [(i, box[0] - last[2], last, box) for i, (last, box) in enumerate(pairwise(boxes), 1)]
    wide = {i for i, gap, *_ in gaps if gap > CELL_EM * em}
    starts = [
        i for i, _, last, box in gaps if (i in wide or i not in whole) and rules.part(turn, last, box, em)
    ]
    ends = [0, *starts, len(boxes)]
    return [
        start
        for last, start, end in zip(ends, starts, ends[2:], strict=False)
        if start in wide or end - last > 2
    ]


def piece(run: Sequence[Glyph], raw: dict[str, Any], axis: Turn, turn: Turn) -> Iterator[Line]:
    """A run of glyphs as a line without white space at its ends; nothing where it reads nothing."""
    start, end = 0, len(run)
    while start < end and run[start]["c"].isspace():
        start += 1
    while end > start and run[end - 1]["c"].isspace():
        end -= 1
    if start == end:
        return
    spans = raw["spans"]
    glyphs = without_roomless(run[start:end], spans[0]["size"])
    whole = len(glyphs) == sum(len(span["chars"]) for span in spans)
    main = spans[0]
    if (number := span_after_initial(spans)) and glyphs[0] is main["chars"][0]:
        main, glyphs = spans[number], without_space_after(len(main["chars"]), glyphs)
    glyphs = with_spaces_after_symbols(glyphs, axis, spans[0]["size"])
    if not (text := spelt(glyphs)):
        return
    colours = {span["color"] for span in spans}
    yield Line(
        text,
        turned(raw["bbox"] if whole else around(glyphs), axis),
        turn,
        axis,
        main["size"],
        main["font"],
        main["color"],
        raw["painted"],
        stacked=bool(raw["wmode"]),
        doubtful=pale_among(colours),
        patterned=is_patterned(raw),
        base=base_line(glyphs[0], axis),
        glyphs=glyphs,
    )


def without_roomless(run: Sequence[Glyph], em: float) -> list[Glyph]:
    """The glyphs but for spaces that take no room: browsers print one for each soft hyphen within a line."""
    return [
        glyph
        for i, glyph in enumerate(run)
        if not (
            glyph["c"] == " "
            and 0 < i < len(run) - 1
            and math.dist(glyph["origin"], run[i + 1]["origin"]) < NO_ROOM_EM * em
            and gap_between(run[i - 1]["bbox"], run[i + 1]["bbox"]) < NO_ROOM_EM * em
        )
    ]


def without_space_after(count: int, glyphs: Sequence[Glyph]) -> list[Glyph]:
    """The glyphs of a line that begins with an initial of `count`, without the space that MuPDF puts in its word."""
    initial, rest = glyphs[:count], glyphs[count:]
    if rest and rest[0].get("synthetic") and is_one_word(spelt(initial), spelt(rest)):
        rest = rest[1:]
    return [*initial, *rest]


def with_spaces_after_symbols(glyphs: list[Glyph], axis: Turn, em: float) -> list[Glyph]:
    """The glyphs, with a space where a gap follows a symbol, such as a list's mark: MuPDF puts none there."""
    if not SYMBOL_BEFORE.search("".join(glyph["c"] for glyph in glyphs)):
        return glyphs
    out = glyphs[:1]
    for last, glyph in pairwise(glyphs):
        if SYMBOL_BEFORE.match(last["c"] + glyph["c"]):
            gap = turned(glyph["bbox"], axis)[0] - turned(last["bbox"], axis)[2]
            out += [SPACE] * (gap > SPACE_EM * em)
        out.append(glyph)
    return out


def gap_between(last: Sequence[float], box: Sequence[float]) -> float:
    """How far two boxes are apart, across or down, whichever is more."""
    across = max(box[0] - last[2], last[0] - box[2])
    return max(across, box[1] - last[3], last[1] - box[3])


def base_line(drawn: dict[str, Any], axis: Turn) -> float:
    """Where the base line of a glyph or span lies across the frame."""
    x, y = drawn["origin"]
    return turned((x, y, x, y), axis)[1]


def is_painted(span: dict[str, Any]) -> bool:
    """True for text that is filled or stroked with a colour or a pattern, or clips what is painted in it."""
    flags = span["char_flags"]
    return bool((span["alpha"] and flags & PAINTED) or flags & PATTERNED == PATTERNED)


def is_patterned(raw: dict[str, Any]) -> bool:
    """True for a line that is filled with gradients or pictures, which MuPDF paints through its letters."""
    return all(span["char_flags"] & PATTERNED == PATTERNED for span in raw["spans"])


def pale_among(colours: Set[int]) -> bool:
    """True where some of a line is nearly white and some is not."""
    return len(colours) > 1 and any(colour & NEAR_WHITE == NEAR_WHITE for colour in colours)


def on_page(bbox: Box, axis: Turn, turn: Turn, page: Box) -> bool:
    """True where the middle of a glyph's box lies on the page."""
    u, v = (bbox[0] + bbox[2]) / 2, (bbox[1] + bbox[3]) / 2
    x, y = (u, v) if axis == turn else (u * turn[0] - v * turn[1], u * turn[1] + v * turn[0])
    return page[0] <= x <= page[2] and page[1] <= y <= page[3]
