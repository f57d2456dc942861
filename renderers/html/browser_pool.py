"""Lend the tabs of one browser to documents, and find which document ends or stalls the browser."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from renderers import NotReadyError, RenderError
from renderers.html.browser import BrowserGoneError, Chromium, Wall
from renderers.html.settings import FETCH, HtmlSettings
from renderers.html.tab import Tab

POLL_S = 1.0  # between two measurements of the browser's memory
STARTS = 3  # attempts to start the browser

log = logging.getLogger(__name__)

T = TypeVar("T")


class Pool:
    """Lends tabs of a browser, which is started when first needed and replaced after `recycle_after` documents.

    A browser that ends, stalls or takes too much memory is killed. Each document that was shown in it then is tried
    once more while no other is under way, and only what happens then counts.
    """

    def __init__(self, program: str, wall: Wall, settings: HtmlSettings) -> None:
        self.program, self.wall, self.settings = program, wall, settings
        self.slots = asyncio.Semaphore(settings.tabs)
        self.gathering = asyncio.Lock()  # held by whoever takes all slots
        self.starting = asyncio.Lock()
        self.chromium: Chromium | None = None
        self.idle: list[Tab] = []
        self.watcher: asyncio.Task[None] | None = None

    async def use(self, work: Callable[[Tab], Awaitable[T]]) -> T:
        """Run `work` on a tab and return its result.

        Raises: RenderError, if `work` raises it, ends the browser or runs out of time; NotReadyError, if no browser
            starts.
        """
        async with self.slots:
            try:
                return await self.attempt(work)
            except RenderError as error:
                if error.reason not in TROUBLES:
                    raise
        async with self.alone():
            return await self.attempt(work)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold all slots, so that no other document is under way."""
        async with self.gathering:
            for _ in range(self.settings.tabs):
                await self.slots.acquire()
        try:
            yield
        finally:
            for _ in range(self.settings.tabs):
                self.slots.release()

    async def attempt(self, work: Callable[[Tab], Awaitable[T]]) -> T:
        """Run `work` on a tab within the time limit; kill the browser if it breaks or the time is over."""
        chromium = await self.browser()
        gone = chromium.connection.gone
        chromium.users += 1
        task = asyncio.ensure_future(self.run(chromium, work))
        try:
            limit = self.settings.timeout_s
            if self.settings.resources == FETCH:
                limit += (
                    2 * self.settings.resources_s
                )  # the last fetch may begin at the limit, and take as long again
            await asyncio.wait((task, gone), timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if gone.done():
                raise BrowserGoneError("the browser ended")
            await chromium.kill()
            raise RenderError("timed_out", f"after {limit:g} s")
        except BrowserGoneError as trouble:
            await chromium.kill()
            raise RenderError(chromium.verdict, str(trouble)) from None
        finally:
            task.cancel()
            chromium.users -= 1
            if chromium is not self.chromium and chromium.users == 0:
                await chromium.kill()

    async def run(self, chromium: Chromium, work: Callable[[Tab], Awaitable[T]]) -> T:
        """Run `work` on an idle tab or a new one, and keep the tab for the next document."""
        tab = self.idle.pop() if self.idle else await Tab.open(chromium, self.settings)
        result = await work(tab)
        if chromium is self.chromium:
            await self.put_back(tab)
        return result

    async def put_back(self, tab: Tab) -> None:
        """Keep a tab for the next document, unless scripts ran in it."""
        if not self.settings.javascript:
            self.idle.append(tab)
            return
        with suppress(BrowserGoneError):
            await tab.close()

    async def browser(self) -> Chromium:
        """Return the browser to use now: a new one where the last has ended or shown `recycle_after` documents.

        Raises: NotReadyError.
        """
        async with self.starting:
            old = self.chromium
            if old is None or not old.alive or old.started >= self.settings.recycle_after:
                self.idle.clear()
                self.chromium = None
                if old is not None and (old.users == 0 or not old.alive):
                    await old.kill()
                self.chromium = await self.start()
                self.watch(self.chromium)
            assert self.chromium is not None
            self.chromium.started += 1
            return self.chromium

    async def start(self) -> Chromium:
        """Start a browser.

        Raises: NotReadyError, after STARTS attempts.
        """
        for left in reversed(range(STARTS)):
            try:
                return await Chromium.start(self.program, self.wall, self.settings)
            except BrowserGoneError as problem:
                log.warning("%s; %d attempts left", problem, left)
        raise NotReadyError(
            f"{self.program} does not start: run it by hand to see why (`{self.program} --version`)"
        )

    def watch(self, chromium: Chromium) -> None:
        """Watch the memory of this browser instead of the last one's."""
        if self.watcher is not None:
            self.watcher.cancel()
        self.watcher = asyncio.create_task(self.end_if_swollen(chromium))

    async def end_if_swollen(self, chromium: Chromium) -> None:
        """Kill the browser once it takes more than `max_memory`."""
        while chromium.alive:
            if await asyncio.to_thread(chromium.memory) > self.settings.max_memory:
                chromium.verdict = "out_of_memory"
                await chromium.kill()
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        """End the browser."""
        if self.watcher is not None:
            self.watcher.cancel()
        if self.chromium is not None:
            await self.chromium.kill()


TROUBLES = frozenset({"timed_out", "crashed", "out_of_memory"})
