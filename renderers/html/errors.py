"""What can go wrong beside a document: with the machine, or with the browser."""

from __future__ import annotations


class NotReadyError(Exception):
    """This machine lacks what rendering web pages needs; the message says what, and how to mend it."""


class BrowserGoneError(Exception):
    """The browser ended, was ended, or does not answer."""
