"""Web pages to page images, their text and its boxes: the paper's A.4 by Chromium.

    with Browser(HtmlSettings()) as browser:
        for name, pages in browser.render_many(documents):
            ...  # record batches of `schema.PAGES`, or the RenderError that says why there are none

Nothing of a page reaches a network or a file. What is painted and what is labelled are the same text: what
nobody could read, or no label could name (alt texts, form values, generated content, frames), is not painted.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any

import pyarrow as pa

from renderers import NotReadyError, RenderError
from renderers.html.browser import build_wall, find_chromium
from renderers.html.charset import decode
from renderers.html.fonts import CHINESE, can_draw
from renderers.html.pages import BODY, Cut, cut_pages, inked, region, spell, tighten
from renderers.html.pool import Pool
from renderers.html.quads import overlapping, upright
from renderers.html.settings import NO_RESOURCES, Document, HtmlSettings
from renderers.html.tab import Layout, Line, Tab
from renderers.schema import Page, record
from renderers.warc import is_mhtml, unpack_mhtml

__all__ = ["Browser", "Document", "HtmlSettings", "NotReadyError", "check_machine"]

HTML_TYPES = ("text/html", "application/xhtml+xml", "application/xml", "text/xml")
MARGIN = 24  # px of the page that are shown below its last line
Result = list[pa.RecordBatch] | RenderError


def check_machine(settings: HtmlSettings) -> None:
    """Raises: NotReadyError, which says what this machine lacks to render web pages, and how to mend it."""
    build_wall(find_chromium(settings.executable), settings)
    if settings.chinese_fonts and not can_draw(CHINESE):
        raise NotReadyError("no font for Chinese: install Debian's `fontconfig` and `fonts-noto-cjk`")


class Browser:
    """Renders documents in the tabs of a walled-in Chromium, from a thread of its own. `close` it."""

    def __init__(self, settings: HtmlSettings) -> None:
        """Raises: NotReadyError."""
        check_machine(settings)
        program = find_chromium(settings.executable)
        self.settings = settings
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="chromium", daemon=True)
        self.thread.start()
        self.pool = self.submit(make_pool(program, settings)).result()

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def render(
        self,
        document: bytes,
        *,
        content_type: str | None = None,
        url: str | None = None,
        resources: Mapping[str, tuple[str, bytes]] = NO_RESOURCES,
    ) -> list[pa.RecordBatch]:
        """The pages of one document, a batch of one row each, in order.

        Raises: RenderError, where the document gives none.
        """
        ((_, result),) = self.render_many([Document("", document, content_type, url, resources)])
        if isinstance(result, RenderError):
            raise result
        return result

    def render_many(self, documents: Iterable[Document]) -> Iterator[tuple[str, Result]]:
        """Each document's id with its pages or its RenderError, in the order that came in.

        A few documents more than there are tabs are under way at once; the rest is not asked for before.
        """
        waiting: deque[tuple[str, Future[Result]]] = deque()
        for document in documents:
            waiting.append((document.id, self.submit(self.judge(document))))
            if len(waiting) > 2 * self.settings.tabs:
                name, future = waiting.popleft()
                yield name, future.result()
        while waiting:
            name, future = waiting.popleft()
            yield name, future.result()

    async def judge(self, document: Document) -> Result:
        """The document's pages, or why there are none."""
        try:
            if is_mhtml(document.content, document.content_type):
                document = unpack_mhtml(document)
            markup, charset = read(document, self.settings)
            pages = await self.pool.use(lambda tab: render(tab, document, markup, charset, self.settings))
        except RenderError as error:
            return error
        return [record(page) for page in pages]

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run something on the browser's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        """End the browser and all of its processes. Safe to call twice."""
        if self.loop.is_closed():
            return
        self.submit(self.pool.close()).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


async def make_pool(program: str, settings: HtmlSettings) -> Pool:
    """A pool that belongs to the running loop."""
    return Pool(program, build_wall(program, settings), settings)


def read(document: Document, settings: HtmlSettings) -> tuple[str, str]:
    """The document's markup, and the charset it was in.

    Raises: RenderError.
    """
    kind = (document.content_type or "").partition(";")[0].strip().lower()
    if kind and kind not in HTML_TYPES:
        raise RenderError("not_html", kind)
    if document.content.startswith(
        (b"%PDF", b"PK\x03\x04", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b")
    ):
        raise RenderError("not_html", f"begins with {document.content[:8]!r}")
    if len(document.content) > settings.max_bytes:
        raise RenderError("too_large", f"{len(document.content)} bytes")
    if not document.content.strip():
        raise RenderError("no_text", "empty document")
    return decode(document.content, document.content_type)


async def render(
    tab: Tab, document: Document, markup: str, charset: str, settings: HtmlSettings
) -> list[Page]:
    """All pages of a document, one viewport width after another.

    Raises: RenderError, where none has text; BrowserGoneError.
    """
    pages: list[Page] = []
    for width in settings.widths:
        layout = await tab.load(markup, document.url, width, document.resources)
        lines = [tighten(spell(line)) for line in layout.lines]
        labelled = {i for i, line in enumerate(lines) if line.text and can_draw(line.text)}
        labelled -= overlapping([tighten(line, BODY) for line in lines])
        boxes = [upright(line) for line in lines]
        lowest = max((boxes[i].y + boxes[i].height for i in labelled), default=0.0)
        height = min(layout.height, lowest + MARGIN)
        cuts = list(cut_pages(boxes, labelled, height, settings.page_height, settings.max_pages))
        about = describe(document, layout, charset, width, len(cuts))
        for cut in cuts:
            page = await picture(tab, len(pages), cut, lines, width, about, settings)
            if layout.assumed:
                page = inked(page)
            pages += [page] if page.regions else []
    if not pages:
        raise RenderError("no_text", f"{layout.unread} pieces of text that nobody could read")
    return pages


async def picture(
    tab: Tab, number: int, cut: Cut, lines: list[Line], width: int, about: str, settings: HtmlSettings
) -> Page:
    """One page with its image."""
    size = round(width * settings.scale), round(cut.height * settings.scale)
    image = await tab.picture(cut.y, cut.height, width, list(cut.hidden))
    regions = [region(lines[i], cut, width, settings.scale) for i in cut.lines]
    return Page(number, image, settings.format, *size, regions, about)


def describe(document: Document, layout: Layout, charset: str, width: int, pages: int) -> str:
    """The `extra` of a document's pages: a JSON object."""
    about = {
        "title": layout.title,
        "url": document.url,
        "pages": pages,
        "viewport": width,
        "charset": charset,
    }
    return json.dumps(about, ensure_ascii=False)
