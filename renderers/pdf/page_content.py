"""What a page holds: its lines, what is drawn, its pictures."""

from __future__ import annotations

from typing import Any, NamedTuple

from renderers.pdf.cover import Layers, image_share, layers_of
from renderers.pdf.fields import beside_labels
from renderers.pdf.line import Line
from renderers.pdf.lines import page_lines, structured
from renderers.pdf.mupdf import pymupdf
from renderers.pdf.plain import plain_lines
from renderers.pdf.rules import Rules
from renderers.pdf.settings import PdfSettings
from renderers.pdf.symbols import are_symbols, name_symbols
from renderers.pdf.tall import fitted


class PageContent(NamedTuple):
    """What a page holds, read once."""

    page: pymupdf.Page
    display: pymupdf.DisplayList  # with annotations and form fields as they look
    text: pymupdf.TextPage
    blocks: list[dict[str, Any]]  # of the text's dictionary
    rules: Rules
    lines: list[Line]
    layers: Layers
    images: float  # share of the page


def content_of(loaded: pymupdf.Page, settings: PdfSettings) -> PageContent:
    """Read a page."""
    display = loaded.get_displaylist()
    text = structured(display, 0.0)
    blocks = text.extractDICT()["blocks"]
    if are_symbols(blocks) and name_symbols(display):
        text = structured(display, 0.0)
        blocks = text.extractDICT()["blocks"]
    rules = Rules(blocks)
    lines = plain_lines(text, blocks, tuple(display.rect), rules) if settings.granularity == "lines" else None
    if lines is None:
        lines = page_lines(display, text)
    lines = beside_labels(fitted(lines), loaded)
    layers = layers_of(display, order=False)
    images = image_share(layers.pictures, tuple(display.rect))
    return PageContent(loaded, display, text, blocks, rules, lines, layers, images)
