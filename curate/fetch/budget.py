"""The memory that bodies may take, arriving and waiting for the consumer together."""

from __future__ import annotations

import asyncio
from collections import deque

SMALL = 2**20  # bytes that a body of unknown length may take without asking again


class Budget:
    """A number of bytes that is lent out first come, first served. Lives in one event loop.

    A body of declared length asks for it at once, another first for SMALL and then for the greatest size
    allowed. The limit holds SMALL for every request and several bodies of the greatest size: somebody can
    always finish.
    """

    def __init__(self, requests: int, max_bytes: int) -> None:
        self.free_bytes = requests * SMALL + 8 * max_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take_now(self, n_bytes: int) -> bool:
        """Hold so many bytes if they are free and nobody waits."""
        if self._waiting or n_bytes > self.free_bytes:
            return False
        self.free_bytes -= n_bytes
        return True

    async def take(self, n_bytes: int) -> None:
        """Wait until so many bytes are free, and hold them."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((n_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.free_bytes += n_bytes  # granted in the moment of cancellation
            self.give(0)
            raise

    def give(self, n_bytes: int) -> None:
        """Give bytes back; those who wait go on in their order."""
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
    """What one body holds of the budget. Waiting for more does not count against the body's own time."""

    def __init__(self, budget: Budget, clock: asyncio.Timeout) -> None:
        self.held_bytes = 0
        self._budget = budget
        self._clock = clock

    async def hold(self, n_bytes: int) -> None:
        """Hold at least so many bytes."""
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
        """Hold no more than so many bytes."""
        if n_bytes < self.held_bytes:
            self._budget.give(self.held_bytes - n_bytes)
            self.held_bytes = n_bytes
