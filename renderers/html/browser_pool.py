"""Tabs of one browser at a time, and whose fault it is when that breaks."""

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

POLL_S = 1.0  # between two looks at the browser's memory
STARTS = 3  # attempts to start the browser

log = logging.getLogger(__name__)

T = TypeVar("T")


class Pool:
    """Lends tabs. The browser is started when first needed, recycled, and killed after any trouble.

    A document is judged only alone: when the browser breaks while several are under way, each of them is
    tried once more by itself, and only what happens then counts.
    """

    def __init__(self, program: str, wall: Wall, settings: HtmlSettings) -> None:
        self.program, self.wall, self.settings = program, wall, settings
        self.slots = asyncio.Semaphore(settings.tabs)
        self.gathering = asyncio.Lock()  # who wants all slots
        self.starting = asyncio.Lock()
        self.chromium: Chromium | None = None
        self.idle: list[Tab] = []
        self.watcher: asyncio.Task[None] | None = None

    async def use(self, work: Callable[[Tab], Awaitable[T]]) -> T:
        """What `work` makes of a tab.

        Raises: RenderError, if it ends the browser or runs out of time; NotReadyError, if no browser starts.
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
        """All slots at once."""
        async with self.gathering:
            for _ in range(self.settings.tabs):
                await self.slots.acquire()
        try:
            yield
        finally:
            for _ in range(self.settings.tabs):
                self.slots.release()

    async def attempt(self, work: Callable[[Tab], Awaitable[T]]) -> T:
        """Run `work` on a tab within the time limit; any trouble ends the browser."""
        chromium = await self.browser()
        gone = chromium.connection.gone
        chromium.users += 1
        task = asyncio.ensure_future(self.run(chromium, work))
        try:
            limit = self.settings.timeout_s
            if self.settings.resources == FETCH:
                limit += 2 * self.settings.resources_s  # the last one may begin late, and take as long itself
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
        """Do `work` on an idle tab or a new one, and keep the tab for the next."""
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
        """The browser to use now: a fresh one where the last is gone or has done its share.

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
        """Raises: NotReadyError, after several attempts."""
        for left in reversed(range(STARTS)):
            try:
                return await Chromium.start(self.program, self.wall, self.settings)
            except BrowserGoneError as problem:
                log.warning("%s; %d attempts left", problem, left)
        raise NotReadyError(
            f"{self.program} does not start: run it by hand to see why (`{self.program} --version`)"
        )

    def watch(self, chromium: Chromium) -> None:
        """Keep an eye on the memory of this browser, and no longer on the last one's."""
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
