"""The interface by which the workers of one run share the per-host limits; a Ray actor implements it."""

from __future__ import annotations

from typing import Protocol


class Exchange(Protocol):
    """Divides the requests that a host may get at once among the workers of one run. A slot allows one request."""

    pause_s: float  # seconds between two trades of one worker

    def trade(
        self, spare: dict[str, int], wanted: dict[str, int], rests: dict[str, float]
    ) -> tuple[dict[str, int], dict[str, float]]:
        """Give slots back and ask for others.

        Args:
            spare: host -> slots that this worker gives back.
            wanted: host -> slots that this worker could use.
            rests: host -> seconds for which the host asked this worker to pause.

        Returns:
            host -> granted slots, and host -> seconds for which to pause because the host asked another worker.
        """
