"""One tab of the browser: loads a document, reads its lines, takes its pictures.

Every failure is raised as `BrowserGoneError`; the caller decides whether the document or the browser caused it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pyppeteer.errors import NetworkError
from pyppeteer.page import Page as PyppeteerPage

from renderers.html.browser import BrowserGoneError, Chromium
from renderers.html.generated import generated
from renderers.html.settings import FETCH, HtmlSettings
from renderers.page_text import LONE_SURROGATE

READER = Path(__file__).parent / "reader"
SCRIPTS = ("house", "styles", "sight", "generated", "order", "openings", "lines", "cleaned")
WAKING_S = 2.0  # to load images that wait to be scrolled to from the archive
POLL_IMAGES_S = 0.05
LARGE = 300  # lines: after such a document the browser is told to free memory, which takes some 20 ms
SCROLL_S = 0.1  # wait after each scroll, for scripts that load what comes into view


OPEN_SHADOWS = """{  // every shadow tree that a script attaches is open: the reader cannot look into a closed one
    const attach = Element.prototype.attachShadow;
    Element.prototype.attachShadow = function (init) { return attach.call(this, {...init, mode: 'open'}); };
}"""


SCROLL = """limit => {  // scrolls down by one viewport; false at the end of the page or once `limit` px are passed
    const before = scrollY;
    scrollBy({top: innerHeight, behavior: 'instant'});
    return scrollY > before && scrollY < limit;
}"""


@dataclass(frozen=True)
class HtmlLine:
    """A line of text as the page shows it, in px of the whole page at scroll 0; `size` is its font size.

    `flow` says how its letters are set: in a row (`level`), or in a column: `upright`, on their side and read
    downwards (`down`) or upwards (`up`), or upright or on their side by their script (`mixed`). Turned or
    slanted text is measured in a frame in which it is level. `turn` is the matrix (a, b, c, d) from that frame
    to the page: x' = ax + cy and y' = bx + dy.
    """

    text: str
    x: float
    y: float
    width: float
    height: float
    size: float
    flow: str
    turn: tuple[float, float, float, float] | None = None
    formula: int = -1  # the number of the formula that it belongs to; -1 for other text
    element: Mapping[str, Any] = field(
        default_factory=dict
    )  # facts of its element, from `elementOf` in reader/lines.js
    # Top and bottom of its ink in its frame; null where they were not measured
    rows: tuple[float, float] | None = None
    # Top and bottom of large first letters that reach beyond it; null where there are none
    reach: tuple[float, float] | None = None


@dataclass(frozen=True)
class Layout:
    """The text of one document, laid out at one viewport width."""

    title: str
    height: float
    unread: int  # pieces of text that a person could not read
    lines: tuple[HtmlLine, ...]
    beyond: float  # px of the page below the part that `max_pages` allows
    facts: Mapping[str, Any]  # facts of its stylesheets and drawings, from `facts` in reader/house.js


@cache
def reader() -> str:
    """Return the JavaScript function that reads a page's lines, put together from the files in reader/."""
    parts = ((READER / f"{part}.js").read_text(encoding="utf-8") for part in SCRIPTS)
    return (
        "(minFont, maxHeight, served, answered) => {'use strict';\n"
        + "\n".join(parts)
        + "\nreturn prepare(); }"
    )


