"""Web pages to page images, their text and its boxes: the paper's A.4 by Chromium.

    with Browser(HtmlSettings()) as browser:
        for name, pages in browser.render_many(documents):
            ...  # record batches of `schema.PAGES`, or the RenderError that says why there are none

A page reaches no network and no file. The text that is painted is the text that is labelled: what a person could not
read, or no label could name (alt texts, frames, shadow trees), is not painted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, NamedTuple

import pyarrow as pa

from renderers import NotReadyError, RenderError
from renderers.html.browser import build_wall, find_chromium
from renderers.html.browser_pool import Pool
from renderers.html.installed_fonts import CHINESE, can_draw
from renderers.html.page_cuts import (
    BODY,
    Cut,
    cover_ink,
    cut_pages,
    inked,
    on_page,
    region,
    spell,
    tighten,
    with_initial,
)
from renderers.html.quads import overlapping, upright
from renderers.html.reader_process import ReaderProcess
from renderers.html.settings import NO_RESOURCES, Document, HtmlSettings
from renderers.html.shown_document import ShownDocument
from renderers.html.tab import HtmlLine, Layout, Tab
from renderers.schema import Page, record

__all__ = ["Browser", "Document", "HtmlSettings", "NotReadyError", "check_machine"]

MOST_LINES = 30_000  # of one document at one width
MOST_BEYOND = 1000  # dropped pages of one document beyond `max_pages`
MARGIN = 24  # px of the page that are shown below its last line

log = logging.getLogger(__name__)

Result = list[pa.RecordBatch] | RenderError


def check_machine(settings: HtmlSettings) -> None:
    """Check that this machine can render web pages.

    Raises: NotReadyError, which says what it lacks, and how to mend it.
    """
    build_wall(find_chromium(settings.executable), settings)
    if settings.chinese_fonts and not can_draw(CHINESE):
        raise NotReadyError("no font for Chinese: install Debian's `fontconfig` and `fonts-noto-cjk`")


class Browser:
    """Renders documents in the tabs of a walled-in Chromium, which a thread of its own drives. `close` it when done."""

    def __init__(self, settings: HtmlSettings) -> None:
        """Start the browser's thread.

        Raises: NotReadyError.
        """
        check_machine(settings)
        program = find_chromium(settings.executable)
        self.settings = settings
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(note_error)
        self.thread = threading.Thread(target=self.loop.run_forever, name="chromium", daemon=True)
        self.thread.start()
        self.reader, self.pool = self.submit(make_stages(program, settings)).result()

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
        """Render one document: a batch of one row for each page, in order.

        `content_type` is the server's header, `resources` are the images and styles of the archive, by address.

        Raises: RenderError, where the document gives no page.
        """
        ((_, result),) = self.render_many([Document("", document, content_type, url, resources)])
        if isinstance(result, RenderError):
            raise result
        return result

    def render_many(self, documents: Iterable[Document]) -> Iterator[tuple[str, Result]]:
        """Render documents; yield each one's id with its pages or its RenderError, in the order given.

        At most two documents for each tab, and one, are taken from `documents` ahead of what is yielded.
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
        """Render a document; return its pages, or the RenderError that says why there are none."""
        try:
            reading = await self.reader.read(document)
            held = document.resources if reading.resources is None else reading.resources
            pages = await self.pool.use(lambda tab: self.show(tab, document, reading, held))
        except RenderError as error:
            return error
        return [record(page) for page in pages]

    async def show(
        self, tab: Tab, document: Document, reading: ShownDocument, resources: Mapping[str, tuple[str, bytes]]
    ) -> list[Page]:
        """Show a document in a tab and return its pages.

        With `restyle` a document that lost its stylesheets is laid out anew.

        Raises: RenderError, where none has text; BrowserGoneError.
        """
        if self.settings.restyle:
            layout = await tab.load(reading.markup, self.settings.widths[0], resources)
            if not layout.facts["unstyled"]:
                return await render(tab, Showing(reading, resources, {}, layout), self.settings)
            with suppress(RenderError):  # without main content it stays as it is
                anew = await self.reader.read(document, layout.title)
                return await render(tab, Showing(anew, {}, {"restyled": True}), self.settings)
        return await render(tab, Showing(reading, resources, {}), self.settings)

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine on the browser's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        """End the browser and all of its processes. Safe to call twice."""
        if self.loop.is_closed():
            return
        self.submit(self.reader.kill()).result()
        self.submit(self.pool.close()).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def note_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log errors of tasks that nobody waits for (pyppeteer's, once the browser is gone): asyncio prints them."""
    log.debug("%s: %r", context["message"], context.get("exception"))


async def make_stages(program: str, settings: HtmlSettings) -> tuple[ReaderProcess, Pool]:
    """Make the process that reads documents and the pool of tabs that show them, for the running loop."""
    return ReaderProcess(settings), Pool(program, build_wall(program, settings), settings)


class Showing(NamedTuple):
    """A document that is about to be shown."""

    reading: ShownDocument
    resources: Mapping[str, tuple[str, bytes]]
    facts: Mapping[str, Any]  # added to `extra` of its pages
    loaded: Layout | None = None  # its layout at the first width, where the tab has loaded it already


async def render(tab: Tab, showing: Showing, settings: HtmlSettings) -> list[Page]:
    """Render all pages of a document, one viewport width after another.

    Raises: RenderError, where none has text; BrowserGoneError.
    """
    pages: list[Page] = []
    unread = beyond = 0
    reading, loaded = showing.reading, showing.loaded
    for width in settings.widths:
        layout = loaded or await tab.load(reading.markup, width, showing.resources)
        loaded = None
        unread += layout.unread
        if len(layout.lines) > MOST_LINES:
            raise RenderError("too_large", f"{len(layout.lines)} lines of text")
        arranged = await asyncio.to_thread(arrange, layout, settings)  # the other tabs go on meanwhile
        about = {**describe(reading, layout, width, arranged, settings), **showing.facts}
        beyond += about["pages_beyond"]
        for cut in arranged.cuts:
            page = await shown(tab, len(pages), cut, arranged, width, settings, about)
            pages += [page] if page.regions else []
    if not pages:
        raise RenderError("no_text", f"{unread} pieces of text that nobody could read")
    return [*pages, *not_shown(len(pages), beyond, settings.max_pages)]


async def shown(
    tab: Tab,
    number: int,
    cut: Cut,
    arranged: Arranged,
    width: int,
    settings: HtmlSettings,
    about: Mapping[str, Any],
) -> Page:
    """Take one page image, with the regions in which something can be seen."""
    taken = await picture(tab, number, cut, arranged.lines, width, settings)
    elements = [arranged.lines[i].element for i in cut.lines] if settings.elements else None
    filled = round((arranged.height - cut.y) * settings.scale)
    page = await asyncio.to_thread(inked, taken, about, elements, filled)
    if not settings.html:
        return page
    kept = {id(one) for one in page.regions}
    seen = [i for i, one in zip(cut.lines, taken.regions, strict=True) if id(one) in kept]
    told = {**json.loads(page.extra), "html": await tab.cleaned(seen)}
    return page._replace(extra=json.dumps(told, ensure_ascii=False))


def not_shown(first: int, count: int, max_pages: int) -> Iterator[Page]:
    """Yield a dropped page for each of the `count` pages that `max_pages` leaves out, MOST_BEYOND at most."""
    for number in range(first, first + min(count, MOST_BEYOND)):
        detail = f"max_pages = {max_pages}, and about {count} more"
        yield Page(number, None, None, None, None, [], "{}", "beyond_max_pages", detail)


class Arranged(NamedTuple):
    """A page's lines with the boxes of their labels, its cuts into images, and the px down to its last line."""

    lines: list[HtmlLine]
    cuts: list[Cut]
    height: float


def arrange(layout: Layout, settings: HtmlSettings) -> Arranged:
    """Choose the lines of a page that are labelled, and cut the page into images."""
    lines = [tighten(spell(line)) for line in layout.lines]
    labelled = {i for i, line in enumerate(lines) if line.text and can_draw(line.text)}
    labelled -= overlapping([tighten(line, BODY) for line in lines])
    lines = [on_page(cover_ink(line)) for line in lines]
    labelled -= halved_formulas(lines, labelled)
    boxes = as_wholes([with_initial(upright(line)) for line in lines])
    lowest = max((boxes[i].y + boxes[i].height for i in labelled), default=0.0)
    height = min(layout.height, lowest + MARGIN)
    least = max(height, min(settings.min_height, settings.page_height))
    cuts = list(cut_pages(boxes, labelled, least, settings.page_height, settings.max_pages))
    return Arranged(lines, cuts, height)


def halved_formulas(lines: Sequence[HtmlLine], labelled: set[int]) -> set[int]:
    """Return the numbers of the lines that belong to a formula of which some line is not labelled."""
    halved = {line.formula for i, line in enumerate(lines) if line.formula >= 0 and i not in labelled}
    return {i for i, line in enumerate(lines) if line.formula in halved}


def as_wholes(boxes: list[HtmlLine]) -> list[HtmlLine]:
    """Make the boxes of a formula's lines reach from its top to its bottom, so that no cut parts it."""
    spans: dict[int, tuple[float, float]] = {}
    for box in boxes:
        if box.formula >= 0:
            top, bottom = spans.get(box.formula, (box.y, box.y + box.height))
            spans[box.formula] = min(top, box.y), max(bottom, box.y + box.height)
    return [
        replace(box, y=spans[box.formula][0], height=spans[box.formula][1] - spans[box.formula][0])
        if box.formula in spans
        else box
        for box in boxes
    ]


async def picture(
    tab: Tab, number: int, cut: Cut, lines: list[HtmlLine], width: int, settings: HtmlSettings
) -> Page:
    """Take the image of one page; regions are not yet checked for ink."""
    size = round(width * settings.scale), round(cut.height * settings.scale)
    image = await tab.picture(cut.y, cut.height, width, list(cut.hidden))
    regions = [region(lines[i], cut, width, settings.scale) for i in cut.lines]
    return Page(number, image, settings.format, *size, regions, "{}")


def describe(
    reading: ShownDocument, layout: Layout, width: int, arranged: Arranged, settings: HtmlSettings
) -> dict[str, Any]:
    """Return what `extra` says of all pages of a document at one width."""
    pages = len(arranged.cuts)
    left = layout.beyond  # px
    if pages == settings.max_pages:
        left += max(0.0, arranged.height - arranged.cuts[-1].y - arranged.cuts[-1].height)
    return {
        "title": layout.title,
        "url": reading.url,
        "pages": pages,
        "pages_beyond": math.ceil(left / settings.page_height),
        "viewport": width,
        "charset": reading.charset,
        "unstyled": layout.facts["unstyled"],
        "stylesheets": layout.facts["stylesheets"],
        "lost_stylesheets": layout.facts["lost_stylesheets"],
        "hidden_shapes": layout.facts["shapes"],
    }
