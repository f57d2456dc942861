"""Limit the requests that one host gets at once from all workers of a run on Ray, and pause hosts that ask for it.

A worker needs a slot of a host for each request to it. An actor holds the slots, and workers trade them with it.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

PAUSE_S = 0.05  # between two trades of one worker, if there are few workers
TRADES_PER_S = 2000.0  # how many trades one actor can answer
SILENT_S = 300.0  # a worker that has not traded for so long is taken for dead, and its slots are freed


class HostSlots:
    """The slots of all hosts, held by one actor for all workers."""

    def __init__(self, per_host: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the number of slots of each host, and a clock in seconds."""
        self._per_host, self._clock = per_host, clock
        self._used: Counter[str] = Counter()  # host → slots that workers hold
        self._of: dict[str, Counter[str]] = {}  # worker → host → slots that it holds
        self._seen: dict[str, float] = {}  # worker → when it last traded
        self._resting: dict[str, float] = {}  # host → until when it gets no requests

    def trade(
        self, worker: str, spare: dict[str, int], wanted: dict[str, int], rests: dict[str, float]
    ) -> tuple[dict[str, int], dict[str, float]]:
        """See `curate.fetch.exchange.Exchange.trade`; `worker` says who trades."""
        now = self._clock()
        self._forget_silent(now)
        self._seen[worker] = now
        mine = self._of.setdefault(worker, Counter())
        self._take_back(mine, spare)
        for host, seconds in rests.items():
            self._resting[host] = max(now + seconds, self._resting.get(host, 0.0))
        resting = {host: self._resting[host] - now for host in wanted if self._resting.get(host, 0.0) > now}
        granted = {}
        for host, count in wanted.items():
            free = self._per_host - self._used[host]
            if host not in resting and free > 0:
                granted[host] = min(count, free)
                self._used[host] += granted[host]
                mine[host] += granted[host]
        return granted, resting

    def _take_back(self, held: Counter[str], spare: dict[str, int]) -> None:
        for host, count in spare.items():
            given = min(count, held[host])
            self._used[host] -= given
            held[host] -= given
            for counts in (self._used, held):
                if counts[host] <= 0:
                    del counts[host]

    def _forget_silent(self, now: float) -> None:
        for worker in [one for one, seen in self._seen.items() if now - seen > SILENT_S]:
            held = self._of.pop(worker)
            self._take_back(held, dict(held))
            del self._seen[worker]
        if len(self._resting) > 10_000:
            self._resting = {host: until for host, until in self._resting.items() if until > now}


class HostExchange:
    """Trades slots for one worker with the actor that holds them."""

    def __init__(self, ray: Any, actor: Any, workers: int) -> None:
        """Take the module `ray`, the actor (a `HostSlots`), and how many workers trade with it."""
        self._ray, self._actor, self._worker = ray, actor, uuid.uuid4().hex
        self.pause_s = max(PAUSE_S, workers / TRADES_PER_S)

    def trade(
        self, spare: dict[str, int], wanted: dict[str, int], rests: dict[str, float]
    ) -> tuple[dict[str, int], dict[str, float]]:
        """See `curate.fetch.exchange.Exchange.trade`; if the actor does not answer, take one slot of each host."""
        try:
            answer = self._actor.trade.remote(self._worker, spare, wanted, rests)
            found: tuple[dict[str, int], dict[str, float]] = self._ray.get(answer, timeout=SILENT_S)
        except self._ray.exceptions.RayError:
            return dict.fromkeys(wanted, 1), {}
        return found
