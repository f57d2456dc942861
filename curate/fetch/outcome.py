"""The result of fetching one address: its bytes, or the reason for the failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from yarl import URL

Retry = Literal["never", "once", "often"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """The result for one address: either `body`, or `reason` and `detail`."""

    body: bytes | None
    reason: str | None  # a slug: `http_404`, `timed_out`, …
    detail: str | None  # the fact that decided, such as the server's status line
    url: str | None  # the address after all redirects; None if the address could not be read
    content_type: str | None = None  # the server's Content-Type header; None without one
    elsewhere: bool = False  # whether redirects led to a file of another name


@dataclass(frozen=True, slots=True)
class FetchOutcome:
    """A `Fetched`, and what the engine needs to know besides."""

    fetched: Fetched
    place: tuple[str, int] | None = None  # host and port of the last request
    reached: bool | None = None  # whether a connection was made; None: this says nothing about the network
    held_bytes: int = 0  # of the budget, until the consumer has taken the body
    rest_s: float = 0.0  # seconds for which the host asks for no more requests


class FetchError(Exception):
    """A request failed.

    Args:
        reason: a slug, such as `timed_out`.
        detail: the fact that decided; control characters are removed, and it is cut to 200 characters.
        retry: whether the request may be tried again: `never`, `once`, or `often`, as many times as the settings say.
        wait_s: the server asked to wait at least so many seconds before the next try.
        reached: whether a connection was made; None: this says nothing about the network.
        rest_s: seconds for which the host asks for no more requests.
    """

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
        self.wait_s = wait_s
        self.reached = reached
        self.rest_s = rest_s
        self.url: URL | None = None

    def at(self, url: URL) -> FetchError:
        """Note the address of the request that failed, and return this error."""
        self.url = url
        return self


def printable(text: str, max_chars: int = 200) -> str:
    """Return at most `max_chars` characters of a text that a server may have sent, control characters as spaces."""
    return "".join(c if c.isprintable() else " " for c in text[:max_chars])
