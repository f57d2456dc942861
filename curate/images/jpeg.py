"""Decodes JPEG strictly: returns the pixels, or raises what libjpeg-turbo found wrong with them.

Most readers ignore libjpeg's warnings and show a picture that is half grey. Here a warning makes the image fail, at no
extra cost: the entropy-coded data is read once, to its end. Some warnings do not concern the pixels (such as an unknown
revision of JFIF): then what the warning names is repaired, and the image is decoded again.
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
MENDS = 4  # decodings of one file at most, each after another repair
QUIRKS = ("unknown JFIF revision", "Unknown Adobe color transform", "Invalid SOS parameters for sequential")
NO_VERDICT = ("Unsupported", "Sorry", "Could not determine", "not supported")  # leave it to another decoder

Pixels = npt.NDArray[np.uint8]


class JpegError(Exception):
    """Not all pixels of the image are there; the message says what was found."""


class UnknownKindError(Exception):
    """This decoder does not read this kind of JPEG; another one may."""


def decode(body: bytes, colours: str, size: tuple[int, int]) -> tuple[Pixels, bytes]:
    """Decode a JPEG; return its pixels (height x width x channels), and its bytes with an end marker if it lacked one.

    Chroma of half the resolution is repeated, not interpolated: `encode` halves it again, and interpolated chroma would
    be blurred twice. Repeating is faster, and nearer to the original (benchmarks.image_steps).

    Args:
        body: the encoded image.
        colours: GRAY, RGB or CMYK, as simplejpeg names them.
        size: the image is decoded at the smallest multiple of an eighth of its size that is at least `size` (width,
            height).

    Raises:
        JpegError: not every pixel is there.
        UnknownKindError: this decoder does not read the image; another one may.
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
    """Return the file without the fault that the decoder warned of; None if the fault may have cost pixels."""
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
    """Yield each marker segment: its marker, and the offsets at which its content begins and ends.

    Entropy-coded data is skipped. The iterator ends at the end of the file, or where a marker is missing.
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
    """Return the marker of the frame: 0xC0 baseline, 0xC1 extended, 0xC2 progressive, …; None without a frame."""
    return next((marker for marker, _, _ in segments(body) if marker in FRAMES), None)


def unfinished(body: bytes) -> str | None:
    """Return which components the scans do not complete, as in a file cut between two scans; None if all are complete.

    The scans of a progressive image must hold every bit of every coefficient of every component; the scans of any other
    image must hold every component.
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
    """Return the file with faulty headers repaired that do not concern the pixels.

    These are JFIF's revision, Adobe's colour transform, and the parameters of sequential scans.
    """
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
    """Encode grey (height x width) or RGB pixels (height x width x 3) as a baseline JPEG, RGB with 4:2:0 chroma."""
    if pixels.ndim == 2:
        return bytes(simplejpeg.encode_jpeg(pixels[..., None], quality, "GRAY", "Gray"))
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", "420"))
