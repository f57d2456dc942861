"""How often does the reading order jump between columns, against the order of three other readers?

    python -m benchmarks.pdf_order [FOLDER…] [--pages 4] [--held-out | --tuning] [--failing] [--draw FOLDER]

Where the columns are is told by PDFium's characters alone, by none of the orders that are compared: characters
on one base line make segments, parted at gaps of an em; segments that are long (running text) and begin at
one left edge make a column; columns side by side, at least six lines each at the same height, make a page of
several columns. The words that a reader gives, in its order, are looked up among the segments. A *jump* is a
step from a segment of running text in one column to one in another; short ones (cells, labels, numbers) do
not count. A page of two columns needs one jump, and one more two for each figure right across it.

Long cells of tables stand beside each other as columns do. The pages where that is so, found by looking at
every page on which any reader jumps more than four times, are named in CELLS and count as tables.

On the other pages, those with many rows of short segments are told as tables and forms. There a *leap* is a
step up the page by more than a tenth of its height: a table that is read row by row has none.

The readers: ours, MuPDF's order of content (`get_text("words")`), PDFium's order of characters, pdfminer.six's
layout analysis. Documents are parted by a hash of their names into halves: one was looked at while the order
was made (`--tuning`), the other was not (`--held-out`).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pymupdf
import pypdfium2 as pdfium
from pdfminer.high_level import extract_pages
from pdfminer.layout import LAParams, LTChar, LTTextContainer
from PIL import Image, ImageDraw

from renderers.pdf.render import PdfSettings, render

SHARED = Path(__file__).parents[2] / "shared"
FOLDERS = (SHARED / "data" / "pdf", SHARED / "data" / "pdf2", SHARED / "cases" / "pdf")
CELLS = (  # file and page of tables, forms and a mind map with long cells
    "zh__MinerU__introduction.pdf#1",
    "camelot__china.pdf#1",
    "camelot__us-032.pdf#1",
    "plumber__pr-138-example.pdf#1",
    "plumber__pr-138-example.pdf#2",
    "pymupdf__test_4965.pdf#1",
    "plain_text__olmocr__pdftotext_two_column_issue.pdf#3",
    "plain_text__olmocr__pdftotext_two_column_issue.pdf#4",
)
MANY = 4  # jumps, or leaps, from here on a page counts as read wrongly
PROSE_CHARS, PROSE_EM = 20, 9.0  # of a segment of running text: characters but for space; width
GAP_EM = 1.0  # white space that parts segments
COLUMN_SEGMENTS = 6
TABLE_ROWS, TABLE_SHARE = 6, 0.25  # rows of three or more short segments; of all rows
LEAP = 0.1  # of the page's height

Box = tuple[float, float, float, float]  # left, top, right, bottom, in points of the page as shown
Point = tuple[float, float]


class Segment(NamedTuple):
    """Characters on one base line without a gap."""

    box: Box
    chars: int

    @property
    def em(self) -> float:
        return self.box[3] - self.box[1]

    @property
    def is_prose(self) -> bool:
        return self.chars >= PROSE_CHARS and self.box[2] - self.box[0] >= PROSE_EM * self.em


class Layout(NamedTuple):
    """A page's segments, and its columns of running text (none, or at least two)."""

    segments: list[Segment]
    columns: list[Box]
    is_table: bool
    height: float


def characters(page: Any) -> Iterator[tuple[str, Box]]:
    """PDFium's upright characters but for white space, in its order."""
    text = page.get_textpage()
    left, _, _, top = page.get_bbox()
    for i in range(text.count_chars()):
        character = chr(pdfium.raw.FPDFText_GetUnicode(text, i))
        if character.isspace() or abs(pdfium.raw.FPDFText_GetCharAngle(text, i)) > 1e-3:
            continue
        x0, low, x1, high = text.get_charbox(i, loose=True)
        if x1 > x0 and high > low:
            yield character, (x0 - left, top - high, x1 - left, top - low)


