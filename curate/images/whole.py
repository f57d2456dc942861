"""Whether a file is whole where its decoder would let damage pass: PNG, WebP and AVIF. See also `jpeg`.

PNG has checksums: those of the critical chunks decide, ancillary ones never. The lossy formats have none, and
their decoders make a picture of nearly anything; but compressed data looks like noise, so a long run of zero
bytes is a hole that a broken download or disk left.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
KEPT_CHUNKS = (b"tRNS", b"eXIf")  # ancillary, and yet of use to us
HOLE = 32  # zero bytes in a row; the longest in 60 intact photographs had 16
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
    """Every critical chunk must be there with the right checksum; only the end itself may be missing.

    Raises:
        NotWholeError: one is wrong, or the file stops in a chunk.
    """
    name, read, data = b"", 8, False
    for name, _, read, right in png_chunks(body):  # noqa: B007 - where it stopped counts
        if name[:1].isupper() and not right:
            raise NotWholeError(f"bad checksum of {name!r}")
        data = data or name == b"IDAT"
    if name != b"IEND" and (not data or len(body) - read >= len(PNG_END)):
        raise NotWholeError(f"cut short: {len(body)} bytes")


def ends_early(body: bytes) -> bool:
    """Whether a PNG lacks its end."""
    return [name for name, *_ in png_chunks(body)][-1:] != [b"IEND"]


def without_ancillary(body: bytes) -> bytes:
    """A PNG with nothing but what its pixels need, and its end put back if that is missing."""
    parts = [body[:8]]
    for name, start, end, right in png_chunks(body):
        if name != b"IEND" and (name[:1].isupper() or (name in KEPT_CHUNKS and right)):
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
