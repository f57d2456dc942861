"""Are the boxes true? Every region of clean pages is cut out, read by OCR and compared with its label.

    python benchmarks/pdf_boxes.py [FOLDER] [--pages 2] [--worst 0] [--shrink 0.15]

For each language: the character error rate (edit distance over label length, white space and letter case
apart, compatibility forms as one), the share of lines with ink that goes on over 2 px outside their quad, and
the share of all ink over 2 px outside every quad.
Ink is what the page's image has and the page drawn without its text has not, so that a table's rules, an
underline or a picture that touch glyphs are none. `--shrink` proves that the measure finds ink: it draws
every quad in by that share of its sides, and reads nothing. Needs rapidocr, with the models that its package
ships.
"""

from __future__ import annotations

import argparse
import io
import logging
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from rapidocr import RapidOCR

from benchmarks.levenshtein import distance
from renderers import RenderError
from renderers.pdf.document import opened
from renderers.pdf.pixels import Picture
from renderers.pdf.render import PdfSettings, render, scale

SHARED = Path(__file__).parents[2] / "shared" / "data" / "pdf"
CLEAN = {
    "en": (
        "plain_text__grobid__Wang*",
        "plain_text__grobid__Guidelines*",
        "plain_text__sample-files__*",
        "plain_text__unstructured__multi-column*",
        "plain_text__olmocr__pdftotext_two*",
        "plain_text__olmocr__failing_anchor*",
        "plain_text__docling__code*",
        "ligature__pdfplumber__issue-316*",
    ),
    "zh": ("zh__Qwen-Agent__poem*", "zh__pdfplumber__*", "zh__PyMuPDF__*"),
}

Pixels = npt.NDArray[np.uint8]


def records(path: Path, pages: int) -> Iterator[dict[str, Any]]:
    try:
        for batch in render(path.read_bytes(), PdfSettings(max_pages=pages, max_chars=0)):
            row = batch.to_pylist()[0]
            if row["dropped"] is None:
                yield row
    except RenderError:
        return


def cut(pixels: Pixels, quad: list[float], pad: float = 3.0) -> Pixels:
    corners = np.array(quad, np.float32).reshape(4, 2)
    width, height = np.hypot(*(corners[1] - corners[0])), np.hypot(*(corners[3] - corners[0]))
    size = np.array(
        [[pad, pad], [width + pad, pad], [width + pad, height + pad], [pad, height + pad]], np.float32
    )
    matrix = cv2.getPerspectiveTransform(corners, size)
    return cv2.warpPerspective(
        pixels, matrix, (int(width + 2 * pad), int(height + 2 * pad)), borderMode=cv2.BORDER_REPLICATE
    )


def plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def glyph_ink(path: Path, number: int, width: int, height: int) -> Pixels:
    """1 where the page's text makes a difference of half the scale or more."""
    display = opened(path.read_bytes())[number].get_displaylist()
    px_a_point = scale(display, PdfSettings())
    page, bare = (Picture(display, px_a_point, text=text) for text in (True, False))
    assert page.view.size == (width, height)
    return (abs(page.pixels.astype(np.int16) - bare.pixels).max(axis=2) >= 128).astype(np.uint8)


def ink_outside(ink: Pixels, quads: list[list[float]]) -> tuple[int, int]:
    """How many quads have ink that runs on from inside to more than 2 px outside, and into no other quad.

    And how many pixels of ink lie so far outside all quads.
    """
    mine = np.zeros_like(ink)
    for quad in quads:
        cv2.fillPoly(mine, [np.array(quad, np.float32).reshape(4, 2).round().astype(np.int32)], 1)
    near = cv2.dilate(mine, np.ones((5, 5), np.uint8))
    _, labels = cv2.connectedComponents(ink, connectivity=8)
    out = 0
    for quad in quads:
        corners = np.array(quad).reshape(4, 2)
        (x0, y0), (x1, y1) = corners.min(axis=0).astype(int), corners.max(axis=0).astype(int) + 1
        pieces = np.setdiff1d(np.unique(labels[y0:y1, x0:x1][ink[y0:y1, x0:x1] > 0]), [0])
        pad = slice(max(0, y0 - 12), y1 + 12), slice(max(0, x0 - 12), x1 + 12)
        loose = (near[pad] == 0) & np.isin(labels[pad], pieces)
        out += bool(loose.any())
    return out, int(ink[near == 0].sum())


def shrunk(quad: list[float], share: float) -> list[float]:
    """The quad drawn in to its middle by a share of its sides."""
    corners = np.array(quad).reshape(4, 2)
    middle = corners.mean(axis=0)
    return list((middle + (corners - middle) * (1 - share)).ravel())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--pages", type=int, default=2)
    parser.add_argument("--worst", type=int, default=0)
    parser.add_argument("--shrink", type=float, default=0.0)
    options = parser.parse_args()
    logging.getLogger("RapidOCR").setLevel(logging.ERROR)
    engine = RapidOCR()
    for language, patterns in CLEAN.items():
        errors = length = lines = outside = stray = inked = 0
        worst = []
        by_file: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for path in sorted(p for pattern in patterns for p in options.folder.glob(pattern)):
            for row in records(path, options.pages):
                pixels = np.array(Image.open(io.BytesIO(row["image"])).convert("RGB"))
                ink = glyph_ink(path, row["page"], row["width"], row["height"])
                found, lost = ink_outside(ink, [shrunk(r["quad"], options.shrink) for r in row["regions"]])
                outside, stray, inked = outside + found, stray + lost, inked + int(ink.sum())
                by_file[path.name][2] += found
                lines += len(row["regions"])
                for region in [] if options.shrink else row["regions"]:
                    label = plain(region["text"])
                    read = engine(cut(pixels, region["quad"]), use_det=False, use_cls=False, use_rec=True)
                    got = plain("".join(read.txts or ()))
                    wrong = distance(label, got)
                    errors, length = errors + wrong, length + len(label)
                    by_file[path.name][0] += wrong
                    by_file[path.name][1] += len(label)
                    worst.append((wrong, label, got, path.name, row["page"]))
        print(f"{language}: {lines} lines, {length} characters, error rate {errors / max(length, 1):.2%}, "
              f"lines with ink more than 2 px outside {outside / max(lines, 1):.2%}, "
              f"ink outside all quads {stray / max(inked, 1):.3%}")  # fmt: skip
        for name, (wrong, count, found) in sorted(by_file.items()):
            print(f"    {wrong / max(count, 1):7.2%}  {found} lines with ink outside  {name}")
        for item in sorted(worst, reverse=True)[: options.worst]:
            print("   ", *item)


if __name__ == "__main__":
    main()
