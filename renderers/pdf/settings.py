"""How the pages of PDFs are chosen, rendered and stored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from renderers.setting_ranges import check_ranges

LANGUAGES = re.compile(r"[A-Za-z_]{3,40}(?:\+[A-Za-z_]{3,40}){0,9}")
PAGE_RANGE = re.compile(r"(\d{1,9})(-?)(\d{0,9})")


RANGES = {
    "long_side": (16, 20_000),
    "max_dpi": (1, 2400),
    "quality": (1, 100),
    "min_text_px": (0, 1000),
    "max_chars": (0, 10**9),
    "max_pages": (1, 10**6),
    "ocr_min_score": (0, 1),
    "ocr_s": (1e-6, 86_400),
}  # px, points and seconds, from the least that makes sense to the largest that fits a machine


@dataclass(frozen=True)
class PdfSettings:
    """How pages are chosen, rendered and stored."""

    long_side: int = 1600  # px of the image, where max_dpi allows
    max_dpi: float = 300.0  # small pages are not blown up beyond this
    granularity: Literal["lines", "words"] = "lines"
    format: Literal["jpeg", "png", "auto"] = "jpeg"  # auto: PNG for flat pages without colour, else JPEG
    quality: int = 90  # of JPEG
    min_text_px: float = 6.0  # half of a page's characters stand in lines at least so high, or it is dropped
    max_chars: int = 30_000  # of a page's lines, or words, with their quads: beyond, it is cut; 0: never
    # Of a document; of a longer one so many are drawn, the same for the same bytes and seed
    max_pages: int = 100
    seed: int = 0
    pages: str = ""  # which ones of each document, such as "1-3,7,20-", from 1; empty: all
    structure: bool = False  # headings, lists, ruled tables and figures too, as HTML
    ocr: Literal["none", "tesseract"] = "none"  # reads scans, which are dropped otherwise
    ocr_languages: str = "eng"  # as Tesseract names them, joined by +: "chi_sim+eng"
    ocr_min_score: float = 0.75  # of a page: handwriting has 0.2 to 0.3, clean print 0.9
    ocr_s: float = 40.0  # for one page; documents.page_timeout_s goes on beside it
    password: str = ""  # opens the documents that want one

    def __post_init__(self) -> None:
        """Raises: ValueError: a number beyond its range, or `pages` or `ocr_languages` that are no such list."""
        check_ranges(self, RANGES)
        if self.pages:
            ranges_of(self.pages)
        if not LANGUAGES.fullmatch(self.ocr_languages):
            raise ValueError(f"ocr_languages = {self.ocr_languages!r}: write them as eng+chi_sim")


def ranges_of(asked: str) -> list[tuple[int, int | None]]:
    """What `pages` asks for, first and last page from 1; no last one: to the end.

    Raises:
        ValueError: it is not such a list.
    """
    found = []
    for part in asked.split(","):
        match = PAGE_RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"pages = {asked!r}: write them as 1-3,7,20-")
        first, dash, last = int(match[1]), match[2], match[3]
        end = int(last) if last else None if dash else first
        if first < 1 or (end is not None and end < first):
            raise ValueError(f"pages = {asked!r}: {part.strip()} is no range of pages, which count from 1")
        found.append((first, end))
    return found
