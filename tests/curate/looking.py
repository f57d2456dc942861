"""A report looked at in Chromium, walled in as for rendering: what it says, asks for, and what lies where."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from renderers import NotReadyError
from renderers.html.browser import Chromium, build_wall, find_chromium
from renderers.html.settings import HtmlSettings

T = TypeVar("T")
SETTINGS = HtmlSettings(start_s=90)


class Eyes:
    """A browser with one page; `complaints` are its errors and warnings, `requests` what it asked for."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        program = find_chromium()
        self.chromium = self.do(Chromium.start(program, build_wall(program, SETTINGS), SETTINGS))
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = self.do(self.chromium.new_page())
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url[:200]))
        self.page._client.on("Log.entryAdded", lambda event: self.complaints.append(event["entry"]["text"]))
        self.do(self.page._client.send("Log.enable"))

    def close(self) -> None:
        """End the browser."""
        self.do(self.chromium.kill())
        self.loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 90))

    def look(self, html: str, width: int = 1440, height: int = 900, dark: bool = False) -> None:
        """Show a page in a window of that size, by day or by night."""
        self.complaints.clear()
        self.requests.clear()
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.do(self.page._client.send("Emulation.setEmulatedMedia", {"features": scheme}))
        self.do(self.page.setViewport({"width": width, "height": height, "deviceScaleFactor": 1}))
        self.do(self.page.setContent(html))
        self.ask("() => Promise.all([...document.images].map((image) => image.decode()))")

    def ask(self, script: str, *arguments: object) -> Any:
        """What a function of the page returns."""
        return self.do(self.page.evaluate(script, *arguments))

    def shoot(self, path: str, whole: bool = True) -> None:
        """Keep a picture of the page."""
        self.do(self.page.screenshot({"path": path, "fullPage": whole}))


def open_eyes() -> Eyes | str:
    """A browser, or why there is none here."""
    try:
        return Eyes()
    except NotReadyError as problem:
        return str(problem)
