"""A PDF file, opened: what keeps it shut, and which of its pages are drawn."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

from renderers import RenderError
from renderers.pdf.mupdf import mupdf, pymupdf
from renderers.pdf.settings import PdfSettings, ranges_of

HEADER = b"%PDF-"  # without it MuPDF would try its readers of HTML, SVG, …
HEADER_WITHIN = 1024  # bytes, as readers agree
BEFORE_HEADER = b"\xef\xbb\xbf \t\r\n\0"  # a byte order mark, white space
END, END_WITHIN = b"%%EOF", 1024  # how a file ends, and in how many last bytes that stands
# MuPDF's errors and its binding's; anything else is a mistake of ours, and shall not pass for the document's.
# SystemError: the binding's C code met a character that Unicode does not have, and went on.
UNREADABLE = (
    mupdf.FzErrorBase,
    RuntimeError,
    ValueError,
    AssertionError,
    IndexError,
    MemoryError,
    SystemError,
)


def opened(document: bytes, password: str = "") -> pymupdf.Document:
    """The document, of which at least one page is said to be there."""
    if HEADER not in document[:HEADER_WITHIN]:
        raise RenderError("not_a_pdf", f"no {HEADER.decode()} in its first {HEADER_WITHIN} bytes")
    try:
        pdf = pymupdf.open(stream=document, filetype="pdf")
        if not pdf.is_pdf:
            raise RenderError("not_a_pdf", "MuPDF takes it for another format")
        if pdf.needs_pass:
            if not password:
                raise RenderError("encrypted", "needs a password")
            if not pdf.authenticate(password):
                raise RenderError("encrypted", "the password that was given does not open it")
        if pdf.page_count < 1:
            raise RenderError("truncated" if is_cut(document) else "no_pages", "its page tree is empty")
    except UNREADABLE as error:
        reason, told = failure(error)
        if reason == "damaged" and is_cut(document):
            reason, told = "truncated", f"the file's end is missing; {told}"
        raise RenderError(reason, told) from error
    return pdf


def wanted_pages(asked: str, count: int) -> Sequence[int]:
    """The numbers, from 0, of the pages that were asked for and that a document of `count` pages has.

    Raises:
        RenderError: it has `no_pages` of those.
    """
    if not asked:
        return range(count)
    found: set[int] = set()
    for first, last in ranges_of(asked):
        found.update(range(first - 1, min(last or count, count)))
    if not found:
        raise RenderError("no_pages", f"none of pages {asked}: it has {count}")
    return sorted(found)


def is_cut(document: bytes) -> bool:
    """True where a file begins as a PDF or has a PDF's objects, and has no end mark near its end."""
    begins = document[:HEADER_WITHIN].lstrip(BEFORE_HEADER).startswith(HEADER)
    return END not in document[-END_WITHIN:] and (begins or b" obj" in document)


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
