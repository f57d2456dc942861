"""What becomes of one address: its bytes, or a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from yarl import URL

Retry = Literal["never", "once", "often"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one address gave: either `body`, or `reason` and what decided."""

    body: bytes | None
    reason: str | None  # a slug: `http_404`, `timed_out`, …
    detail: str | None
    url: str | None  # where redirects led; null where the address could not be read
    content_type: str | None = None  # the server's header, where there was one
    elsewhere: bool = False  # whether redirects led to a file of another name


@dataclass(frozen=True, slots=True)
class FetchOutcome:
    """A `Fetched` and what the machinery needs to know beside it."""

    fetched: Fetched
    place: tuple[str, int] | None = None  # host and port that answered, or did not
    reached: bool | None = None  # whether a connection was made; null: says nothing of the network
    held_bytes: int = 0  # of the budget, until the consumer has taken the body
    rest_s: float = 0.0  # for so long the host asks to be left alone


class FetchError(Exception):
    """One request came to nothing."""

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        retry: Retry = "never",
        wait_s: float = 0.0,
        reached: bool | None = True,
        rest_s: float = 0.0,
    ) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = printable(detail)
        self.retry = retry
        self.wait_s = wait_s  # at least so long before the next try, as the server asked
        self.reached = reached
        self.rest_s = rest_s  # for so long the host asks to be left alone
        self.url: URL | None = None

    def at(self, url: URL) -> FetchError:
        """This error, with the address that it happened at."""
        self.url = url
        return self


def printable(text: str, max_chars: int = 200) -> str:
    """The text on one line, without control characters: it may come from a server."""
    return "".join(c if c.isprintable() else " " for c in text[:max_chars])
