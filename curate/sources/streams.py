"""Read inputs as byte streams, decompressed on the fly, and as lines, each with its offset."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from curate.errors import UnreadableInputError
from curate.manifest.settings import InputSettings
from curate.sources.inputs import COMPRESSIONS, Input, suffixes
from curate.storage.filesystems import filesystem

LOST = b"?"
READ_BYTES = 4 * 2**20
SMALL = 64 * 2**20  # bytes that any compressed file may unpack to, however small it is


class ExpansionError(ValueError):
    """A compressed file unpacks to more bytes than its limit."""


class Unpacked:
    """The content of a compressed file, up to `max_expansion` times its size (or SMALL, if more)."""

    def __init__(self, stream: Any, packed_bytes: int, max_expansion: int) -> None:
        self._stream, self._left = stream, max(SMALL, packed_bytes * max_expansion)
        self._said = (
            f"it unpacks to more than input.max_expansion = {max_expansion} times its {packed_bytes} bytes"
        )

    def read(self, size: int = READ_BYTES) -> bytes:
        """At most `size` of the next bytes; empty at the end.

        Raises:
            ExpansionError: the content goes on beyond its limit.
        """
        if self._left <= 0:
            raise ExpansionError(self._said)
        piece: bytes = self._stream.read(size)
        self._left -= len(piece)
        return piece


@contextmanager
def open_bytes(source: Input, settings: InputSettings) -> Iterator[Any]:
    """Open the input's content: decompressed if its name has a compression's suffix, else a seekable file."""
    system, path = filesystem(source.uri)
    packing = COMPRESSIONS.get(suffixes(source.name)[1])
    with system.open_input_file(path) as file:
        if packing is None:
            yield file
        else:
            with pa.CompressedInputStream(file, packing) as unpacked:
                yield Unpacked(unpacked, source.bytes, settings.max_expansion)


@contextmanager
def open_lines(source: Input, settings: InputSettings) -> Iterator[Lines]:
    """Open the input as lines, after a byte order mark of UTF-8 if it has one.

    Raises:
        UnreadableInputError: the text is UTF-16 or UTF-32.
    """
    with open_bytes(source, settings) as file:
        lines = Lines(file, not suffixes(source.name)[1], settings.max_value_bytes)
        if lines.starts_with(codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE):
            raise UnreadableInputError(f"{source.uri} is UTF-16 or UTF-32 text: convert it to UTF-8")
        if lines.starts_with(codecs.BOM_UTF8):
            lines.skip(len(codecs.BOM_UTF8))
        yield lines


class Lines:
    """Lines of bytes, each with its line end; `at` is the offset of the next line in the decompressed stream.

    A line ends with a line feed; or with a carriage return, if the file's first bytes have carriage returns but no line
    feed. `max_bytes` limits a line.
    """

    def __init__(self, file: Any, seekable: bool, max_bytes: int) -> None:
        self._file = file
        self.seekable = seekable
        self._max_bytes = max_bytes  # of a line
        self.fault: tuple[str, str] | None = None  # what is wrong with the last line: a reason, a detail
        # What is wrong with the stream, if its end is not its own
        self._end_fault: tuple[str, str] | None = None
        self._ended = False
        self._back: list[tuple[bytes, tuple[str, str] | None]] = []
        self._fill(0)
        self._mark = b"\n"
        if b"\r" in self._buffer[:-1] and b"\n" not in self._buffer:  # as spreadsheets of old Macs write them
            self._mark = b"\r"

    def _fill(self, offset: int) -> None:
        self._buffer: bytes = self._more()
        self._position = 0
        self._end = offset + len(self._buffer)  # offset of the buffer's end
        self.at = offset

    def _more(self) -> bytes:
        """The next bytes of the stream; empty at its end, or where it exceeds its limit."""
        if self._ended:
            return b""
        try:
            more: bytes = self._file.read(READ_BYTES)
            return more
        except ExpansionError as error:
            self._ended = True
            self._end_fault = ("too_large", f"what follows is left out: {error}")
            return b""

    def starts_with(self, *marks: bytes) -> bool:
        """Whether the bytes in the buffer begin with one of `marks`."""
        return self._buffer.startswith(marks)

    def skip(self, count: int) -> None:
        """Skip the next `count` bytes, which must be in the buffer."""
        self._position += count
        self.at += count

    def next(self) -> bytes | None:
        """The next line, cut if it is too long; None at the end. `fault` then says what is wrong with it (or None)."""
        if self._back:
            line, self.fault = self._back.pop()
            self.at += len(line)
            return line
        self.fault = None
        start = self._position
        end = self._buffer.find(self._mark, start) + 1
        while not end:
            more = self._more()
            if not more:
                end = len(self._buffer)
                if end > start:
                    self.fault, self._end_fault = self._end_fault or self.fault, None
                break
            if len(self._buffer) - start > self._max_bytes:
                self.fault = ("row_malformed", "line too long")
            kept = self._buffer[start : start + self._max_bytes]
            self._buffer, start = kept + more, 0
            self._end += len(more)
            end = self._buffer.find(self._mark, len(kept)) + 1
        self._position = end
        self.at = self._end - (len(self._buffer) - end)
        return self._buffer[start:end] or self._last()

    def _last(self) -> bytes | None:
        """One line in the place of all that exceeds the stream's limit, if it does; else None."""
        self.fault, self._end_fault = self._end_fault, None
        return None if self.fault is None else LOST

    def put_back(self, lines: Sequence[bytes]) -> None:
        """Put the last lines read back, to be read again; the current `fault` belongs to the last of them."""
        faults = [None] * len(lines[:-1]) + [self.fault]
        self._back.extend(reversed(list(zip(lines, faults, strict=False))))
        self.at -= sum(map(len, lines))

    def seek(self, offset: int) -> None:
        """Continue at this offset, where a line begins."""
        self._file.seek(offset)
        self._back.clear()
        self._fill(offset)
