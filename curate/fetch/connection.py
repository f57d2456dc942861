"""An aiohttp connection that accepts faulty response headers as browsers and curl do, up to a size limit.

aiohttp's parser is stricter than real servers: it refuses a space before a colon, a repeated Content-Length, and
headers that end because the connection closes. So this module collects the headers of each response, repairs them if
that leaves no doubt about where the body ends, and then passes them to aiohttp's parser.
"""

from __future__ import annotations

import re
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

MAX_HEADERS_BYTES = (
    2**18
)  # of all headers of one response, with interim ones; a redirect is a response of its own
HEAD_END = re.compile(rb"\r?\n\r?\n")
INFORMATIONAL = re.compile(rb"HTTP/1\.[01] 1(?!01)\d\d")  # the final response follows this one
SPACED_NAME = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]+:")
FOLD = re.compile(rb"\r?\n[ \t]+")  # a header that goes on in the next line
NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:")
# Headers without a fault: each line has a name, and there is at most one Content-Length and no Transfer-Encoding.
OTHER_LINES = rb"(?:(?!content-length|transfer-encoding)[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*\r\n)*+"
SOUND = re.compile(
    rb"[^\r\n]+\r\n" + OTHER_LINES + rb"(?:content-length: ?[0-9]+\r\n)?+" + OTHER_LINES + rb"\r\n",
    re.IGNORECASE,
)
FRAMING = re.compile(rb"content.?length|transfer.?encoding", re.IGNORECASE)
DECLARED = re.compile(rb"\ncontent-length: ?([0-9]{1,18})\r\n", re.IGNORECASE)  # in mended headers
LENGTH, CODING = b"content-length", b"transfer-encoding"


class BadHeadersError(aiohttp.ClientPayloadError):
    """The headers have no end within MAX_HEADERS_BYTES, or the response is not HTTP."""


class HeaderHandler(ResponseHandler):
    """A connection that collects the headers of each response before they are parsed.

    Bytes behind the end of a body, where `Content-Length` says it, are ignored as curl and browsers do; the connection
    is not used again.
    """

    _head: bytearray | None = None  # headers received so far; None once they were passed to the parser
    _interim = 0  # bytes of the interim responses (such as 103) that came before
    _lacking: int | None = None  # bytes of the body still to come; None where no Content-Length says it

    def set_response_params(self, **parameters: Any) -> None:
        """Start collecting headers: aiohttp calls this for each request, with the parameters of its response."""
        self._head, self._interim, self._lacking = bytearray(), 0, None
        super().set_response_params(**parameters)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the network; close the connection if the headers are too long or are not HTTP."""
        if self._head is None or not data:
            self._feed(b"", data)
            return
        start = max(0, len(self._head) - 3)
        self._head += data
        while self._head:
            found = HEAD_END.search(self._head, start)
            length = len(self._head) if found is None else found.end()
            if self._interim + length > MAX_HEADERS_BYTES:
                self._give_up(f"headers of more than {MAX_HEADERS_BYTES} bytes")
            elif found:
                self._hand_on(length)
                start = 0
                continue
            elif not b"HTTP/".startswith(bytes(self._head[:5])):
                self._give_up("no HTTP")
            return

    def eof_received(self) -> None:
        """Handle the end of the server's data; headers that lack only the empty line at their end are accepted."""
        if self._head and self._head.startswith(b"HTTP/"):
            self._head += b"\r\n" if self._head.endswith(b"\n") else b""
            self._hand_on(len(self._head))
        super().eof_received()

    def _hand_on(self, end: int) -> None:
        """Pass headers of `end` bytes to the parser, and what follows them unless they are interim ones."""
        assert self._head is not None
        head, rest = bytes(self._head[:end]), bytes(self._head[end:])
        if INFORMATIONAL.match(head):
            self._head = bytearray(rest)
            self._interim += end
            super().data_received(head)
            return
        self._head, head = None, mended(head)
        found = DECLARED.findall(head)
        self._lacking = int(found[0]) if len(found) == 1 else None
        self._feed(head, rest)

    def _feed(self, head: bytes, data: bytes) -> None:
        """Pass headers and a piece of the body to the parser; close the connection if more follows the body."""
        body = data if self._lacking is None else data[: self._lacking]
        if self._lacking is not None:
            self._lacking -= len(body)
        if head or body or not data:
            super().data_received(head + body)
        if len(body) < len(data) and self.transport is not None:
            self.transport.close()

    def _give_up(self, what: str) -> None:
        self._head = None
        if self.transport is not None:
            self.transport.abort()
        self.set_exception(BadHeadersError(what))


def mended(head: bytes) -> bytes:
    """Repair the headers of a response.

    Removes spaces before colons, lines that are no header, and repetitions of the same Content-Length. If two headers
    contradict each other about where the body ends, all stay as they are, and aiohttp's parser refuses them.
    """
    if SOUND.fullmatch(head):
        return head
    first, *lines = FOLD.sub(b" ", head).split(b"\n")
    lines = [kept for line in lines if (kept := _line(line)) is not None]
    names = [line.partition(b":")[0].lower() for line in lines]
    values = [line.partition(b":")[2].strip() for line in lines]
    lengths = {
        part.strip()
        for value, name in zip(values, names, strict=True)
        if name == LENGTH
        for part in value.split(b",")
    }
    codings = {value.lower() for value, name in zip(values, names, strict=True) if name == CODING}
    if len(lengths) > 1 or (lengths and codings - {b"identity"}):
        return head
    lines = [line for line, name in zip(lines, names, strict=True) if name not in (LENGTH, CODING)]
    framing = [b"Content-Length: " + one + b"\r" for one in lengths]
    framing += [b"Transfer-Encoding: " + one + b"\r" for one in sorted(codings) if not lengths]
    return b"\n".join([first, *framing, *lines])


def _line(line: bytes) -> bytes | None:
    """Repair one header line; None if the line has no readable header name and can be left out.

    A line whose name resembles Content-Length or Transfer-Encoding is kept unchanged, for the parser to refuse.
    """
    line = line[: len(line.rstrip(b"\r"))] + b"\r" if line.endswith(b"\r\r") else line
    if b"\r" in line[:-1] and not FRAMING.search(
        line
    ):  # where it might end a line, that one says nothing of framing
        line = line[:-1].replace(b"\r", b" ") + line[-1:]
    if line in (b"\r", b"") or NAME.match(line):
        return line
    if SPACED_NAME.match(line):
        return SPACED_NAME.sub(rb"\1:", line, count=1)
    told = re.sub(rb"[^a-z]", b"", line.partition(b":")[0].lower())
    return line if told in (b"contentlength", b"transferencoding") else None
