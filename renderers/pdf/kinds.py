"""What kind of page it is, and why the text that it has is no label."""

from __future__ import annotations

from collections.abc import Sequence

from renderers.pdf.line import Line
from renderers.pdf.mupdf import pymupdf

SCAN_SHARE = 0.7  # of the page: with so much image it is a scan, or has one beneath its text
SPECKS = 0.1  # of the characters of a page with a scan: where fewer can be seen, they are a hidden layer's


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
