"""Who is told how a scoring goes."""

from __future__ import annotations

from typing import Protocol


class ScoringMeter(Protocol):
    """Whoever watches."""

    def say(self, line: str) -> None:
        """One line for a person."""

    def add(self, **counts: int) -> None:
        """Count more `rows`, `images` that gave a feature, `kept` rows, `bytes` written."""


class Silent:
    """Nobody watches."""

    def say(self, line: str) -> None:
        """See `ScoringMeter.say`."""

    def add(self, **counts: int) -> None:
        """See `ScoringMeter.add`."""
