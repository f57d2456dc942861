"""Fetches web pages and their parts (images, stylesheets, fonts) as a polite crawler does, each address once in a run.

The site's robots.txt is read first, for pages and for parts. If it cannot be read (a server error, for example),
nothing is fetched from that site. Opt-outs are honoured in response headers and in the `<meta name=robots>` of pages.
Every answer, failures included, is kept (`curate.fetch.kept_answers`), so that a resumed run gets the same answers.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import msgspec
from yarl import URL

from curate.errors import Halted
from curate.fetch.fetcher import Fetcher
from curate.fetch.kept_answers import KeptAnswers
from curate.fetch.optouts import opted_out
from curate.fetch.outcome import Fetched, printable
from curate.fetch.robots import Robots, robots_address
from curate.fetch.urls import BadUrlError, requestable
from curate.manifest.settings import FetchSettings

PER_HOST = 6  # requests at once to one host: as many as browsers send
LONGEST_PAUSE_S = 30.0  # between two pages of a site, even if its robots.txt asks for longer pauses
HEAD = 1 << 16  # first bytes of a page that are searched for an opt-out
STRIPES = 256  # locks; an address always takes the same one
SITES = 4096  # sites whose parsed robots.txt stays in memory
META = re.compile(rb"<meta\b[^<>]*+", re.IGNORECASE)
ATTRIBUTE = re.compile(rb"\b(name|content)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s\"'>]++))", re.IGNORECASE)


class Crawl:
    """Fetches pages and parts for one run, and keeps every answer. Several threads may call it at once.

    Args:
        settings: limits, times, opt-outs and the user agent; at most PER_HOST requests go to one host at once.
        folder: where the answers are kept.
        part_timeout_s: seconds that one part of a page may take with all retries; a page may take the settings'
            `total_timeout_s`.
    """

    def __init__(self, settings: FetchSettings, folder: Path, part_timeout_s: float) -> None:
        self._settings = msgspec.structs.replace(settings, per_host=min(settings.per_host, PER_HOST))
        self._hasty = msgspec.structs.replace(
            self._settings, total_timeout_s=min(settings.total_timeout_s, part_timeout_s)
        )
        self._agent = settings.user_agent.partition("/")[0].strip()
        self._kept = KeptAnswers(folder)
        self._fetchers: dict[bool, Fetcher] = {}
        self._starting = threading.Lock()
        self._turns: dict[str, float] = {}  # host -> when its next page may be requested (monotonic clock)
        self._robots = lru_cache(SITES)(self._read_robots)
        self._asking = tuple(
            threading.Lock() for _ in range(STRIPES)
        )  # so no address is fetched twice at once
        self._reading = tuple(threading.Lock() for _ in range(STRIPES))  # nor a site's robots.txt
        # Set once a part could not be fetched because the network was gone
        self.trouble: Halted | None = None

    def page(self, url: str) -> Fetched:
        """Fetch a page, or return the answer that its address gave before.

        Raises:
            Halted: the network is gone.
        """
        with self._asking[hash(url) % STRIPES]:
            return self.known(url) or self._kept.keep(url, self._fetch(url, part=False))

    def part(self, url: str) -> Fetched:
        """Fetch an image, stylesheet or font, or return the answer that its address gave before.

        If the network is gone, the answer is `timed_out` and is not kept, and `trouble` is set.
        """
        with self._asking[hash(url) % STRIPES]:
            found = self.known(url)
            if found is not None:
                return found
            if self.trouble is None:
                try:
                    return self._kept.keep(url, self._fetch(url, part=True))
                except Halted as trouble:
                    self.trouble = trouble
            return Fetched(None, "timed_out", str(self.trouble), url)

    def known(self, url: str) -> Fetched | None:
        """Return the answer that an address gave before; None if it was never fetched."""
        return self._kept.find(url)

    def refuse(self, note: str, detail: str) -> None:
        """Keep a refusal under the key `note`, so that `known(note)` finds it, also in a resumed run."""
        self._kept.keep(note, Fetched(None, "refused", detail, None))

    def close(self) -> None:
        """End all requests and the fetching threads."""
        for fetcher in self._fetchers.values():
            fetcher.close()

    def _fetch(self, text: str, *, part: bool) -> Fetched:
        try:
            url = requestable(text)
        except BadUrlError as error:
            return Fetched(None, "bad_url", printable(str(error)), None)
        robots = self._rules_of(url)
        if isinstance(robots, Fetched):
            return robots
        if not robots.allows(str(url)):
            return Fetched(None, "robots_disallowed", f"{robots_address(url)} disallows it", str(url))
        if not part:
            self._take_turn(url, robots.pause_s())
        found = self._ask(str(url), part=part)
        return found if part else self._judged(found)

    def _judged(self, page: Fetched) -> Fetched:
        """Return the page; if its `<meta name=robots>` opts out, return that as the reason instead."""
        directive = self._settings.respect_opt_out and opt_out_in(
            page.body or b"", self._agent, self._settings.opt_out
        )
        if directive:
            return Fetched(None, "opted_out", f"<meta name=robots>: {directive}", page.url)
        return page

    def _rules_of(self, url: URL) -> Robots | Fetched:
        """Return the robots.txt rules of an address's site, or the failure to read them."""
        address = robots_address(url)
        with self._reading[hash(address) % STRIPES]:
            return self._robots(address)

    def _read_robots(self, address: str) -> Robots | Fetched:
        """Return the rules of the robots.txt at `address`, or the failure to read them."""
        found = self._kept.find(address)
        if found is None:
            found = self._kept.keep(address, self._ask(address, part=False))
        if found.body is not None:
            return Robots(found.body, self._agent)
        if found.reason == "empty" or re.fullmatch("http_4(?!29)..", found.reason or ""):
            return Robots(b"", self._agent)  # RFC 9309: a missing robots.txt allows everything
        return Fetched(None, found.reason, f"robots.txt: {found.detail}", found.url)

    def _take_turn(self, url: URL, pause_s: float) -> None:
        """Wait until the next page of a site may be requested, `pause_s` after the one before."""
        if pause_s <= 0:
            return
        host = url.raw_host or ""
        with self._starting:
            now = time.monotonic()
            at = max(now, self._turns.get(host, 0.0))
            self._turns[host] = at + min(pause_s, LONGEST_PAUSE_S)
        time.sleep(at - now)

    def _ask(self, url: str, *, part: bool) -> Fetched:
        with self._starting:
            if part not in self._fetchers:
                self._fetchers[part] = Fetcher(self._hasty if part else self._settings, images=False)
        ((_, found),) = self._fetchers[part].fetch([url])
        return found


