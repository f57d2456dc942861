"""Make JSON streams safe to parse: cut out what is nested too deep, and strings that are too long.

The string MARK is put in the place of either, so that the row which held it can be recognised and dropped, while the
rows around it are read. A stream without such values is passed on unchanged, at the cost of counting its brackets.
"""

from __future__ import annotations

import re

import numpy as np

MARK = "\u0001curate: too deep or too long\u0001"  # a row that holds this string in the input is dropped too
WRITTEN = rb"\u0001curate: too deep or too long\u0001"
TOO_MUCH = {"reason": "row_malformed", "detail": "nested deeper than input.max_depth, or a text too long"}
BRACKETS = b"[]{}"
OTHERS = bytes(byte for byte in range(256) if byte not in BRACKETS)
STEPS = bytes.maketrans(BRACKETS, b"\x01\xff\x01\xff")  # as int8: +1 for [ and {, -1 for ] and }
TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]|[^"\[\]{}]+', re.DOTALL)


def depth_of(content: bytes) -> int:
    """How deep the lists and objects of a JSON text are nested."""
    steps = _steps(content, in_string=False)
    return int(steps.cumsum(dtype=np.int64).max(initial=0))


def is_deeper(line: bytes, max_depth: int) -> bool:
    """Whether a JSON text is nested deeper than `max_depth`; a text with too few brackets is not examined further."""
    if len(line) <= max_depth or line.count(b"[") + line.count(b"{") <= max_depth:
        return False
    return depth_of(line) > max_depth


def shallow(line: bytes, max_depth: int) -> bytes:
    """A JSON text with MARK in the place of each value that is nested deeper than `max_depth`."""
    return Shallow(max_depth, max(1, 2 * len(line)), row_depth=0).feed(line)


def _plain(content: bytes) -> bytes:
    """The content without escaped quotes: each quote that is left begins or ends a string."""
    if b"\\" in content:
        return content.replace(b"\\\\", b"").replace(b'\\"', b"")
    return content


def _steps(content: bytes, in_string: bool) -> np.ndarray:
    """+1 and -1 for each bracket outside of strings, in order."""
    outside = b"".join(_plain(content).split(b'"')[in_string::2])
    return np.frombuffer(outside.translate(STEPS, OTHERS), np.int8)


class Shallow:
    """Cuts a stream of JSON that comes in pieces; no piece may end within an escape."""

    def __init__(self, max_depth: int, max_bytes: int, row_depth: int) -> None:
        """`max_bytes` limits each string, and each row: all that lies within one bracket of depth `row_depth`."""
        self._max_depth, self._max_bytes, self._row_depth = max_depth, max_bytes, row_depth
        self._depth = 0
        self._in_string = False
        self._string = 0  # bytes of the string that the last piece ended in
        self._row = 0  # bytes since a row began
        self._cut = False  # the rest of the string is left out

    def feed(self, content: bytes) -> bytes:
        """The next piece, with MARK in the place of what is too deep or too long.

        Raises:
            ValueError: a row has more than `max_bytes`.
        """
        steps = _steps(content, self._in_string)
        depths = self._depth + steps.cumsum(dtype=np.int64)
        self._count_row(content, depths)
        quotes = _plain(content).count(b'"')
        lengthy = self._cut or self._string + len(content) > self._max_bytes
        if lengthy or max(self._depth, int(depths.max(initial=0))) > self._max_depth:
            return self._picked(content)
        tail = len(content) - content.rfind(b'"') if quotes else len(content) + self._string
        self._in_string ^= bool(quotes % 2)
        self._string = tail if self._in_string else 0
        self._depth = int(depths[-1]) if len(depths) else self._depth
        return content

    def _count_row(self, content: bytes, depths: np.ndarray) -> None:
        between = len(depths) and int(depths.min()) < self._row_depth
        self._row = 0 if between else self._row + len(content)
        if self._row > self._max_bytes and self._depth >= self._row_depth:
            raise ValueError(f"a row of more than input.max_value_bytes = {self._max_bytes} bytes")

    def _picked(self, content: bytes) -> bytes:
        """The piece, examined token by token: what `feed` returns where something may have to be cut out."""
        begun = b'"' if self._in_string else b""
        parts: list[bytes] = []
        for found in TOKEN.finditer(begun + content):
            token = found.group()
            if token.startswith(b'"'):
                parts.append(self._string_part(token, bool(begun) and not found.start()))
                continue
            opens, closes = token in (b"[", b"{"), token in (b"]", b"}")
            if opens and self._depth == self._max_depth:
                parts.append(b'"' + WRITTEN + b'"')
            self._depth += opens
            if self._depth <= self._max_depth:
                parts.append(token)
            self._depth -= closes
        return b"".join(parts)

    def _string_part(self, token: bytes, goes_on: bool) -> bytes:
        """A string, or the part of it in this piece; `goes_on`: its opening quote was in an earlier piece."""
        ends = len(token) > 1 and token.endswith(b'"') and _plain(token).count(b'"') == 2
        was_cut, length = self._cut, len(token) + (self._string if goes_on else 0)
        self._in_string, self._string = not ends, 0 if ends else length
        is_cut = length > self._max_bytes
        self._cut = is_cut and not ends
        if self._depth > self._max_depth:
            return b""
        body = token[1:] if goes_on else token
        if not is_cut:
            return body
        opening = b"" if goes_on else b'"'
        return (b"" if was_cut else opening + WRITTEN) + (b'"' if ends else b"")
