"""Telling a dead network from dead hosts.

Old data sets are full of hosts that no longer exist; that is the rows' trouble. When nearly none of the
latest hosts can be reached, the machine itself may be offline, and dropping its rows would be a lie that no
resume mends.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from curate.errors import Halted
from curate.fetch.addresses import is_address
from curate.fetch.outcome import FetchOutcome
from curate.fetch.resolver import Resolver

WINDOW = 300  # hosts
FEWEST = 20  # hosts that allow a suspicion
SHARE = 0.9  # of them not reached
WITNESSES = 8  # hosts that were reached lately, to be tried again

Place = tuple[str, int]


class NetworkDown(Halted):
    """This machine's network is gone: the run stops, and the unit of work is not committed."""


class Reachability:
    """Which of the latest hosts were reached. Lives in one event loop."""

    def __init__(self, resolver: Resolver, timeout_s: float) -> None:
        self._resolver = resolver
        self._timeout_s = timeout_s
        self._latest: OrderedDict[str, FetchOutcome] = OrderedDict()  # by host
        self._witnesses: deque[Place] = deque(maxlen=WITNESSES)
        self._fewest = FEWEST
        self._noted = 0  # since the network was last asked

    def note(self, outcome: FetchOutcome) -> None:
        """Remember whether the outcome's host was reached."""
        if outcome.place is None or outcome.reached is None:
            return
        self._noted += 1
        host = outcome.place[0]
        self._latest[host] = outcome
        self._latest.move_to_end(host)
        if len(self._latest) > WINDOW:
            self._latest.popitem(last=False)
        if outcome.reached and outcome.place not in self._witnesses:
            self._witnesses.append(outcome.place)

    def suspicious(self) -> bool:
        """Whether so few hosts were reached that the network itself must be asked."""
        enough = min(len(self._latest), self._noted) >= self._fewest
        return enough and self._lost() >= SHARE * len(self._latest)

    def trust(self) -> None:
        """The network was found to work: these hosts are dead. The next suspicion needs more of them."""
        self._noted = 0
        self._fewest = min(2 * self._fewest, WINDOW)

    def restart(self) -> None:
        """The network was gone: what was seen meanwhile says nothing of the hosts."""
        self._latest.clear()
        self._noted, self._fewest = 0, FEWEST

    async def probe(self) -> bool:
        """Whether the network works, by hosts that were reached before, else by the name servers.

        Names that resolve prove little where it is the connections that fail: then a full window of hosts,
        none of which could ever be reached, counts as no network.
        """
        if self._witnesses:
            tries = [asyncio.create_task(self._connects(place)) for place in self._witnesses]
            return any(await asyncio.gather(*tries))
        unresolved = sum(outcome.fetched.reason == "dns_failed" for outcome in self._latest.values())
        if len(self._latest) >= WINDOW and unresolved < self._lost() / 2:
            return False
        return await self._resolver.answers()

    def describe(self) -> str:
        """What was seen, for people."""
        reasons = {outcome.fetched.reason or "" for outcome in self._latest.values() if not outcome.reached}
        hosts = f"{self._lost()} of the latest {len(self._latest)} hosts"
        return f"{hosts} not reached ({', '.join(sorted(reasons))})"

    def _lost(self) -> int:
        return sum(not outcome.reached for outcome in self._latest.values())

    async def _connects(self, place: Place) -> bool:
        """Whether a new connection can be made; a name still remembered is not asked for again."""
        host, port = place
        try:
            async with asyncio.timeout(self._timeout_s):
                if not is_address(host):
                    host = (await self._resolver.resolve(host, port))[0]["host"]
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
                return True
        except (OSError, TimeoutError):
            return False
