"""Do PDFium (pypdfium2) and pdfminer (pdfplumber) find the same words in the same places?

    python -m benchmarks.pdf_words [FOLDER] [--pages 3] [--reader pdfium|pdfminer] [--worst 0]

Over all upright pages that give a record: how many of the reader's words are ours too, letter by letter, at
the same place; how many more stand there in one of our lines, parted or joined in another way; and of the
words that are the same, how many boxes differ by no more than 2 px on any side. Words are parted at white
space, ours and theirs normalised in the same way. Boxes along the line are the glyphs' advances; across it
PDFium's are outlines as ours are, pdfminer's are the font's: only the sides are compared. Readers report
hidden text as well, so that what nobody sees counts as missed.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pypdfium2 as pdfium

from renderers import RenderError
from renderers.page_text import normalise
from renderers.pdf.render import PdfSettings, render

SHARED = Path(__file__).parents[2] / "shared" / "data" / "pdf"
NEAR_PX = 2.0
HYPHEN = "\x02"  # PDFium's, where it goes on with the word in the next line
Box = tuple[float, float, float, float]  # left, top, right, bottom; px


class Word(NamedTuple):
    text: str
    box: Box


class Tally(NamedTuple):
    words: int  # the reader's
    same: int  # ours too
    there: int  # in one of our lines, parted in another way
    near: int  # of the same ones, with boxes within NEAR_PX
    missed: tuple[Word, ...]


def records(document: bytes, pages: int, granularity: Any) -> dict[int, dict[str, Any]]:
    """The upright pages' records by number."""
    out = {}
    try:
        for batch in render(document, PdfSettings(max_pages=pages, granularity=granularity, max_chars=0)):
            row = batch.to_pylist()[0]
            if row["dropped"] is None and '"rotation": 0' in row["extra"]:
                out[row["page"]] = row
    except RenderError:
        pass
    return out


def upright(regions: list[dict[str, Any]]) -> list[Word]:
    """The regions that are read from the left, with their boxes."""
    quads = [(region["text"], region["quad"]) for region in regions]
    return [Word(text, (q[0], q[1], q[4], q[5])) for text, q in quads if q[2] > q[0] and q[1] == q[3]]


def words_of_pdfium(page: Any, px: float) -> Iterator[Word]:
    text = page.get_textpage()
    left, _, _, top = page.get_bbox()
    word, boxes = "", []
    for i in range(text.count_chars()):
        character = chr(pdfium.raw.FPDFText_GetUnicode(text, i))
        if abs(pdfium.raw.FPDFText_GetCharAngle(text, i)) > 1e-3:
            character = " "
        hyphen = character == HYPHEN
        if character.isspace() and word:
            yield Word(normalise(word), around(boxes))
            word, boxes = "", []
        if not character.isspace():
            _, low, _, high = text.get_charbox(i)
            x0, _, x1, _ = text.get_charbox(i, loose=True)
            word += "-" if hyphen else character
            boxes.append(((x0 - left) * px, (top - high) * px, (x1 - left) * px, (top - low) * px))
        if hyphen:
            yield Word(normalise(word), around(boxes))
            word, boxes = "", []
    if word:
        yield Word(normalise(word), around(boxes))


def words_of_pdfminer(page: Any, px: float) -> Iterator[Word]:
    for word in page.extract_words(use_text_flow=True, keep_blank_chars=False):
        if word["upright"] and word["direction"] == "ltr":
            left, top, _, _ = page.cropbox
            box = np.array([word[side] for side in ("x0", "top", "x1", "bottom")]) - (left, top, left, top)
            yield Word(normalise(word["text"]), tuple((box * px).tolist()))


def around(boxes: list[Box]) -> Box:
    table = np.array(boxes)
    return (*table[:, :2].min(axis=0).tolist(), *table[:, 2:].max(axis=0).tolist())


def on_page(word: Word, row: dict[str, Any]) -> bool:
    (x0, y0, x1, y1) = word.box
    return bool(word.text) and 0 <= x0 + x1 <= 2 * row["width"] and 0 <= y0 + y1 <= 2 * row["height"]


def compared(theirs: list[Word], ours: list[Word], lines: list[Word], sides: slice) -> Tally:
    by_text: dict[str, list[Box]] = defaultdict(list)
    for word in ours:
        by_text[word.text].append(word.box)
    same = there = near = 0
    missed = []
    for word in theirs:
        off = [np.abs(np.subtract(box, word.box)) for box in by_text[word.text] if meet(box, word.box)]
        if off:
            same += 1
            near += any(side[sides].max() <= NEAR_PX for side in off)
        elif any(meet(line.box, word.box) and word.text in line.text.replace(" ", "") for line in lines):
            there += 1
        else:
            missed.append(word)
    return Tally(len(theirs), same, there, near, tuple(missed))


def meet(one: Box, other: Box) -> bool:
    across = min(one[2], other[2]) - max(one[0], other[0])
    return across > -2 and min(one[3], other[3]) - max(one[1], other[1]) > -2


def document_tally(path: Path, pages: int, reader: str) -> Tally:
    document = path.read_bytes()
    words, lines = (records(document, pages, kind) for kind in ("words", "lines"))
    if not words:
        return Tally(0, 0, 0, 0, ())
    if reader == "pdfium":
        other: Any = pdfium.PdfDocument(document)
    else:
        import pdfplumber  # a package that only this needs

        other = pdfplumber.open(path).pages
    tallies = []
    for number, row in words.items():
        page = other[number]
        if reader == "pdfium":
            theirs = words_of_pdfium(page, row["width"] / page.get_width())
        else:
            left, _, right, _ = page.cropbox
            theirs = words_of_pdfminer(page, row["width"] / (right - left))
        found = [word for word in theirs if on_page(word, row)]
        sides = slice(None) if reader == "pdfium" else slice(0, None, 2)
        tallies.append(compared(found, upright(row["regions"]), upright(lines[number]["regions"]), sides))
    return total(tallies)


def total(tallies: list[Tally]) -> Tally:
    words, same, there, near, missed = zip(*tallies, strict=True)
    return Tally(
        sum(words), sum(same), sum(there), sum(near), tuple(word for some in missed for word in some)
    )


def told(tally: Tally) -> str:
    found, near = (tally.same + tally.there) / tally.words, tally.near / max(tally.same, 1)
    return (
        f"{tally.words:6} words, the same {tally.same / tally.words:7.2%}, "
        f"and parted otherwise {found:7.2%}, boxes within 2 px {near:7.2%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--pages", type=int, default=3)
    parser.add_argument("--reader", choices=("pdfium", "pdfminer"), default="pdfium")
    parser.add_argument("--worst", type=int, default=0, help="missed words shown of each document")
    options = parser.parse_args()
    tallies = []
    for path in sorted(options.folder.glob("*.pdf")):
        try:
            tally = document_tally(path, options.pages, options.reader)
        except Exception as error:  # the other reader's
            print(f"{path.name}: {type(error).__name__}: {error}")
            continue
        if tally.words:
            tallies.append(tally)
            print(told(tally), path.name, flush=True)
            for word in tally.missed[: options.worst]:
                print("       ", repr(word.text), [round(side) for side in word.box])
    print(told(total(tallies)), f"{len(tallies)} documents")


if __name__ == "__main__":
    main()
