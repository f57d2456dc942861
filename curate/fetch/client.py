"""Fetches one address: follows its redirects, retries failures, and keeps its time limits."""

from __future__ import annotations

import asyncio
import email.utils
import errno
import random
import re
import ssl
import time
from dataclasses import dataclass
from functools import partial

import aiohttp
from yarl import URL

from curate.errors import MachineError
from curate.fetch.addresses import blocked, is_address
from curate.fetch.body import Body
from curate.fetch.budget import SMALL, Budget, BudgetLease
from curate.fetch.connection import BadHeadersError, HeaderHandler
from curate.fetch.optouts import opted_out
from curate.fetch.outcome import Fetched, FetchError, FetchOutcome, Retry
from curate.fetch.resolver import BlockedAddressError, ResolveError, Resolver, socket_factory
from curate.fetch.urls import BadUrlError, has_other_name, redirected
from curate.manifest.settings import FetchSettings

_REDIRECTS = (301, 302, 303, 307, 308)
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_REST = (429, 503)  # if these come with a Retry-After, no request goes to the host for that long
_CODINGS = ("", "identity", "gzip", "x-gzip")
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
MAX_HEADER_BYTES = (
    2**16
)  # of one header; real Content-Security-Policy headers far exceed aiohttp's default of 8 KiB
IDLE_S = 3.0  # an unused connection is closed after this time: most hosts of a data set occur once or twice


def open_session(settings: FetchSettings, resolver: Resolver, accept: str) -> aiohttp.ClientSession:
    """Open the session that all requests use: one connection pool, one TLS context, no cookies, no proxy, no netrc.

    Args:
        settings: limits, times and the user agent.
        resolver: turns host names into addresses.
        accept: the `Accept` header of every request.
    """
    connector = aiohttp.TCPConnector(
        limit=0,  # unlimited here: the schedule limits the number of requests
        limit_per_host=settings.per_host,  # limits also requests that redirects lead to a host
        keepalive_timeout=IDLE_S,
        ssl=ssl.create_default_context(),
        resolver=resolver,
        use_dns_cache=False,
        socket_factory=socket_factory(settings.allow_private),
    )
    loop = asyncio.get_running_loop()
    connector._factory = partial(HeaderHandler, loop=loop)  # type: ignore[assignment] # of ResponseHandlers
    times = aiohttp.ClientTimeout(
        total=None, sock_connect=settings.connect_timeout_s, sock_read=settings.read_timeout_s
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=times,
        auto_decompress=False,
        headers={
            "User-Agent": settings.user_agent,
            "Accept": accept,
            "Accept-Encoding": "identity",
        },
        read_bufsize=2**17,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        max_headers=1000,
    )


