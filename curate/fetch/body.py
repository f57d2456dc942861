"""Collects a response's body as it arrives: checks its first bytes, unpacks gzip, and stops at a size limit."""

from __future__ import annotations

import zlib
from typing import Any

from curate.fetch.outcome import FetchError
from curate.images.sniffing import sniff

_GZIP = b"\x1f\x8b\x08"
HEAD = 512  # first bytes of a body: enough to tell an image from a page
SHOWN = 32  # so many of the first bytes are shown in the detail of a failure


class Body:
    """Collects the chunks of one response.

    Curate asks for no content encoding, and a server may name one that it did not use. So the bytes decide, not the
    header: gzip is unpacked; a body in another encoding does not begin like an image, so it is refused.

    Args:
        max_bytes: the most bytes that the unpacked body may have.
        content_type: the response's Content-Type header, for the detail of a failure.
        images: whether a body that does not begin like an image is refused.
    """

    def __init__(self, max_bytes: int, content_type: str, *, images: bool = True) -> None:
        self._max_bytes, self._images = max_bytes, images
        self._content_type = content_type[:60]
        self._bytes = (
            bytearray()
        )  # not a list of chunks: if a server sent single bytes, it would take fifty times their size
        self._judged = False
        self._unzip: Any = None

    def add(self, chunk: bytes) -> None:
        """Add the next chunk.

        Raises:
            FetchError: the body is refused, as `not_an_image`, `too_large` or `bad_response`.
        """
        if self._unzip is not None:
            chunk = self._unpacked(chunk)
        self._bytes += chunk
        if self.size > self._max_bytes:
            raise FetchError("too_large", f"more than {self._max_bytes} bytes")
        if not self._judged and self.size >= HEAD:
            self._judge()

    def finish(self) -> bytes:
        """Return the whole body, unpacked.

        Raises:
            FetchError: the body is `empty`, or refused for a reason that `add` names.
        """
        if not self._judged and self.size:
            self._judge()
        if not self.size:
            raise FetchError("empty", "no bytes")
        return bytes(self._bytes)

    @property
    def size(self) -> int:
        """Number of bytes so far, unpacked."""
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