def segments_of(chars: Iterable[tuple[str, Box]]) -> list[Segment]:
    """The characters as segments, from the top."""
    rows: list[list[Box]] = []
    for box in sorted((box for _, box in chars), key=lambda box: (box[1] + box[3]) / 2):
        middle = (box[1] + box[3]) / 2
        for row in rows[-6:]:
            last = row[-1]
            if last[1] + 0.25 * (last[3] - last[1]) < middle < last[3] - 0.25 * (last[3] - last[1]):
                row.append(box)
                break
        else:
            rows.append([box])
    return [segment for row in rows for segment in parted(sorted(row))]


def parted(row: Sequence[Box]) -> Iterator[Segment]:
    """A row's characters, from the left, parted at gaps."""
    held: list[Box] = []
    for box in row:
        if held and box[0] - max(one[2] for one in held[-3:]) > GAP_EM * statistics.median(
            one[3] - one[1] for one in held
        ):
            yield segment(held)
            held = []
        held.append(box)
    if held:
        yield segment(held)


def segment(boxes: Sequence[Box]) -> Segment:
    """The segment that the boxes make."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    wide = sum(box[2] - box[0] > 0.8 * (box[3] - box[1]) for box in boxes)  # Chinese tells twice as much
    middle = (statistics.median(y0) + statistics.median(y1)) / 2
    em = statistics.median(b - a for a, b in zip(y0, y1, strict=True))
    return Segment((min(x0), middle - em / 2, max(x1), middle + em / 2), len(boxes) + wide)


def columns_of(segments: Sequence[Segment]) -> list[Box]:
    """The columns of running text that stand beside another one."""
    groups: list[list[Segment]] = []
    for one in sorted((s for s in segments if s.is_prose), key=lambda s: s.box[0]):
        if groups and one.box[0] - groups[-1][0].box[0] < 1.5 * one.em:
            groups[-1].append(one)
        else:
            groups.append([one])
    found = []
    for group in groups:
        if len(group) >= COLUMN_SEGMENTS:
            rights = sorted(one.box[2] for one in group)
            tops, bottoms = [one.box[1] for one in group], [one.box[3] for one in group]
            found.append((group[0].box[0], min(tops), rights[int(0.8 * len(rights))], max(bottoms)))
    return [box for box in found if any(side_by_side(box, other, segments) for other in found)]


def side_by_side(one: Box, other: Box, segments: Sequence[Segment]) -> bool:
    """True where two columns stand beside each other, with enough lines of both at the same height."""
    top, bottom = max(one[1], other[1]), min(one[3], other[3])
    if max(one[0], other[0]) < min(one[2], other[2]):
        return False
    return all(
        sum(
            abs(s.box[0] - column[0]) < 1.5 * s.em and s.is_prose and top <= s.box[1] and s.box[3] <= bottom
            for s in segments
        )
        >= COLUMN_SEGMENTS
        for column in (one, other)
    )


def layout_of(page: Any) -> Layout:
    """What PDFium's characters tell of the page."""
    segments = segments_of(characters(page))
    rows: dict[int, int] = {}
    for one in segments:
        rows[round((one.box[1] + one.box[3]) / 2 / 4)] = rows.get(
            round((one.box[1] + one.box[3]) / 2 / 4), 0
        ) + (not one.is_prose)
    short = sum(count >= 3 for count in rows.values())
    is_table = short >= TABLE_ROWS and short >= TABLE_SHARE * len(rows)
    return Layout(segments, columns_of(segments), is_table, page.get_height())


def jumps(words: Iterable[Point], layout: Layout) -> int:
    """How many steps between columns beside each other the words take, in their order."""
    count, last = 0, None
    for place in visited(words, layout):
        one = layout.segments[place]
        column = next((column for column in layout.columns if is_of(one, column)), None)
        if column is not None:
            count += last is not None and (column[2] <= last[0] or last[2] <= column[0])
            last = column
    return count


