"""Recognises the format of an image by its first bytes, whatever its name or the server says."""

from __future__ import annotations

import re

# The first pattern that matches counts. Formats that no setting allows are listed, too: they are images all the same.
MAGIC = tuple(
    (format, re.compile(pattern, re.DOTALL))
    for format, pattern in (
        ("jpeg", rb"\xff\xd8\xff"),
        ("png", rb"\x89PNG\r\n\x1a\n"),
        ("webp", rb"RIFF....WEBP"),
        ("gif", rb"GIF8[79]a"),
        ("bmp", rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"),
        ("avif", rb".{4}ftypavi[fs]"),
        ("avif", rb".{4}ftypmi(?:f1|af).{0,60}?avi[fs]"),
        ("heic", rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1|miaf)"),
        ("tiff", rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"),
        ("jpeg2000", rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
        ("jpegxl", rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
        ("ico", rb"\0\0[\1\2]\0[^\0]\0"),
        ("psd", rb"8BPS"),
        ("dds", rb"DDS "),
        ("icns", rb"icns"),
        ("pnm", rb"P[1-7fF]\s"),
        ("blp", rb"BLP[12]"),
        ("eps", rb"%!PS|\xc5\xd0\xd3\xc6"),
    )
)
BEGINNING = 2048  # bytes that are looked at
SVG = re.compile(rb"<svg[\s>]")
# What may stand before the first element of an XML file, and where it ends; the first that matches counts.
PROLOGUE = ((b"<?", b"?>"), (b"<!--", b"-->"), (b"<!", b">"))


def sniff(body: bytes) -> str | None:
    """Return the image format that the first bytes have, such as `jpeg`; None if they are of no image."""
    beginning = body[:BEGINNING]
    found = next((format for format, pattern in MAGIC if pattern.match(beginning)), None)
    return found or ("svg" if is_svg(beginning) else None)


def is_svg(beginning: bytes) -> bool:
    """Whether the first element of an XML file is `svg`; takes time linear in the number of bytes."""
    place = 3 if beginning.startswith(b"\xef\xbb\xbf") else 0
    while place < len(beginning):
        if beginning[place : place + 1].isspace():
            place += 1
            continue
        kind = next((kind for kind in PROLOGUE if beginning.startswith(kind[0], place)), None)
        if kind is None:
            break
        opened, closed = beginning.find(b"[", place), beginning.find(kind[1], place)
        if kind[0] == b"<!" and 0 <= opened < closed:  # declarations within a DOCTYPE
            closed = beginning.find(b">", beginning.find(b"]", opened))
        if closed < 0:
            return False
        place = closed + len(kind[1])
    return SVG.match(beginning, place) is not None
