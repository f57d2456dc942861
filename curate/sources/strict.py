"""Repair JSON for a strict parser: broken UTF-8 and half surrogate pairs become U+FFFD, NaN and Infinity null.

Python's `json.dump` writes NaN and Infinity by name, which is not JSON, and writes single surrogates as escapes. With
null or U+FFFD in their place only that value is lost, and the rows that need it, instead of the whole file.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

from curate.sources.shallow import Shallow

NAMES = (b"NaN", b"Infinity")
LONGEST = len(b"-Infinity")
STRING_OR_NAME = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*"?)|NaN|-?Infinity', re.DOTALL)
HALF = re.compile(  # half a surrogate pair, or what looks like one behind an escaped backslash
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})|"
    rb"(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\\\u[dD]"
)
PAIR_OR_ESCAPE = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|(\\.)",
    re.DOTALL,
)
BEGUN = re.compile(rb"(?:\\u[dD][89abAB][0-9a-fA-F]{2})?(?:\\(?:u[0-9a-fA-F]{0,3})?)?\Z")
LONGEST_BEGUN = len(rb"\ud83d\udc4")


class Strict:
    """A byte stream of JSON that is repaired as it is read; `shallow` cuts out what is too deep or too long."""

    def __init__(self, file: Any, shallow: Shallow | None = None) -> None:
        self._file, self._shallow = file, shallow
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._held = b""  # the last bytes read, if a name or an escape may continue in the next piece
        self._in_string = False

    def read(self, size: int) -> bytes:
        """The next bytes, about `size` of them; empty at the end."""
        while size:
            raw = self._file.read(size)
            content = self._held + self._decoder.decode(raw, final=not raw).encode()
            held = _unfinished(content) if raw else 0
            self._held = content[len(content) - held :]
            if content := content[: len(content) - held]:
                content = _paired(self._named_null(content))
                content = content if self._shallow is None else self._shallow.feed(content)
            if content:
                return content
            if not raw:
                return b""
        return b""

    def _named_null(self, content: bytes) -> bytes:
        """The content with null in the place of NaN and Infinity outside of strings."""
        begun = b'"' if self._in_string else b""
        if _quotes(content) % 2:
            self._in_string = not self._in_string
        if not any(name in content for name in NAMES):
            return content
        return STRING_OR_NAME.sub(lambda found: found[1] or b"null", begun + content)[len(begun) :]


def _quotes(content: bytes) -> int:
    """The number of quotes that begin or end a string."""
    if b"\\\\" in content:
        content = content.replace(b"\\\\", b"")
    return content.count(b'"') - content.count(b'\\"')


def _paired(content: bytes) -> bytes:
    """The content with U+FFFD in the place of each surrogate without its other half."""
    if not HALF.search(content):
        return content
    return PAIR_OR_ESCAPE.sub(lambda found: found[1] or found[2] or rb"\ufffd", content)


def _unfinished(content: bytes) -> int:
    """How many of the last bytes may be the beginning of a name or an escape that the next bytes complete."""
    begun = BEGUN.search(content[-LONGEST_BEGUN:])
    if begun and begun[0]:
        before = content[: len(content) - len(begun[0])]
        return len(begun[0]) + (len(before) - len(before.rstrip(b"\\"))) % 2
    end = content[-LONGEST:]
    return len(end) - len(end.rstrip(b"-INafinty"))