class Tab:
    """A tab of the browser, which renders one document after another."""

    def __init__(self, page: PyppeteerPage, settings: HtmlSettings) -> None:
        self.page = page
        self.session = page._client
        self.settings = settings
        self.resources: Mapping[str, tuple[str, bytes]] = {}
        self.crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answered: set[str] = set()  # the addresses whose content the page was given
        self.answering: set[asyncio.Task[None]] = set()
        self.world = 0
        self.large = False  # whether the last document had LARGE lines or more
        # px of the document to the left of the part that is seen at scroll 0, and above it
        self.origin = (0.0, 0.0)

    @classmethod
    async def open(cls, chromium: Chromium, settings: HtmlSettings) -> Tab:
        """Open a new tab.

        Raises: BrowserGoneError.
        """
        try:
            tab = cls(await chromium.new_page(), settings)
            session = tab.session
            session.on("Inspector.targetCrashed", tab.on_crash)
            session.on("Fetch.requestPaused", tab.on_request)
            session.on("Page.javascriptDialogOpening", tab.on_dialog)
            await tab.ask_page(tab.page.setJavaScriptEnabled(settings.javascript))
            if settings.javascript:
                await tab.ask("Page.addScriptToEvaluateOnNewDocument", {"source": OPEN_SHADOWS})
            for silent in ("Network", "Log", "Performance", "Security"):
                await tab.ask(f"{silent}.disable", {})
            await tab.ask("Fetch.enable", {"patterns": [{"urlPattern": "*"}]})
            return tab
        except NetworkError as error:
            raise BrowserGoneError(str(error)) from error

    async def close(self) -> None:
        """Close the tab.

        Raises: BrowserGoneError.
        """
        await self.ask_page(self.page.close())

    async def load(self, markup: str, width: int, resources: Mapping[str, Any]) -> Layout:
        """Load a document's markup, as `shown_document.read` gives it, and read its lines.

        `width` is the viewport's, in px; `resources` are the images, styles and fonts that the page may load, by
        their address.

        Raises: BrowserGoneError.
        """
        self.resources, self.answered = resources, set()
        settings = self.settings
        view = {"width": width, "height": settings.page_height, "deviceScaleFactor": settings.scale}
        await self.ask("Emulation.setDeviceMetricsOverride", {**view, "mobile": settings.mobile})
        blank = self.next_load()
        await self.ask("Page.navigate", {"url": "about:blank"})  # else the last page's policies would stay
        await self.ask_page(blank)
        if self.large:
            await self.ask("HeapProfiler.collectGarbage", {})
        loaded = self.next_load()
        await self.ask_page(self.page.setContent(markup))
        limit = settings.page_height * settings.max_pages
        if settings.javascript:  # what the scripts leave in time is what is read: nothing may move any more
            until = time.monotonic() + settings.scripts_s
            await asyncio.wait((loaded,), timeout=settings.scripts_s)
            await self.enter_world()
            await self.scroll_through(limit, until)
            await self.ask("Emulation.setScriptExecutionDisabled", {"value": True})
        else:
            await self.ask_page(loaded)
            await self.enter_world()
        if resources:
            await self.wake_images()
        given = settings.min_font, limit, bool(resources), sorted(self.answered)
        owners = await self.run(f"({reader()})({', '.join(map(json.dumps, given))})")
        told = (
            generated(await self.ask("DOMSnapshot.captureSnapshot", {"computedStyles": []})) if owners else []
        )
        seen = await self.run(f"readPage({json.dumps(told)})")
        lines = tuple(HtmlLine(*line) for line in seen["lines"])
        self.origin = tuple(seen["origin"])
        self.large = len(lines) >= LARGE
        return Layout(seen["title"], seen["height"], seen["unread"], lines, seen["beyond"], seen["facts"])

    async def enter_world(self) -> None:
        """Create a JavaScript world for the reader, which the page's scripts cannot reach."""
        frame = {"frameId": self.page.mainFrame._id, "worldName": "curate"}
        self.world = (await self.ask("Page.createIsolatedWorld", frame))["executionContextId"]

    async def scroll_through(self, limit: float, until: float) -> None:
        """Scroll down the page, at most `limit` px and until the time `until`, and back to its top.

        So scripts load what they load once it comes into view, mostly images.
        """
        while time.monotonic() < until and await self.run(f"({SCROLL})({limit})"):
            await asyncio.sleep(SCROLL_S)
        await self.run("scrollTo({top: 0, behavior: 'instant'})")

    async def wake_images(self) -> None:
        """Load the images that wait to be scrolled to, within the time for resources."""
        fetched = self.settings.resources == FETCH
        until = time.monotonic() + (self.settings.resources_s if fetched else WAKING_S)
        script = (READER / "waking.js").read_text(encoding="utf-8")
        while await self.run(f"({script})()") and time.monotonic() < until:
            await asyncio.sleep(POLL_IMAGES_S)

    async def cleaned(self, lines: Sequence[int]) -> str:
        """Return the cleaned HTML of the lines with these numbers."""
        return LONE_SURROGATE.sub(
            "\N{REPLACEMENT CHARACTER}", await self.run(f"cleaned({json.dumps(lines)})")
        )

    def next_load(self) -> asyncio.Future[None]:
        """Return a future that is done at the next load event."""
        loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.session.once("Page.loadEventFired", lambda _: finish(loaded))
        return loaded

    async def picture(self, y: float, height: float, width: int, hidden: list[int]) -> bytes:
        """Take a picture of `width` times `height` px of the page from `y` on, as encoded bytes.

        The text of the lines numbered in `hidden` is not painted.

        Raises: BrowserGoneError.
        """
        await self.run(f"show({y}, {json.dumps(hidden)})")
        left, above = self.origin  # a picture counts px from the document's corner
        clip = {"x": left, "y": above + y, "width": width, "height": height, "scale": 1}
        kind: dict[str, Any] = {"format": self.settings.format, "optimizeForSpeed": True}
        if self.settings.format == "jpeg":
            kind["quality"] = self.settings.quality
        taken = await self.ask("Page.captureScreenshot", {**kind, "clip": clip})
        return base64.b64decode(taken["data"])

    async def run(self, expression: str) -> Any:
        """Evaluate a JavaScript expression in the reader's world and return its value."""
        call = {"expression": expression, "contextId": self.world, "returnByValue": True}
        answer = await self.ask("Runtime.evaluate", call)
        if "exceptionDetails" in answer:
            raise BrowserGoneError(f"the reader failed: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def ask(self, method: str, params: dict[str, Any]) -> Any:
        """Send a command of the DevTools protocol and return the browser's answer.

        Raises: BrowserGoneError.
        """
        return await self.ask_page(self.session.send(method, params))

    async def ask_page(self, answer: Any) -> Any:
        """Wait for an answer of the browser, or until the page's process has ended.

        Raises: BrowserGoneError.
        """
        answer = asyncio.ensure_future(answer)
        answer.add_done_callback(take_error)
        try:
            await asyncio.wait((answer, self.crashed), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                answer.cancel()
                raise BrowserGoneError("the page crashed")
            return answer.result()
        except NetworkError as error:
            raise BrowserGoneError(str(error)) from error

    def on_crash(self, _: Any) -> None:
        """Note that the page's process has ended."""
        finish(self.crashed)

    def on_dialog(self, _: Any) -> None:
        """Answer a dialog with no."""
        self.session.send("Page.handleJavaScriptDialog", {"accept": False})

    def on_request(self, event: dict[str, Any]) -> None:
        """Answer a request with what the archive or the fetcher has; refuse it where they have nothing."""
        if event["resourceType"] == "Document":
            self.refuse(event, "Aborted")  # an aborted page stays, a blocked one shows an error
            return
        if not self.resources:
            self.refuse(event, "BlockedByClient")  # an aborted image ends the loading
            return
        task = asyncio.ensure_future(self.serve(event, self.resources))
        self.answering.add(task)
        task.add_done_callback(self.answering.discard)
        task.add_done_callback(take_error)

    def refuse(self, event: dict[str, Any], reason: str) -> None:
        """Answer a request with an error."""
        self.session.send("Fetch.failRequest", {"requestId": event["requestId"], "errorReason": reason})

    async def serve(self, event: dict[str, Any], resources: Mapping[str, tuple[str, bytes]]) -> None:
        """Answer a request from the document's resources, which may have to fetch the content first."""
        url = event["request"]["url"].partition("#")[0]
        found = await asyncio.get_running_loop().run_in_executor(asking(), resources.get, url)
        if resources is not self.resources:
            return  # the tab shows another document by now
        if found is None:
            self.refuse(event, "BlockedByClient")
            return
        self.answered.add(url)
        kind, content = found
        headers = [{"name": "Content-Type", "value": kind}, ANYONE]
        body = base64.b64encode(content).decode()
        answer = {"responseCode": 200, "responseHeaders": headers, "body": body}
        self.session.send("Fetch.fulfillRequest", {"requestId": event["requestId"], **answer})


ANYONE = {"name": "Access-Control-Allow-Origin", "value": "*"}  # the browser takes no font without it
MOST_ASKING = 32  # resources that are looked up at the same time


@cache
def asking() -> ThreadPoolExecutor:
    """Return the threads that look up resources."""
    return ThreadPoolExecutor(MOST_ASKING, "resources")


def take_error(answer: asyncio.Future[Any]) -> None:
    """Take an answer's error, which asyncio prints if nobody waits for the answer any more."""
    if not answer.cancelled():
        answer.exception()


def finish(event: asyncio.Future[None]) -> None:
    """Mark a future as done, unless it is done or cancelled already."""
    if not event.done():
        event.set_result(None)
