"""Reads a site's robots.txt (RFC 9309) by Protego, in time linear in its length."""

from __future__ import annotations

from protego import Protego
from yarl import URL

MAX_BYTES = 500 << 10  # the standard asks to read at least so much; the rest of a longer file is ignored


class Robots:
    """The rules of one site's robots.txt (`content`) for one user agent's name (`agent`)."""

    def __init__(self, content: bytes, agent: str) -> None:
        self._rules = Protego.parse(content[:MAX_BYTES].decode("utf-8", "replace"))
        self._agent = agent

    def allows(self, url: str) -> bool:
        """Whether the agent may fetch the address."""
        return bool(self._rules.can_fetch(url, self._agent))

    def pause_s(self) -> float:
        """Return the seconds that the site asks for between two requests (`Crawl-delay`); 0 if it asks for none."""
        return float(self._rules.crawl_delay(self._agent) or 0.0)


def robots_address(url: URL) -> str:
    """Return the address of the robots.txt of a URL's site."""
    return str(url.origin().with_path("/robots.txt"))
