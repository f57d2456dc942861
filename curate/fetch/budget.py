"""Limits the memory of bodies: those that are arriving and those that wait for the consumer, together."""

from __future__ import annotations

import asyncio
from collections import deque

SMALL = 2**20  # bytes that a body of unknown length takes from the budget at first


class Budget:
    """A number of bytes that bodies take and give back, first come, first served. Used in one event loop only.

    A body of declared length takes that many bytes at once. A body of unknown length takes SMALL bytes, and if it is
    larger, the greatest size allowed. The budget is SMALL for every request and the greatest size eight times, so that
    some body can always be finished.

    Args:
        requests: the most requests under way at once.
        max_bytes: the greatest size of a body.
    """

    def __init__(self, requests: int, max_bytes: int) -> None:
        self.free_bytes = requests * SMALL + 8 * max_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take_now(self, n_bytes: int) -> bool:
        """Take `n_bytes` if they are free and no one waits for bytes; return whether they were taken."""
        if self._waiting or n_bytes > self.free_bytes:
            return False
        self.free_bytes -= n_bytes
        return True

    async def take(self, n_bytes: int) -> None:
        """Wait until `n_bytes` are free and all earlier callers have theirs, then take them."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((n_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.free_bytes += n_bytes  # they were granted just before the cancellation
            self.give(0)
            raise

    def give(self, n_bytes: int) -> None:
        """Give `n_bytes` back; callers that wait go on, in the order in which they came."""
        self.free_bytes += n_bytes
        while self._waiting:
            wanted, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
            elif wanted <= self.free_bytes:
                self._waiting.popleft()
                self.free_bytes -= wanted
                turn.set_result(None)
            else:
                return


class BudgetLease:
    """The bytes of the budget that one body holds.

    Args:
        budget: where the bytes come from.
        clock: the body's time limit; it is suspended while the body waits for bytes.
    """

    def __init__(self, budget: Budget, clock: asyncio.Timeout) -> None:
        self.held_bytes = 0
        self._budget = budget
        self._clock = clock

    async def hold(self, n_bytes: int) -> None:
        """Take bytes, waiting if need be, until this body holds at least `n_bytes`."""
        more = n_bytes - self.held_bytes
        if more <= 0:
            return
        if not self._budget.take_now(more):
            await self._wait(more)
        self.held_bytes = n_bytes

    async def _wait(self, n_bytes: int) -> None:
        now = asyncio.get_running_loop().time
        deadline, started = self._clock.when(), now()
        self._clock.reschedule(None)
        try:
            await self._budget.take(n_bytes)
        finally:
            if deadline is not None:
                self._clock.reschedule(deadline + now() - started)

    def shrink(self, n_bytes: int) -> None:
        """Give back what this body holds beyond `n_bytes`."""
        if n_bytes < self.held_bytes:
            self._budget.give(self.held_bytes - n_bytes)
            self.held_bytes = n_bytes