def is_of(one: Segment, column: Box) -> bool:
    """True for running text of a column: not what stands above or below it, nor reaches out of it."""
    x0, y0, x1, y1 = one.box
    across = column[0] - 1.5 * one.em <= x0 and x0 + x1 <= 2 * column[2] and x1 <= column[2] + 2 * one.em
    return one.is_prose and across and 2 * column[1] <= y0 + y1 <= 2 * column[3]


def leaps(words: Iterable[Point], layout: Layout) -> int:
    """How many steps far up the page the words take."""
    tops = [layout.segments[place].box[1] for place in visited(words, layout)]
    return sum(a - b > LEAP * layout.height for a, b in itertools.pairwise(tops))


def visited(words: Iterable[Point], layout: Layout) -> Iterator[int]:
    """The segments that the words lie in, in their order."""
    last = -1
    for x, y in words:
        place = next(
            (
                k
                for k in (last, *range(len(layout.segments)))
                if k >= 0 and inside(x, y, layout.segments[k].box)
            ),
            -1,
        )
        if place >= 0 and place != last:
            yield place
            last = place


def inside(x: float, y: float, box: Box) -> bool:
    return box[0] - 1 <= x <= box[2] + 1 and box[1] - 1 <= y <= box[3] + 1


def by_ours(document: bytes, pages: int) -> dict[int, list[Point]]:
    """The middles of our words, by page from 0."""
    out = {}
    with pymupdf.open(stream=document, filetype="pdf") as pdf:
        widths = [page.rect.width for page in pdf][:pages]
        first = pdf.tobytes(garbage=0) if pdf.page_count <= pages else first_pages(pdf, pages)
    for number, batch in enumerate(
        render(first, PdfSettings(max_pages=pages, granularity="words", max_chars=0))
    ):
        row = batch.to_pylist()[0]
        if row["dropped"] is None:
            scale = widths[number] / row["width"]
            quads = [q for q in (region["quad"] for region in row["regions"]) if is_level(q)]
            out[number] = [(sum(q[0::2]) / 4 * scale, sum(q[1::2]) / 4 * scale) for q in quads]
    return out


def is_level(quad: Sequence[float]) -> bool:
    """False for turned text, such as a draft's mark across the page: PDFium's turned characters do not count either."""
    return abs(quad[1] - quad[3]) < 1


def first_pages(pdf: Any, pages: int) -> bytes:
    pdf.select(range(pages))
    data: bytes = pdf.tobytes()
    return data


def by_mupdf(document: bytes, pages: int) -> dict[int, list[Point]]:
    """The same of MuPDF's words, in the order of content."""
    with pymupdf.open(stream=document, filetype="pdf") as pdf:
        return {
            n: list(level_words(pdf[n].get_textpage(pymupdf.TEXTFLAGS_WORDS)))
            for n in range(min(pages, pdf.page_count))
        }


def level_words(text: Any) -> Iterator[Point]:
    """The middles of the level words of MuPDF's text."""
    blocks = [block for block in text.extractDICT()["blocks"] if block["type"] == 0]
    level = {(b["number"], n): line["dir"][0] > 0.999 for b in blocks for n, line in enumerate(b["lines"])}
    for x0, y0, x1, y1, _, block, line, _ in text.extractWORDS():
        if level.get((block, line), True):
            yield (x0 + x1) / 2, (y0 + y1) / 2


def by_pdfminer(path: Path, pages: int) -> dict[int, list[Point]]:
    """The same of pdfminer's characters."""
    out = {}
    for number, page in enumerate(extract_pages(path, maxpages=pages, laparams=LAParams())):
        out[number] = [
            ((c.x0 + c.x1) / 2, page.height - (c.y0 + c.y1) / 2)
            for element in page
            for c in characters_in(element)
        ]
    return out


def characters_in(element: Any) -> Iterator[Any]:
    if isinstance(element, LTChar):
        if abs(element.matrix[1]) < 1e-3:
            yield element
    elif isinstance(element, LTTextContainer):
        for inner in element:
            yield from characters_in(inner)


