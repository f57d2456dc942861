"""Resolves host names, with a cache, and gives only public addresses.

c-ares asks the configured name servers (and the hosts file) without a thread for each query. aiohttp's own cache is
off, because it forgets failures: in an old data set many hosts no longer exist.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence

import aiodns
from aiohttp.abc import AbstractResolver, ResolveResult

from curate.fetch.addresses import blocked

# Queries; the limits of routers and name servers are not much higher (img2dataset #360)
QUESTIONS_AT_ONCE = 100
CACHED_NAMES = 100_000
TTL_S = (60, 3600)  # an answer is cached for its own time to live, but at least and at most so many seconds
NO_SUCH_NAME_TTL_S = 600  # how long "there is no such name" is cached
NO_ANSWER_TTL_S = 60  # how long a failed query is cached
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_NO_SUCH_NAME = (aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA)

Address = tuple[socket.AddressFamily, str]


class BlockedAddressError(OSError):
    """A request would go to an address that is not public; `detail` says which address and why."""

    def __init__(self, detail: str) -> None:
        super().__init__(errno.EACCES, detail)
        self.detail = detail


class ResolveError(OSError):
    """A name could not be resolved; `fresh` is False if the failure comes from the cache."""

    def __init__(self, detail: str, *, fresh: bool) -> None:
        super().__init__(None, detail)
        self.detail = detail
        self.fresh = fresh


class Resolver(AbstractResolver):
    """Resolves names for aiohttp. Used in one event loop only.

    Args:
        allow_private: whether addresses that are not public are given, too.
        timeout_s: the most seconds for one name.
        name_servers: such as `127.0.0.1` or `127.0.0.1:5353`; empty: the machine's own.
    """

    def __init__(self, *, allow_private: bool, timeout_s: float, name_servers: Sequence[str] = ()) -> None:
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        # Three tries, each twice as long as the one before, take 7/8 of `timeout_s`.
        self._dns = aiodns.DNSResolver(name_servers or None, timeout=timeout_s / 8, tries=3)
        self._turns = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        # The cache: name -> the loop time until which the entry holds, and the addresses or the failure.
        self._known: OrderedDict[str, tuple[float, list[Address] | str]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[list[Address] | str]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the public addresses of a host, or all its addresses if private ones are allowed.

        `family` limits them to IPv4 or IPv6; `port` is only passed on to the results.

        Raises:
            ResolveError: the host has no address, or no name server answered.
            BlockedAddressError: the host has addresses, but none is public.
        """
        name = host.rstrip(".").lower()
        known, fresh = self._remembered(name), False
        if known is None:
            known, fresh = await self._ask_once(name), True
        if isinstance(known, str):
            raise ResolveError(known, fresh=fresh)
        wanted = [address for address in known if family in (socket.AF_UNSPEC, address[0])]
        reasons = [None if self._allow_private else blocked(address) for _, address in wanted]
        public = [address for address, reason in zip(wanted, reasons, strict=True) if reason is None]
        if not public:
            raise (
                BlockedAddressError(f"{name}: {reasons[0]}")
                if wanted
                else ResolveError("no address", fresh=fresh)
            )
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=_NUMERIC)
            for kind, address in public
        ]

    async def answers(self) -> bool:
        """Whether a name server answers a query for the root or for the domain `com`."""
        for question in (".", "com"):
            try:
                async with asyncio.timeout(self._timeout_s):
                    if (await self._dns.query_dns(question, "NS")).answer:
                        return True
            except (aiodns.error.DNSError, TimeoutError):
                continue
        return False

    def forget(self) -> None:
        """Remove all failures from the cache."""
        for name in [name for name, (_, known) in self._known.items() if isinstance(known, str)]:
            del self._known[name]

    async def close(self) -> None:
        """End all queries."""
        for task in self._asking.values():
            task.cancel()
        await self._dns.close()

    def _remembered(self, name: str) -> list[Address] | str | None:
        until, known = self._known.get(name, (0.0, ""))
        return known if until > asyncio.get_running_loop().time() else None

    async def _ask_once(self, name: str) -> list[Address] | str:
        """Query a name, or wait for a query that is under way; cancelling the caller does not cancel the query."""
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.get_running_loop().create_task(self._ask(name))
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(task)

    async def _ask(self, name: str) -> list[Address] | str:
        async with self._turns:
            ttl_s: float = NO_ANSWER_TTL_S
            known: list[Address] | str = f"no answer within {self._timeout_s:g} s"
            try:
                async with asyncio.timeout(self._timeout_s):
                    found = await self._dns.getaddrinfo(name, port=0, type=socket.SOCK_STREAM)
                known = [(socket.AddressFamily(node.family), _text(node.addr[0])) for node in found.nodes]
                ttl_s = min(max(TTL_S[0], min((node.ttl for node in found.nodes), default=0)), TTL_S[1])
            except aiodns.error.DNSError as error:
                code, message = (*error.args, "", "")[:2]
                known = str(message) or "no answer"
                ttl_s = NO_SUCH_NAME_TTL_S if code in _NO_SUCH_NAME else NO_ANSWER_TTL_S
            except TimeoutError:
                pass
        self._remember(name, known, ttl_s)
        return known

    def _remember(self, name: str, known: list[Address] | str, ttl_s: float) -> None:
        self._known[name] = (asyncio.get_running_loop().time() + ttl_s, known)
        self._known.move_to_end(name)
        while len(self._known) > CACHED_NAMES:
            self._known.popitem(last=False)


def socket_factory(allow_private: bool) -> Callable[..., socket.socket]:
    """Return the function that makes aiohttp's sockets: the last check of an address before it is connected to.

    The function raises BlockedAddressError for an address that is not public, unless `allow_private`.
    """

    def make(info: tuple[int, int, int, str, tuple[str, int]]) -> socket.socket:
        family, kind, protocol, _, address = info
        reason = None if allow_private else blocked(address[0])
        if reason is not None:
            raise BlockedAddressError(reason)
        return socket.socket(family, kind, protocol)

    return make


def _text(address: bytes | str) -> str:
    return address.decode("ascii") if isinstance(address, bytes) else address