class PageParts(Mapping[str, tuple[str, bytes]]):
    """The parts that one page requests while it is rendered: address -> (content type, bytes).

    Parts in the page's archive come first, others are fetched from the web. A part that is refused for one of the
    limits is noted, so that a resumed run refuses it again.

    Args:
        crawl: fetches the parts.
        page: the page's address.
        own: the parts in the page's archive: address -> (content type, bytes).
        most: the most parts that are fetched from the web.
        max_bytes: the most bytes of all parts from the web.
        within_s: seconds after the first fetch in which others may start.
    """

    def __init__(
        self,
        crawl: Crawl,
        page: str,
        own: Mapping[str, tuple[str, bytes]],
        *,
        most: int,
        max_bytes: int,
        within_s: float,
    ) -> None:
        self._crawl, self._page, self._own = crawl, page, own
        self._left, self._bytes_left, self._within_s = most, max_bytes, within_s
        self._until: float | None = None
        self._counting = threading.Lock()

    def __getitem__(self, url: str) -> tuple[str, bytes]:
        """Return the content type and the bytes of a part.

        Raises:
            KeyError: the part cannot be fetched, or was refused for a limit.
        """
        if url in self._own:
            return self._own[url]
        if not url.lower().startswith(("http:", "https:")) or self._crawl.known(self._note(url)):
            raise KeyError(url)
        found = self._crawl.known(url) or (self._crawl.part(url) if self._may() else None)
        if found is None or not self._fits(found):
            self._crawl.refuse(self._note(url), "beyond what one page may fetch")
            raise KeyError(url)
        if found.body is None:
            raise KeyError(url)
        return found.content_type or "", found.body

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def __bool__(self) -> bool:
        return True  # even if `own` is empty, parts can come from the web

    def _note(self, url: str) -> str:
        return f"{self._page} asks for {url}"

    def _may(self) -> bool:
        """Count one more fetch and return whether it is allowed."""
        with self._counting:
            now = time.monotonic()
            self._until = self._until or now + self._within_s
            self._left -= 1
            return self._left >= 0 and now < self._until

    def _fits(self, found: Fetched) -> bool:
        with self._counting:
            self._bytes_left -= len(found.body or b"")
            return self._bytes_left >= 0


def opt_out_in(page: bytes, agent: str, directives: Collection[str]) -> str | None:
    """Return the directive by which a page opts out; None if it does not.

    Args:
        page: the page's bytes; the first HEAD of them are searched.
        agent: our user agent's name: `<meta name=robots>` and `<meta name=AGENT>` count.
        directives: what counts as opting out, such as `noai`.
    """
    for tag in META.findall(page[:HEAD]):
        said = {name.lower(): b"".join(values) for name, *values in ATTRIBUTE.findall(tag)}
        if said.get(b"name", b"").strip().lower().decode("latin-1") in ("robots", agent.lower()):
            found = opted_out([said.get(b"content", b"").decode("latin-1")], agent, directives)
            if found is not None:
                return found
    return None
