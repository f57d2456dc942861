"""JPEG, strictly: its pixels, or what libjpeg-turbo found wrong with them.

Most readers swallow what libjpeg warns of, and show a picture that is half grey. Here a warning ends the image,
at no cost: the entropy-coded data is read once, to its end. Warnings that say nothing of the pixels (an unknown
revision of JFIF) are told apart by mending what they warn of and decoding again.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import simplejpeg

END = b"\xff\xd9"
SOS, EOI, APP0, APP14 = 0xDA, 0xD9, 0xE0, 0xEE
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
PROGRESSIVE = (0xC2, 0xCA)
NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in entropy-coded data: no stuffing, no restart
EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
PADDING = 3  # zero bytes that some encoders put before the end, to a multiple of 4
MENDS = 4  # irregularities in one file
QUIRKS = ("unknown JFIF revision", "Unknown Adobe color transform", "Invalid SOS parameters for sequential")
NO_VERDICT = ("Unsupported", "Sorry", "Could not determine", "not supported")  # leave it to another decoder

Pixels = npt.NDArray[np.uint8]


class JpegError(Exception):
    """The image is not whole; the message says what was found."""


class UnknownKindError(Exception):
    """A kind of JPEG that this decoder does not read."""


def decode(body: bytes, colours: str, size: tuple[int, int]) -> tuple[Pixels, bytes]:
    """The pixels (height x width x channels), and the bytes with their end marker put back if it was missing.

    `colours` is simplejpeg's word: GRAY, RGB or CMYK. They come at the smallest eighth of the image that is at
    least `size` (width, height). Halved chroma is doubled, not interpolated: `encode` halves it again, and what
    was interpolated would be blurred twice. That is quicker, and nearer to the original (benchmarks.image_steps).

    Raises:
        JpegError: not every pixel is there.
        UnknownKindError: another decoder is to be asked.
    """
    ended, tried = body, body
    for _ in range(MENDS):
        try:
            pixels = simplejpeg.decode_jpeg(
                tried, colours, fastupsample=True, min_width=size[0], min_height=size[1], strict=True
            )
            break
        except ValueError as error:
            words = str(error)
            if any(word in words for word in NO_VERDICT):
                raise UnknownKindError(words) from None
            mended = _mended(tried, words)
            if mended is None:
                raise JpegError(words) from None
            if "Premature end" in words:
                ended = body + END
            tried = mended
    else:
        raise JpegError("one irregularity after the other")
    if lacking := unfinished(tried):
        raise JpegError(lacking)
    return pixels, ended


def _mended(body: bytes, words: str) -> bytes | None:
    """The file without what the decoder warned of; null where that may have cost pixels."""
    if words.startswith("Premature end of JPEG file") and not body.endswith(END):
        return body + END  # a file that was cut short will now be found to lack data
    if any(quirk in words for quirk in QUIRKS):
        mended = without_quirks(body)
        return mended if mended != body else None
    found = EXTRANEOUS.search(words)
    end = body.rfind(END)
    if found and int(found[1]) <= PADDING and body[end - int(found[1]) : end] == bytes(int(found[1])):
        return body[: end - int(found[1])] + body[end:]
    return None


def segments(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Each marker segment: its marker, where its content begins and where it ends.

    Entropy-coded data is passed over. Ends where the file does, or where no marker is.
    """
    place = 2
    while place + 4 <= len(body):
        marker = body[place + 1]
        if body[place] != 0xFF or marker == 0xFF:
            place += 1  # padding
            continue
        if marker == EOI:
            return
        end = place + 2 + int.from_bytes(body[place + 2 : place + 4], "big")
        yield marker, place + 4, end
        if marker == SOS:
            following = NEXT_MARKER.search(body, end)
            if following is None:
                return
            end = following.start()
        place = max(end, place + 2)


def frame_type(body: bytes) -> int | None:
    """The marker of the frame: 0xC0 baseline, 0xC1 extended, 0xC2 progressive, …"""
    return next((marker for marker, _, _ in segments(body) if marker in FRAMES), None)


def unfinished(body: bytes) -> str | None:
    """What the scans leave out of the frame they belong to, as in a file cut between two scans; null if nothing.

    In a progressive image, every bit of every coefficient of every component must be sent; in others, every
    component.
    """
    frame, bits = 0, {}
    for marker, start, end in segments(body):
        if marker in FRAMES:
            frame = marker
            bits = {body[at]: [16] * 64 for at in range(start + 6, end - 2, 3)}
        elif marker == SOS and bits and start + 1 + 2 * body[start] + 3 <= len(body):
            components = body[start + 1 : start + 1 + 2 * body[start] : 2]
            if frame not in PROGRESSIVE:
                if len(components) == len(bits):
                    return None
                first, last, low = 0, 63, 0
            else:
                first, last, low = struct.unpack_from("BBB", body, start + 1 + 2 * len(components))
            for component in components:
                if component in bits:
                    bits[component][first : last + 1] = [low & 15] * (min(last, 63) + 1 - first)
    missing = sum(any(each) for each in bits.values())
    return f"cut short: {missing} of {len(bits)} components lack scans" if missing else None


def without_quirks(body: bytes) -> bytes:
    """The file with headers that readers only grumble at put right: JFIF's revision, Adobe's transform, scans."""
    mended, sequential = bytearray(body), frame_type(body) not in PROGRESSIVE
    for marker, start, end in segments(body):
        if marker == APP0 and body[start : start + 5] == b"JFIF\0":
            mended[start + 5 : start + 7] = b"\1\1"
        elif marker == APP14 and body[start : start + 5] == b"Adobe" and end - start >= 12:
            mended[start + 11] = min(body[start + 11], 1)
        elif marker == SOS and sequential:
            mended[end - 3 : end] = b"\0\x3f\0"
    return bytes(mended)


def encode(pixels: Pixels, quality: int) -> bytes:
    """A baseline JPEG, 4:2:0, of grey (height x width) or RGB (height x width x 3)."""
    if pixels.ndim == 2:
        return bytes(simplejpeg.encode_jpeg(pixels[..., None], quality, "GRAY", "Gray"))
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", "420"))
