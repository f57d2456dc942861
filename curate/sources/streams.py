"""Byte streams of inputs, unpacked on the fly, and their lines, with the offset of each."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from curate.errors import InputError
from curate.sources.inputs import COMPRESSIONS, Input, suffixes
from curate.storage.filesystems import filesystem

READ_BYTES = 4 * 2**20
LINE_BYTES = 64 * 2**20  # a longer line is cut there, and its row is malformed


@contextmanager
def open_bytes(source: Input) -> Iterator[Any]:
    """The input's content, unpacked where its name says that it is packed; seekable where it is not."""
    system, path = filesystem(source.uri)
    packing = COMPRESSIONS.get(suffixes(source.name)[1])
    with system.open_input_file(path) as file:
        if packing is None:
            yield file
        else:
            with pa.CompressedInputStream(file, packing) as unpacked:
                yield unpacked


@contextmanager
def open_lines(source: Input) -> Iterator[Lines]:
    """The input's lines.

    Raises:
        InputError: UTF-16 or UTF-32.
    """
    with open_bytes(source) as file:
        lines = Lines(file, seekable=not suffixes(source.name)[1])
        if lines.starts_with(codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE):
            raise InputError(f"{source.uri} is UTF-16 or UTF-32 text: convert it to UTF-8")
        if lines.starts_with(codecs.BOM_UTF8):
            lines.skip(len(codecs.BOM_UTF8))
        yield lines


class Lines:
    """Lines of bytes with their end; `at` is the offset of the next one in the unpacked stream."""

    def __init__(self, file: Any, seekable: bool) -> None:
        self._file = file
        self.seekable = seekable
        self.cut = False  # the last line was longer than LINE_BYTES, and is cut there
        self._back: list[bytes] = []
        self._fill(0)

    def _fill(self, offset: int) -> None:
        self._buffer: bytes = self._file.read(READ_BYTES)
        self._position = 0
        self._end = offset + len(self._buffer)  # offset of the buffer's end
        self.at = offset

    def starts_with(self, *marks: bytes) -> bool:
        """Whether what was just read begins with one of these."""
        return self._buffer.startswith(marks)

    def skip(self, count: int) -> None:
        """Leave out the next `count` bytes, which were just read."""
        self._position += count
        self.at += count

    def next(self) -> bytes | None:
        """The next line; None at the end."""
        if self._back:
            line = self._back.pop()
            self.at += len(line)
            return line
        self.cut = False
        start = self._position
        end = self._buffer.find(b"\n", start) + 1
        while not end:
            more = self._file.read(READ_BYTES)
            if not more:
                end = len(self._buffer)
                break
            self.cut = self.cut or len(self._buffer) - start > LINE_BYTES
            kept = self._buffer[start : start + LINE_BYTES]
            self._buffer, start = kept + more, 0
            self._end += len(more)
            end = self._buffer.find(b"\n", len(kept)) + 1
        self._position = end
        self.at = self._end - (len(self._buffer) - end)
        return self._buffer[start:end] or None

    def put_back(self, lines: Sequence[bytes]) -> None:
        """Make these lines, the last ones read, the next ones again."""
        self._back.extend(reversed(lines))
        self.at -= sum(map(len, lines))

    def seek(self, offset: int) -> None:
        """Go on at this offset."""
        self._file.seek(offset)
        self._back.clear()
        self._fill(offset)
