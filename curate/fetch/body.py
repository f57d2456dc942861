"""A body as it arrives: judged by its first bytes, unpacked if it must be, never above its limit."""

from __future__ import annotations

import zlib
from typing import Any

from curate.fetch.outcome import FetchError
from curate.images.sniffing import sniff

_GZIP = b"\x1f\x8b\x08"
HEAD = 512  # bytes that are enough to tell an image from a page
SHOWN = 32  # of them, in a detail


class Body:
    """Collects one response's chunks.

    We ask for no content encoding, and servers may name one that they did not use: the bytes decide. Gzip is
    unpacked within the limit, other encodings are no images. Where `images` is false, anything may come.
    """

    def __init__(self, max_bytes: int, content_type: str, *, images: bool = True) -> None:
        self._max_bytes, self._images = max_bytes, images
        self._content_type = content_type[:60]
        self._bytes = (
            bytearray()
        )  # a list of pieces would let a drip of single bytes take fifty times their size
        self._judged = False
        self._unzip: Any = None

    def add(self, chunk: bytes) -> None:
        """Take one more chunk.

        Raises:
            FetchError: `not_an_image`, `too_large` or `bad_response`.
        """
        if self._unzip is not None:
            chunk = self._unpacked(chunk)
        self._bytes += chunk
        if self.size > self._max_bytes:
            raise FetchError("too_large", f"more than {self._max_bytes} bytes")
        if not self._judged and self.size >= HEAD:
            self._judge()

    def finish(self) -> bytes:
        """The whole body.

        Raises:
            FetchError: `empty`, or as `add`.
        """
        if not self._judged and self.size:
            self._judge()
        if not self.size:
            raise FetchError("empty", "no bytes")
        return bytes(self._bytes)

    @property
    def size(self) -> int:
        """Bytes so far, unpacked."""
        return len(self._bytes)

    def _judge(self) -> None:
        head = bytes(self._bytes)
        if self._unzip is None and head.startswith(_GZIP):
            self._unzip = zlib.decompressobj(wbits=31)
            self._bytes.clear()
            self.add(head)
        elif self._images and sniff(head) is None:
            begins = head[:SHOWN].decode("ascii", "backslashreplace")
            raise FetchError("not_an_image", f"{self._content_type or 'no type'}, begins {begins}")
        else:
            self._judged = True

    def _unpacked(self, chunk: bytes) -> bytes:
        try:
            unpacked: bytes = self._unzip.decompress(chunk, self._max_bytes - self.size + 1)
        except zlib.error as error:
            raise FetchError("bad_response", f"damaged gzip: {error}") from None
        return unpacked
