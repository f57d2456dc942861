"""Which fonts of PDFs look like other letters than they are named, and would it show if good ones were misnamed?

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.pdf_letters [FOLDER…] [--pages 4]

Each font of enough letters on each page has a likeness (`renderers.pdf.letter_shapes`): about 1 where it draws what
the text names, 0.5 where it draws anything else. Fonts below the limit are listed, to be looked at. Of the others the
letters are then called by the next ones of the alphabet, as the fonts of real pages do, and their likeness is told.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.pdf_order import FOLDERS
from renderers import RenderError
from renderers.pdf import render as stages
from renderers.pdf.cover import shapes_of
from renderers.pdf.document import UNREADABLE, opened
from renderers.pdf.letter_shapes import (
    LOOKS,
    UNLIKE,
    DrawnLetter,
    by_font,
    drawn_letters,
    known,
    unlike_share,
)
from renderers.pdf.line import Line
from renderers.pdf.mupdf import pymupdf
from renderers.pdf.pixels import Picture, coloured
from renderers.pdf.settings import PdfSettings
from renderers.pdf.sight import seen

SETTINGS = PdfSettings()


class Judged(NamedTuple):
    place: str
    font: str
    likeness: float
    misnamed: float  # its likeness once its letters are called by other names


class Shown(NamedTuple):
    lines: Sequence[Line]
    text: pymupdf.TextPage
    picture: Picture


def pages(path: Path, most: int) -> Iterator[tuple[str, Shown]]:
    try:
        pdf = opened(path.read_bytes(), "")
    except RenderError:
        return
    for number in range(min(most, pdf.page_count)):
        try:
            content = stages.content_of(pdf[number], SETTINGS)
            scale = stages.scale(tuple(content.display.rect), SETTINGS)
            if not content.lines or stages.text_height(content.lines) * scale < SETTINGS.min_text_px:
                continue
            picture = Picture(content.display, scale, colour=coloured(content.page, content.display))
            shapes = shapes_of(content.blocks)
            lines = seen(content.lines, content.display, content.text, picture, shapes, content.layers)
        except UNREADABLE:
            continue
        yield f"{path.name}#{number + 1}", Shown(lines, content.text, picture)


def renamed(letter: DrawnLetter) -> DrawnLetter:
    following = chr(ord(letter.name) + 1)
    return letter._replace(name=following) if len(known(following)) else letter


def judged(place: str, page: Shown) -> Iterator[Judged]:
    fonts: defaultdict[str, list[Line]] = defaultdict(list)
    for line in page.lines:
        fonts[line.font].append(line)
    for font, lines in fonts.items():
        letters = list(drawn_letters(lines, LOOKS[-1], page.text))
        own = by_font(letters, page.picture)
        other = by_font([renamed(letter) for letter in letters], page.picture)
        if font in own and font in other:
            yield Judged(place, font, own[font], other[font])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, default=FOLDERS)
    parser.add_argument("--pages", type=int, default=4)
    asked = parser.parse_args()
    found: list[Judged] = []
    shares: list[tuple[float, str]] = []
    spent: list[float] = []
    for path in sorted(path for folder in asked.folders for path in folder.rglob("*.pdf")):
        for place, page in pages(path, asked.pages):
            start = time.process_time()
            shares.append((unlike_share(*page), place))
            spent.append(time.process_time() - start)
            found += judged(place, page)
    low = sorted((one for one in found if one.likeness < UNLIKE), key=lambda one: one.likeness)
    for one in low:
        print(f"{one.likeness:.3f} {one.place} {one.font}")
    good = [one for one in found if one.likeness >= UNLIKE]
    print(f"{len(found)} fonts on {len(shares)} pages, {len(low)} below {UNLIKE}; of the others the least")
    print(" ".join(f"{one.likeness:.3f}" for one in sorted(good, key=lambda one: one.likeness)[:10]))
    told = sum(one.misnamed < UNLIKE for one in good)
    print(
        f"their letters called by the next ones: {told} of {len(good)} ({told / len(good):.1%}) below {UNLIKE}"
    )
    print("pages by the share of their letters in such fonts:")
    for share, place in sorted(shares, reverse=True):
        if share:
            print(f"{share:.3f} {place}")
    print(f"{1000 * statistics.mean(spent):.1f} ms of CPU a page", file=sys.stderr)


if __name__ == "__main__":
    main()
