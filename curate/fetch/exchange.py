"""How the workers of one run share out their requests: what the fetcher asks for, and what Ray's actor gives."""

from __future__ import annotations

from typing import Protocol


class Exchange(Protocol):
    """Where the workers of one run share out how many requests a host gets at once."""

    pause_s: float  # between two trades of one worker

    def trade(
        self, spare: dict[str, int], wanted: dict[str, int], rests: dict[str, float]
    ) -> tuple[dict[str, int], dict[str, float]]:
        """Give slots back, and ask for others; `rests` are hosts that asked for a pause (seconds).

        Returns the slots that were granted, and the hosts that rest for other workers' sake (seconds).
        """
