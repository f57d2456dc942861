"""The errors of this package: in settings and resources before a run, and in a single image."""

from __future__ import annotations


class SynthdogError(Exception):
    """Base class of this package's errors; the message is one line that says what to do."""


class SettingsError(SynthdogError):
    """A setting is unknown or has a value it cannot have; nothing was made."""


class ResourceError(SynthdogError):
    """A font, corpus or picture folder cannot be used; nothing was made."""


class ItemError(SynthdogError):
    """One image could not be made: `reason` is the slug its row carries, `detail` the value that decided."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
