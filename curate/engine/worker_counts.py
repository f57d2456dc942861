"""The actor that all workers of a run on Ray report to.

It has a module of its own, which imports nothing else: the actor's process then starts in half the time.
"""

from __future__ import annotations

from curate.engine.host_slots import HostSlots


class WorkerCounts(HostSlots):
    """An actor that adds up the counts that workers report, until the driver takes them, and holds the hosts' slots."""

    def __init__(self, per_host: int) -> None:
        """Take how many requests a host gets at once."""
        super().__init__(per_host)
        self._counts: dict[str, int] = {}

    def add(self, counts: dict[str, int]) -> None:
        """Add a worker's counts, by name."""
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count

    def take(self) -> dict[str, int]:
        """Return the counts since the last call."""
        counts, self._counts = self._counts, {}
        return counts
