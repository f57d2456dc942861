"""How many requests one host gets at once, over all workers of a run on Ray, and which hosts asked for a pause."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

PAUSE_S = 0.05  # between two trades of one worker, if there are few
TRADES_PER_S = 2000.0  # that one actor keeps up with
SILENT_S = 300.0  # after which a worker is taken to be gone, and its slots are free


class HostSlots:
    """The slots of all hosts; in one process, asked by all workers. `per_host` is the number of each host's."""

    def __init__(self, per_host: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_host, self._clock = per_host, clock
        self._used: Counter[str] = Counter()  # by host
        self._of: dict[str, Counter[str]] = {}  # by worker and host
        self._seen: dict[str, float] = {}  # when a worker last traded
        self._resting: dict[str, float] = {}  # until when

    def trade(
        self, worker: str, spare: dict[str, int], wanted: dict[str, int], rests: dict[str, float]
    ) -> tuple[dict[str, int], dict[str, float]]:
        """See `curate.fetch.exchange.Exchange.trade`."""
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
    """One worker's way to the slots, which an actor holds. `workers` is how many trade there."""

    def __init__(self, ray: Any, actor: Any, workers: int) -> None:
        self._ray, self._actor, self._worker = ray, actor, uuid.uuid4().hex
        self.pause_s = max(PAUSE_S, workers / TRADES_PER_S)

    def trade(
        self, spare: dict[str, int], wanted: dict[str, int], rests: dict[str, float]
    ) -> tuple[dict[str, int], dict[str, float]]:
        """See `curate.fetch.exchange.Exchange.trade`; where the actor is gone, one slot of each host."""
        try:
            answer = self._actor.trade.remote(self._worker, spare, wanted, rests)
            found: tuple[dict[str, int], dict[str, float]] = self._ray.get(answer, timeout=SILENT_S)
        except self._ray.exceptions.RayError:
            return dict.fromkeys(wanted, 1), {}
        return found