def document_pages(path: Path, pages: int) -> Iterator[tuple[str, str, dict[str, int]]]:
    """For each upright page: its name, its kind (`columns`, `tables`, `plain`), the count of each reader."""
    document = path.read_bytes()
    ours, mupdf = by_ours(document, pages), by_mupdf(document, pages)
    pdf = pdfium.PdfDocument(document)
    miner = by_pdfminer(path, pages)
    for number in ours:
        page = pdf[number]
        if page.get_rotation():
            continue
        layout = layout_of(page)
        name = f"{path.name}#{number + 1}"
        table = layout.is_table or name in CELLS
        kind = "columns" if layout.columns and name not in CELLS else "tables" if table else "plain"
        points = {
            "ours": ours[number],
            "mupdf": mupdf.get(number, []),
            "pdfium": [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for _, b in characters(page)],
            "pdfminer": miner.get(number, []),
        }
        measure = jumps if kind == "columns" else leaps
        yield name, kind, {who: measure(at, layout) for who, at in points.items()}


def is_held_out(path: Path) -> bool:
    return hashlib.sha256(path.name.encode()).digest()[0] % 2 == 1


def drawn(path: Path, pages: int, folder: Path) -> None:
    """Every page's image with its quads, a number at each, in `folder`."""
    for batch in render(path.read_bytes(), PdfSettings(max_pages=pages, long_side=1400)):
        row = batch.to_pylist()[0]
        if row["dropped"] is not None:
            continue
        image = Image.open(io.BytesIO(row["image"])).convert("RGB")
        pen = ImageDraw.Draw(image)
        last = None
        for number, region in enumerate(row["regions"]):
            corners = list(zip(region["quad"][0::2], region["quad"][1::2], strict=True))
            pen.polygon(corners, outline=(220, 0, 0))
            middle = (sum(x for x, _ in corners) / 4, sum(y for _, y in corners) / 4)
            if last is not None:
                pen.line([last, middle], fill=(0, 90, 255), width=2)
            pen.text(corners[0], str(number), fill=(0, 130, 0))
            last = middle
        image.save(folder / f"{path.stem}-{row['page'] + 1}.png")


def told(kind: str, found: Sequence[dict[str, int]]) -> str:
    if not found:
        return f"{kind}: none"
    bad = {who: sum(counts[who] > MANY for counts in found) for who in found[0]}
    shares = "  ".join(f"{who} {count} ({count / len(found):.0%})" for who, count in bad.items())
    return f"{kind:8} {len(found):4} pages, with more than {MANY}: {shares}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, default=FOLDERS)
    parser.add_argument("--pages", type=int, default=4)
    half = parser.add_mutually_exclusive_group()
    half.add_argument("--tuning", action="store_true")
    half.add_argument("--held-out", action="store_true")
    parser.add_argument("--failing", action="store_true", help="name the pages on which a reader fails")
    parser.add_argument("--draw", type=Path, help="where to draw every page with its order")
    options = parser.parse_args()
    kinds: dict[str, list[dict[str, int]]] = {"columns": [], "tables": [], "plain": []}
    files = [
        path
        for folder in options.folders
        for path in ([folder] if folder.suffix == ".pdf" else sorted(folder.glob("*.pdf")))
    ]
    if options.tuning or options.held_out:
        files = [path for path in files if is_held_out(path) == options.held_out]
    for path in files:
        try:
            if options.draw:
                drawn(path, options.pages, options.draw)
            for name, kind, counts in document_pages(path, options.pages):
                kinds[kind].append(counts)
                if options.failing and max(counts.values()) > MANY:
                    print(kind, name, counts, flush=True)
        except Exception as error:  # another reader's
            print(f"{path.name}: {type(error).__name__}: {str(error)[:100]}")
    for kind, found in kinds.items():
        print(told(kind, found))


if __name__ == "__main__":
    main()
