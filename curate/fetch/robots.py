"""What a site's robots.txt lets us fetch (RFC 9309), read by Protego in time that grows with its length."""

from __future__ import annotations

from protego import Protego
from yarl import URL

MAX_BYTES = 500 << 10  # what the standard wants read; the rest of a longer file is passed over


class Robots:
    """One site's rules for one agent."""

    def __init__(self, content: bytes, agent: str) -> None:
        self._rules = Protego.parse(content[:MAX_BYTES].decode("utf-8", "replace"))
        self._agent = agent

    def allows(self, url: str) -> bool:
        """Whether the agent may fetch the address."""
        return bool(self._rules.can_fetch(url, self._agent))

    def pause_s(self) -> float:
        """Seconds that the site wants between two requests; 0 where it says nothing."""
        return float(self._rules.crawl_delay(self._agent) or 0.0)


def robots_address(url: URL) -> str:
    """Where the site of an address has its robots.txt."""
    return str(url.origin().with_path("/robots.txt"))