@dataclass(frozen=True)
class Client:
    """Fetches addresses over one session; the bodies take their memory from `budget`."""

    settings: FetchSettings
    session: aiohttp.ClientSession
    budget: Budget
    images: bool = True  # whether a body that is no image is refused

    async def get(self, url: URL) -> FetchOutcome:
        """Fetch an address; all tries, redirects and pauses together take at most `total_timeout_s`.

        Raises:
            MachineError: this process has no files or memory left for another connection.
        """
        now = asyncio.get_running_loop().time
        last: FetchError | None = None
        try:
            async with asyncio.timeout(self.settings.total_timeout_s) as clock:
                for done in range(self.settings.retries + 1):
                    try:
                        return await self._follow(url, clock)
                    except FetchError as error:
                        last = error
                    if last.rest_s:
                        break  # the engine, not this address alone, waits before it asks the host again
                    pause_s = self._pause(last, done)
                    if pause_s is None or now() + pause_s >= (clock.when() or 0):
                        break
                    await asyncio.sleep(pause_s)
        except TimeoutError:
            last = self._out_of_time(last)
        assert last is not None
        at = last.url or url
        fetched = Fetched(None, last.reason, last.detail, str(at))
        return FetchOutcome(fetched, _place(at), last.reached, rest_s=last.rest_s)

    def _pause(self, failure: FetchError, done: int) -> float | None:
        """Return the seconds to wait before the next try, after `done` retries; None if there is no next try."""
        limits: dict[Retry, int] = {"never": 0, "once": 1, "often": self.settings.retries}
        if done >= min(limits[failure.retry], self.settings.retries):
            return None
        backoff_s = self.settings.retry_wait_s * 2.0**done * random.uniform(0.5, 1.5)
        return max(failure.wait_s, backoff_s)

    def _out_of_time(self, before: FetchError | None) -> FetchError:
        detail = f"total {self.settings.total_timeout_s:g} s" + (f", after {before.reason}" if before else "")
        failure = FetchError("timed_out", detail, reached=before.reached if before else None)
        return failure.at(before.url) if before and before.url else failure

    async def _follow(self, url: URL, clock: asyncio.Timeout) -> FetchOutcome:
        """Try the address once and follow its redirects.

        Raises:
            FetchError: the try failed.
        """
        asked = url
        for _ in range(self.settings.max_redirects + 1):
            try:
                if not self.settings.allow_private:
                    _refuse_private(url)
                async with self.session.get(url, allow_redirects=False) as response:
                    onward = self._redirect(url, response)
                    if onward is None:
                        body, held = await self._body(response, clock)
                        kind = response.headers.get("Content-Type")
                        elsewhere = url is not asked and has_other_name(asked, url)
                        fetched = Fetched(body, None, None, str(url), kind, elsewhere)
                        return FetchOutcome(fetched, _place(url), True, held)
            except FetchError as error:
                raise error.at(url) from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise self._failure(error).at(url) from None
            url = onward
        raise FetchError("too_many_redirects", f"more than {self.settings.max_redirects}").at(url)

    def _redirect(self, url: URL, response: aiohttp.ClientResponse) -> URL | None:
        """Return the address that a response redirects to; None if the response is no redirect.

        Raises:
            FetchError: the status is an error, the publisher opted out, or the redirect's address is bad.
        """
        status, location = response.status, response.headers.get("Location")
        onward = status in _REDIRECTS and location is not None
        if not onward and not 200 <= status < 300:
            wait_s = _retry_after(response.headers.get("Retry-After", ""))
            retry: Retry = "often" if status in _TRY_AGAIN else "never"
            rest_s = wait_s if status in _REST else 0.0
            said = f"{status} {response.reason}"
            raise FetchError(f"http_{status}", said, retry=retry, wait_s=wait_s, rest_s=rest_s)
        robots = response.headers.getall("X-Robots-Tag", ())
        if robots and self.settings.respect_opt_out:
            agent = self.settings.user_agent.partition("/")[0].strip()
            directive = opted_out(robots, agent, self.settings.opt_out)
            if directive is not None:
                raise FetchError("opted_out", f"X-Robots-Tag: {directive}")
        if not onward or location is None:
            return None
        try:
            return redirected(url, location)
        except BadUrlError as error:
            raise FetchError("bad_url", f"redirect: {error}") from None

    async def _body(self, response: aiohttp.ClientResponse, clock: asyncio.Timeout) -> tuple[bytes, int]:
        """Read a response's body; return it and the number of bytes that it holds of the budget.

        Raises:
            FetchError: the body is refused (see `Body`), too large, or in an encoding that was not asked for.
        """
        max_bytes, declared = self.settings.max_bytes, response.content_length
        if declared is not None and declared > max_bytes:
            raise FetchError("too_large", f"{declared} bytes declared, more than {max_bytes}")
        body = Body(max_bytes, response.headers.get("Content-Type", ""), images=self.images)
        coding = response.headers.get("Content-Encoding", "").strip().lower()
        if not self.images and coding not in _CODINGS:
            raise FetchError("bad_response", f"Content-Encoding {coding}, which was not asked for")
        lease = BudgetLease(self.budget, clock)
        try:
            await lease.hold(min(SMALL, max_bytes) if declared is None else declared)
            while chunk := await response.content.readany():
                body.add(chunk)
                if body.size > lease.held_bytes:
                    await lease.hold(max_bytes)
            whole = body.finish()
        except BaseException:
            lease.shrink(0)
            raise
        lease.shrink(len(whole))
        return whole, lease.held_bytes

    def _failure(self, error: Exception) -> FetchError:
        """Turn an exception of aiohttp, the resolver or the system into a FetchError.

        Raises:
            MachineError: this process has no files or memory left for another connection.
        """
        cause = getattr(error, "os_error", error)
        if isinstance(cause, BlockedAddressError):
            return FetchError("blocked_address", cause.detail, reached=None)
        if isinstance(cause, ResolveError):
            return FetchError("dns_failed", cause.detail, reached=False if cause.fresh else None)
        if getattr(cause, "errno", None) in _OUT_OF_FILES:
            raise MachineError(f"no more connections can be opened ({cause}): raise `ulimit -n`")
        detail = printable_error(error)
        match error:
            case aiohttp.ConnectionTimeoutError():
                detail = f"connect {self.settings.connect_timeout_s:g} s"
                return FetchError("timed_out", detail, retry="once", reached=False)
            case TimeoutError():
                return FetchError("timed_out", f"read {self.settings.read_timeout_s:g} s", retry="once")
            case aiohttp.ClientSSLError() | ssl.SSLError():
                return FetchError("tls_failed", detail)
            case aiohttp.InvalidURL():
                return FetchError("bad_url", detail, reached=None)
            case aiohttp.ClientConnectorError():
                return FetchError("connection_failed", detail, retry="often", reached=False)
            case BadHeadersError():
                return FetchError("bad_response", detail)
            case aiohttp.ClientPayloadError() if "Not enough data" in detail:
                return FetchError("connection_failed", "closed before the body's end", retry="often")
            case aiohttp.ClientConnectionError() | OSError():
                return FetchError("connection_failed", detail, retry="often")
            case _:
                return FetchError("bad_response", detail)


def printable_error(error: Exception) -> str:
    """Return an error's class name and message on one line."""
    return f"{type(error).__name__}: {' '.join(str(getattr(error, 'message', error)).split())}"


def _refuse_private(url: URL) -> None:
    """Refuse a URL whose host is a private IP address, before a connection is opened.

    Raises:
        FetchError: the address is private.
    """
    host = url.raw_host or ""
    reason = blocked(host) if is_address(host) else None
    if reason is not None:
        raise FetchError("blocked_address", reason, reached=None)


def _place(url: URL) -> tuple[str, int] | None:
    return (url.raw_host, url.port) if url.raw_host and url.port else None


def _retry_after(value: str) -> float:
    """Return the seconds that a Retry-After header asks for: a number or a date; 0 if it is neither."""
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value, re.ASCII):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
