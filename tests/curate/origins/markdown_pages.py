"""A renderer of one's own that stands on the HTML renderer, as CONTRIBUTING.md tells to write one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pyarrow as pa
from markdown_it import MarkdownIt

from renderers import RenderError
from renderers.html.render import Browser, HtmlSettings


@dataclass(frozen=True)
class MarkdownSettings:
    page_height: int = 1280


@cache
def browser(settings: MarkdownSettings) -> Browser:
    return Browser(HtmlSettings(page_height=settings.page_height, tabs=1, start_s=90))


def start(settings: MarkdownSettings) -> None:
    browser(settings).render(b"<p>ready")


def render(document: bytes, settings: MarkdownSettings) -> Iterator[pa.RecordBatch]:
    try:
        markup = MarkdownIt("js-default").render(document.decode())
    except UnicodeDecodeError as error:
        raise RenderError("not_utf8", str(error)) from None
    yield from browser(settings).render(markup.encode(), content_type="text/html; charset=utf-8")
