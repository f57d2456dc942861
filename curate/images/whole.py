"""Checks PNG, WebP and AVIF files for damage that their decoders do not report. For JPEG see `curate.images.jpeg`.

PNG has checksums: a wrong one counts only in a critical chunk, never in an ancillary one. WebP and AVIF have none, and
their decoders make a picture of nearly any data. But compressed data looks like noise, so a long run of zero bytes is a
hole that a broken download or disk left.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator

PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
KEPT_CHUNKS = (b"tRNS", b"eXIf")  # ancillary chunks that are needed: transparency and orientation
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
PALETTE = b"\x03"  # the colour type of pixels that are numbers of colours in PLTE
ANIMATED = (b"acTL", b"fcTL", b"fdAT")
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples of a pixel, by the colour type in the header
# Adam7's passes: the first column and row, and the steps from one to the next
INTERLACED = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
UNPACKED_AT_ONCE = 2**20  # bytes
HOLE = 64  # zero bytes in a row; the longest in 3,901 intact AVIFs, most of them drawings, had 42
PIXELS_A_BYTE = 8192  # a lossy encoder may write so many pixels of one colour as a single zero byte


class NotWholeError(Exception):
    """The file is damaged; the message says what is missing or wrong."""


def png_chunks(body: bytes) -> Iterator[tuple[bytes, int, int, bool]]:
    """Yield each complete chunk of a PNG: its name, the offsets of its begin and end, whether its checksum is right."""
    place, view = 8, memoryview(body)
    while place + 12 <= len(body):
        end = place + 12 + struct.unpack_from(">I", body, place)[0]
        if end > len(body):
            return
        right = zlib.crc32(view[place + 4 : end - 4]) == struct.unpack_from(">I", body, end - 4)[0]
        yield body[place + 4 : place + 8], place, end, right
        if body[place + 4 : place + 8] == b"IEND":
            return
        place = end


def check_png(body: bytes) -> None:
    """Check that a PNG has all its critical chunks with the right checksums; only `IEND` may be missing or wrong.

    Raises:
        NotWholeError: a chunk is wrong, a palette is missing, or the file stops within a chunk.
    """
    name, read, data, palette = b"", 8, False, body[25:26] != PALETTE
    for name, _, read, right in png_chunks(body):  # noqa: B007 - where it stopped counts
        if name[:1].isupper() and not right and name != b"IEND":
            raise NotWholeError(f"bad checksum of {name!r}")
        data, palette = data or name == b"IDAT", palette or name == b"PLTE"
        if data and not palette:
            raise NotWholeError("no palette before its data")
    if name != b"IEND" and (not data or len(body) - read >= len(PNG_END)):
        raise NotWholeError(f"cut short: {len(body)} bytes")


def check_png_rows(body: bytes) -> None:
    """Check that a PNG's data unpacks to all rows that its header promises: decoders leave missing rows black.

    Raises:
        NotWholeError: rows are missing.
    """
    wanted = _png_bytes(*struct.unpack_from(">IIBBxxB", body, 16))
    unpacked, unpacker = 0, zlib.decompressobj()
    for name, start, end, _ in png_chunks(body):
        piece = body[start + 8 : end - 4] if name == b"IDAT" else b""
        while piece and unpacked < wanted:
            unpacked += len(unpacker.decompress(piece, UNPACKED_AT_ONCE))
            piece = unpacker.unconsumed_tail
    if unpacked < wanted:
        raise NotWholeError(f"cut short: its data unpacks to {unpacked} bytes of {wanted}")


def _png_bytes(width: int, height: int, depth: int, colours: int, interlaced: int) -> int:
    """Return the number of bytes of a PNG's unpacked rows; each row begins with a byte for its filter."""
    bits = depth * SAMPLES.get(colours, 1)
    total = 0
    for left, top, across, down in INTERLACED if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-max(0, width - left) // across), -(-max(0, height - top) // down)
        total += rows * (1 + -(-columns * bits // 8)) if columns else 0
    return total


def is_odd(body: bytes) -> bool:
    """Whether a PNG lacks its end, or has chunks that readers treat differently or refuse (unknown, or animation)."""
    chunks = [(name, right) for name, _, _, right in png_chunks(body)]
    known = all(name in CRITICAL if name[:1].isupper() else name not in ANIMATED for name, _ in chunks)
    return chunks[-1:] != [(b"IEND", True)] or not known


def without_ancillary(body: bytes, kept: Collection[bytes] = KEPT_CHUNKS) -> bytes:
    """Return a PNG with only its critical chunks, the intact ones among the `kept` chunks, and an end chunk."""
    parts = [body[:8]]
    for name, start, end, right in png_chunks(body):
        if (name in CRITICAL and name != b"IEND") or (name in kept and right):
            parts.append(body[start:end])
    return b"".join([*parts, PNG_END])


def check_webp(body: bytes, pixels: int, *, holes: bool) -> None:
    """Check that a WebP is as long as its header says, and with `holes` that its data has no hole.

    Args:
        body: the file's bytes.
        pixels: width times height of the image.
        holes: whether to look for a hole.

    Raises:
        NotWholeError: the file is cut short, or has a hole.
    """
    if len(body) < int.from_bytes(body[4:8], "little") + 8:
        raise NotWholeError(f"cut short: {len(body)} bytes")
    place = 12
    while holes and place + 8 <= len(body):
        name, length = body[place : place + 4], int.from_bytes(body[place + 4 : place + 8], "little")
        if name in (b"VP8 ", b"VP8L"):
            find_hole(body, place + 8, min(place + 8 + length, len(body)), pixels)
            return
        place += (
            24 if name == b"ANMF" else 8 + length + (length & 1)
        )  # into an animation's frame: it contains the chunks of its picture


def check_avif(body: bytes, pixels: int) -> None:
    """Check that the media data of an AVIF (`pixels`: width times height) has no hole.

    A file with EXIF data is not checked: that may be in the media data, and may have long runs of zeros.

    Raises:
        NotWholeError: there is a hole.
    """
    place = 0
    while place + 8 <= len(body) and b"Exif" not in body[:4096]:
        length = int.from_bytes(body[place : place + 4], "big") or len(body) - place
        if body[place + 4 : place + 8] == b"mdat":
            find_hole(body, place + 8, min(place + length, len(body)), pixels)
        place += max(length, 8)


def find_hole(body: bytes, start: int, end: int, pixels: int) -> None:
    """Look for a run of zero bytes that is too long for the compressed data of so many pixels.

    Args:
        body: the file's bytes.
        start, end: where the compressed data begins and ends, as offsets.
        pixels: width times height of the image.

    Raises:
        NotWholeError: there is such a run.
    """
    longest = max(HOLE, pixels // PIXELS_A_BYTE)
    hole = body.find(bytes(longest), start, end)
    if hole >= 0:
        raise NotWholeError(f"{longest} zero bytes in its data, from byte {hole}")
