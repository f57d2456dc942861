"""Web pages and what they consist of, fetched as a polite crawler does, each address once in a run.

robots.txt is asked first, for pages and for what they consist of alike; a site that cannot say what it allows
allows nothing. Opt-outs count in headers and, of pages, in `<meta name=robots>`. What an address gave is kept
(`curate.fetch.kept_answers`), failures included, so that a run that is resumed sees the same web.
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

PER_HOST = 6  # requests at once to one host: what browsers allow themselves
LONGEST_PAUSE_S = 30.0  # between two pages of a site, however long it asks for
HEAD = 1 << 16  # bytes of a page in which it may opt out
STRIPES = 256
SITES = 4096  # whose robots.txt are held read
META = re.compile(rb"<meta\b[^<>]*+", re.IGNORECASE)
ATTRIBUTE = re.compile(rb"\b(name|content)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s\"'>]++))", re.IGNORECASE)


class Crawl:
    """The web as one run sees it. Several threads may ask at once.

    One part of a page may take `part_timeout_s`, with all retries; a page has the settings' own time.
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
        self._turns: dict[str, float] = {}  # when the next page of a site may be asked for
        self._robots = lru_cache(SITES)(self._read_robots)
        self._asking = tuple(threading.Lock() for _ in range(STRIPES))  # no address is asked twice at a time
        self._reading = tuple(threading.Lock() for _ in range(STRIPES))  # nor is a site for its rules
        self.trouble: Halted | None = None  # why nothing can be fetched any more

    def page(self, url: str) -> Fetched:
        """What a page's address gives.

        Raises:
            Halted: the network is gone.
        """
        with self._asking[hash(url) % STRIPES]:
            return self.known(url) or self._kept.keep(url, self._fetch(url, part=False))

    def part(self, url: str) -> Fetched:
        """What an image, stylesheet or font gives; where the network is gone, nothing that is kept."""
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
        """What an address gave before; null where it was not asked for."""
        return self._kept.find(url)

    def refuse(self, note: str, detail: str) -> None:
        """Note something that stays refused."""
        self._kept.keep(note, Fetched(None, "refused", detail, None))

    def close(self) -> None:
        """End all requests."""
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
        """The page, unless it opts out."""
        directive = self._settings.respect_opt_out and opt_out_in(
            page.body or b"", self._agent, self._settings.opt_out
        )
        if directive:
            return Fetched(None, "opted_out", f"<meta name=robots>: {directive}", page.url)
        return page

    def _rules_of(self, url: URL) -> Robots | Fetched:
        """The rules of an address's site, or why it cannot be known what they are."""
        address = robots_address(url)
        with self._reading[hash(address) % STRIPES]:
            return self._robots(address)

    def _read_robots(self, address: str) -> Robots | Fetched:
        """A site's rules, or why it cannot be known what they are."""
        found = self._kept.find(address)
        if found is None:
            found = self._kept.keep(address, self._ask(address, part=False))
        if found.body is not None:
            return Robots(found.body, self._agent)
        if found.reason == "empty" or re.fullmatch("http_4(?!29)..", found.reason or ""):
            return Robots(b"", self._agent)  # the standard: as good as none
        return Fetched(None, found.reason, f"robots.txt: {found.detail}", found.url)

    def _take_turn(self, url: URL, pause_s: float) -> None:
        """Wait for a site's next turn."""
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
    """What one page asks for while it is shown, by address: those of its archive, then those of the web.

    At most `most` addresses and `max_bytes` of the web, asked for within `within_s` seconds from the first one on.
    What is refused for that is noted, so that a run that is resumed refuses it again.
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
        """The part's type and bytes.

        Raises:
            KeyError: it is not to be had.
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
        return True  # there is a web, whatever the archive holds

    def _note(self, url: str) -> str:
        return f"{self._page} asks for {url}"

    def _may(self) -> bool:
        """Whether one more address may be fetched."""
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
    """The directive by which a page's `<meta name=robots>`, or one of the agent's name, opts out; null if none does."""
    for tag in META.findall(page[:HEAD]):
        said = {name.lower(): b"".join(values) for name, *values in ATTRIBUTE.findall(tag)}
        if said.get(b"name", b"").strip().lower().decode("latin-1") in ("robots", agent.lower()):
            found = opted_out([said.get(b"content", b"").decode("latin-1")], agent, directives)
            if found is not None:
                return found
    return None
