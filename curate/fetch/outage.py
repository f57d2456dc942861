"""Tells whether this machine's network is down, or only the hosts of the data set.

Old data sets have many hosts that no longer exist: their rows are dropped. But when nearly none of the latest hosts can
be reached, the machine itself may be offline. Rows dropped for that would be wrong, and resuming the run would not
bring them back.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from curate.errors import Halted
from curate.fetch.addresses import is_address
from curate.fetch.outcome import FetchOutcome
from curate.fetch.resolver import Resolver

WINDOW = 300  # hosts that are remembered: the latest ones
FEWEST = 20  # from so many hosts on, the network can be suspected
SHARE = 0.9  # it is suspected if at least this share of them was not reached
WITNESSES = 8  # hosts that were reached before; a probe connects to them again

Place = tuple[str, int]


class NetworkDown(Halted):
    """This machine's network is gone: the run stops, and the unit of work is not committed."""


class Reachability:
    """Remembers which of the latest hosts were reached. Used in one event loop only.

    Args:
        resolver: resolves names for a probe, and can ask the name servers themselves.
        timeout_s: the most seconds for one connection of a probe.
    """

    def __init__(self, resolver: Resolver, timeout_s: float) -> None:
        self._resolver = resolver
        self._timeout_s = timeout_s
        self._latest: OrderedDict[str, FetchOutcome] = OrderedDict()  # by host
        self._witnesses: deque[Place] = deque(maxlen=WITNESSES)
        self._fewest = FEWEST
        self._noted = 0  # outcomes since the last probe

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
        """Whether so few hosts were reached that the network itself must be probed."""
        enough = min(len(self._latest), self._noted) >= self._fewest
        return enough and self._lost() >= SHARE * len(self._latest)

    def trust(self) -> None:
        """Note that the network works, so the hosts are dead: the next suspicion needs twice as many, up to WINDOW."""
        self._noted = 0
        self._fewest = min(2 * self._fewest, WINDOW)

    def restart(self) -> None:
        """Forget all outcomes: they come from the time when the network was gone, so they say nothing about hosts."""
        self._latest.clear()
        self._noted, self._fewest = 0, FEWEST

    async def probe(self) -> bool:
        """Whether the network works: some host that was reached before can be reached, else a name server answers.

        If no host was ever reached, WINDOW hosts were tried, and more than half of the failures were not failures of
        DNS, the network counts as gone without asking: name servers that answer do not prove that connections work.
        """
        if self._witnesses:
            tries = [asyncio.create_task(self._connects(place)) for place in self._witnesses]
            return any(await asyncio.gather(*tries))
        unresolved = sum(outcome.fetched.reason == "dns_failed" for outcome in self._latest.values())
        if len(self._latest) >= WINDOW and unresolved < self._lost() / 2:
            return False
        return await self._resolver.answers()

    def describe(self) -> str:
        """Return a line for people: how many of the latest hosts were not reached, and the reasons."""
        reasons = {outcome.fetched.reason or "" for outcome in self._latest.values() if not outcome.reached}
        hosts = f"{self._lost()} of the latest {len(self._latest)} hosts"
        return f"{hosts} not reached ({', '.join(sorted(reasons))})"

    def _lost(self) -> int:
        return sum(not outcome.reached for outcome in self._latest.values())

    async def _connects(self, place: Place) -> bool:
        """Whether a new connection to a host and port can be opened; the name may come from the resolver's cache."""
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
