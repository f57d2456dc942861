"""A connection that reads answers as browsers and curl do, and bounds what their headers take.

aiohttp's parser is stricter than the web: it refuses a space before a colon, a Content-Length told twice, and
headers that end with the connection. Here the headers of each answer are gathered, put right where that leaves
no doubt about where the body ends, and handed on.
"""

from __future__ import annotations

import re
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

MAX_HEADERS_BYTES = 2**18  # of all headers of one answer, and of those of its redirect
HEAD_END = re.compile(rb"\r?\n\r?\n")
INFORMATIONAL = re.compile(rb"HTTP/1\.[01] 1(?!01)\d\d")  # another answer follows
SPACED_NAME = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]+:")
LENGTH, CODING = b"content-length", b"transfer-encoding"


class BadHeadersError(aiohttp.ClientPayloadError):
    """Headers that find no end, or none at all."""


class HeaderHandler(ResponseHandler):
    """A connection whose answers' headers are gathered before they are parsed."""

    _head: bytearray | None = None  # what has come of the headers; null once they are handed on

    def set_response_params(self, **parameters: Any) -> None:
        """A request was sent: an answer's headers come next."""
        self._head = bytearray()
        super().set_response_params(**parameters)

    def data_received(self, data: bytes) -> None:
        """Take bytes off the network; ends the connection where headers find no end."""
        if self._head is None or not data:
            super().data_received(data)
            return
        start = max(0, len(self._head) - 3)
        self._head += data
        end = HEAD_END.search(self._head, start)
        if end is not None:
            self._hand_on(end.end())
        elif len(self._head) > MAX_HEADERS_BYTES or not b"HTTP/".startswith(bytes(self._head[:5])):
            self._give_up()

    def eof_received(self) -> None:
        """The other side is done: headers that lack only their last line end are read."""
        if self._head and self._head.startswith(b"HTTP/"):
            self._head += b"\r\n" if self._head.endswith(b"\n") else b""
            self._hand_on(len(self._head))
        super().eof_received()

    def _hand_on(self, end: int) -> None:
        assert self._head is not None
        head, rest = bytes(self._head[:end]), bytes(self._head[end:])
        if INFORMATIONAL.match(head):
            self._head = bytearray()
            super().data_received(head)
            self.data_received(rest)
        else:
            self._head = None
            super().data_received(mended(head) + rest)

    def _give_up(self) -> None:
        long = len(self._head or b"") > MAX_HEADERS_BYTES
        self._head = None
        if self.transport is not None:
            self.transport.abort()
        what = f"headers of more than {MAX_HEADERS_BYTES} bytes" if long else "no HTTP"
        self.set_exception(BadHeadersError(what))


def mended(head: bytes) -> bytes:
    """Headers without spaces before colons and without a Content-Length told twice alike.

    Headers that tell two ways to find the body's end are left as they are, for the parser to refuse.
    """
    first, *lines = head.split(b"\n")
    lines = [SPACED_NAME.sub(rb"\1:", line, count=1) if SPACED_NAME.match(line) else line for line in lines]
    names = [line.partition(b":")[0].lower() for line in lines]
    lengths = {
        line.partition(b":")[2].strip() for line, name in zip(lines, names, strict=True) if name == LENGTH
    }
    if len(lengths) > 1 or (lengths and CODING in names):
        return head
    again = names.index(LENGTH) if lengths else -1
    kept = [line for place, line in enumerate(lines) if names[place] != LENGTH or place == again]
    return b"\n".join([first, *kept])
