"""Whether a file is whole where its decoder would let damage pass: PNG, WebP and AVIF. See also `jpeg`.

PNG has checksums: those of the critical chunks decide, ancillary ones never. The lossy formats have none, and
their decoders make a picture of nearly anything; but compressed data looks like noise, so a long run of zero
bytes is a hole that a broken download or disk left.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator

PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
KEPT_CHUNKS = (b"tRNS", b"eXIf")  # ancillary, and yet of use to us
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
ANIMATED = (b"acTL", b"fcTL", b"fdAT")
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # a pixel's, by the header's type of colours
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
PIXELS_A_BYTE = 8192  # of one colour, a lossy encoder may well write so many into a zero byte


class NotWholeError(Exception):
    """The message says what is missing or wrong."""


def png_chunks(body: bytes) -> Iterator[tuple[bytes, int, int, bool]]:
    """Each whole chunk: its name, where it begins and ends, and whether its checksum is right."""
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
    """Every critical chunk must be there with the right checksum; only the end itself may be missing or wrong.

    Raises:
        NotWholeError: one is wrong, or the file stops in a chunk.
    """
    name, read, data = b"", 8, False
    for name, _, read, right in png_chunks(body):  # noqa: B007 - where it stopped counts
        if name[:1].isupper() and not right and name != b"IEND":
            raise NotWholeError(f"bad checksum of {name!r}")
        data = data or name == b"IDAT"
    if name != b"IEND" and (not data or len(body) - read >= len(PNG_END)):
        raise NotWholeError(f"cut short: {len(body)} bytes")


def check_png_rows(body: bytes) -> None:
    """A PNG's data must unpack to every row that its header tells of: decoders leave missing ones black.

    Raises:
        NotWholeError: it does not.
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
    """Bytes of a PNG's rows before they are packed, each with the byte that names its filter."""
    bits = depth * SAMPLES.get(colours, 1)
    total = 0
    for left, top, across, down in INTERLACED if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-max(0, width - left) // across), -(-max(0, height - top) // down)
        total += rows * (1 + -(-columns * bits // 8)) if columns else 0
    return total


def is_odd(body: bytes) -> bool:
    """Whether a PNG lacks its end, or has chunks of which readers make different things or nothing at all."""
    chunks = [(name, right) for name, _, _, right in png_chunks(body)]
    known = all(name in CRITICAL if name[:1].isupper() else name not in ANIMATED for name, _ in chunks)
    return chunks[-1:] != [(b"IEND", True)] or not known


def without_ancillary(body: bytes, kept: Collection[bytes] = KEPT_CHUNKS) -> bytes:
    """A PNG with nothing but what its pixels need and `kept` chunks, and its end put back if that is missing."""
    parts = [body[:8]]
    for name, start, end, right in png_chunks(body):
        if (name in CRITICAL and name != b"IEND") or (name in kept and right):
            parts.append(body[start:end])
    return b"".join([*parts, PNG_END])


def check_webp(body: bytes, pixels: int, *, holes: bool) -> None:
    """A WebP must be as long as it says, and if `holes` is set, its data must be without one.

    Raises:
        NotWholeError: it is not.
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
        )  # a frame holds the chunks of its picture


def check_avif(body: bytes, pixels: int) -> None:
    """An AVIF's media data must be without a hole; camera data may lie in it, and have one.

    Raises:
        NotWholeError: there is one.
    """
    place = 0
    while place + 8 <= len(body) and b"Exif" not in body[:4096]:
        length = int.from_bytes(body[place : place + 4], "big") or len(body) - place
        if body[place + 4 : place + 8] == b"mdat":
            find_hole(body, place + 8, min(place + length, len(body)), pixels)
        place += max(length, 8)


def find_hole(body: bytes, start: int, end: int, pixels: int) -> None:
    """Look for a run of zero bytes that compressed data of so many pixels does not have.

    Raises:
        NotWholeError: there is one.
    """
    longest = max(HOLE, pixels // PIXELS_A_BYTE)
    hole = body.find(bytes(longest), start, end)
    if hole >= 0:
        raise NotWholeError(f"{longest} zero bytes in its data, from byte {hole}")
