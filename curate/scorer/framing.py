"""Framing: turn an encoded image into the frame of pixels that a model sees. Runs in child processes.

The arithmetic is open_clip's (torchvision's Resize and CenterCrop on Pillow images): same sides, same rounding, same
filter. Unless `exact` is set, a JPEG is decoded at 1, 1/2, 1/4 or 1/8 of its size, the smallest that is still GAP times
the frame, and only the part that the crop keeps is resized. With `raw` the device resizes (`curate.scorer.resample`):
the child then returns the decoded part, with the margin that the filter needs. This module imports nothing heavier than
Pillow, because children are started often.
"""

from __future__ import annotations

import io
import json
import math
import struct
import warnings
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass

from PIL import Image, ImageFile

from curate.images.prepare import READERS, ImageError, damage
from curate.images.sniffing import sniff

TARGET = "curate.scorer.framing:framer"
MAX_PIXELS = 100_000_000
GAP = 2.0  # with less, features differ noticeably from those of a full decode; see docs/scoring.md
SPAN = (
    2 * GAP
)  # a part more than this many times its frame (a large PNG, a long strip) is resized in the child
REACH = {"bicubic": 2, "bilinear": 1}  # radius of the filters, in pixels of the smaller image
# Width and height of the part; the box of the part that the frame shows; the box of the frame that shows it.
HEAD = struct.Struct("<2H4f4H")

Size = tuple[int, int]
Box = tuple[int, int, int, int]
Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Framing:
    """How a model's frame is cut from an image. Sides are pixels."""

    width: int
    height: int
    # The side that is fitted to the frame: shortest (crop), longest (pad), or squash
    resize: str = "shortest"
    filter: str = "bicubic"
    fill: int = 0  # grey level of the padding
    exact: bool = False  # decode every pixel and resize before the crop, as open_clip does
    raw: bool = False  # return decoded pixels; the device resizes them

    @property
    def longest(self) -> Size:
        """Width and height of the largest part that a child returns."""
        if not self.raw:
            return self.width, self.height
        around = 2 * (int(REACH[self.filter] * SPAN) + 2)
        return int(SPAN * self.width) + around, int(SPAN * self.height) + around


def child_settings(framing: Framing) -> bytes:
    """The settings of a child process, as JSON."""
    return json.dumps(asdict(framing)).encode()


def framer(settings: bytes) -> Callable[[bytes], bytes]:
    """Make the handler that child processes run: it takes an encoded image and returns the answer of `framed`."""
    warnings.simplefilter("ignore")
    framing = Framing(**json.loads(settings))
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses beyond twice this
    return lambda body: frame(body, framing)


def frame(body: bytes, framing: Framing) -> bytes:
    """Decode an image and return the part that a model sees; see `framed`.

    Raises:
        ImageError: not_an_image, format_not_allowed, too_many_pixels, damaged.
    """
    kind = sniff(body)
    if kind is None:
        raise ImageError("not_an_image", f"begins with {body[:16]!r}" if body else "empty")
    if kind not in READERS:
        raise ImageError("format_not_allowed", kind)
    with damage():
        image = READERS[kind](io.BytesIO(body))
        if image.width * image.height > MAX_PIXELS:
            raise ImageError("too_many_pixels", f"{image.width}x{image.height}")
        return framed(image, framing)


def framed(image: Image.Image, framing: Framing) -> bytes:
    """The part of an open image that a model sees, as bytes: HEAD, then the part's pixels (RGB, rows from the top).

    HEAD holds a box of the part and a box of the frame. The frame shows the first box, resized to the second, and has
    the grey level `fill` around it. Unless the framing is `raw`, the part is the finished frame.
    """
    size = resized(*image.size, framing)
    window = crop(*size, framing)
    kept = (max(window[0], 0), max(window[1], 0), min(window[2], size[0]), min(window[3], size[1]))
    place = (kept[0] - window[0], kept[1] - window[1], kept[2] - window[0], kept[3] - window[1])
    if framing.exact:
        part = image.resize(size, _filter(framing)).crop(kept).convert("RGB")
    else:
        pixels, source = _decoded(image, size, kept)
        x, y = (source[2] - source[0]) / (kept[2] - kept[0]), (source[3] - source[1]) / (kept[3] - kept[1])
        part, within = _cut(pixels, source, (x, y), framing)
        if framing.raw and max(x, y) <= SPAN:
            return HEAD.pack(*part.size, *within, *place) + part.convert("RGB").tobytes()
        part = _resize(part, (kept[2] - kept[0], kept[3] - kept[1]), within, framing).convert("RGB")
    if kept != window:
        canvas = Image.new("RGB", (framing.width, framing.height), (framing.fill,) * 3)
        canvas.paste(part, place[:2])
        part = canvas
    return HEAD.pack(*part.size, 0, 0, *part.size, 0, 0, *part.size) + part.tobytes()


def resized(width: int, height: int, framing: Framing) -> tuple[int, int]:
    """The size (width, height) to which the whole image would be resized before the crop."""
    if framing.resize == "squash":
        return framing.width, framing.height
    if framing.resize == "shortest" and framing.width == framing.height:  # torchvision's Resize rounds down
        short, long = sorted((width, height))
        other = int(framing.width * long / short)
        return (framing.width, other) if width <= height else (other, framing.width)
    ratios = (width / framing.width, height / framing.height)
    ratio = max(ratios) if framing.resize == "longest" else min(ratios)
    return max(1, round(width / ratio)), max(1, round(height / ratio))


def crop(width: int, height: int, framing: Framing) -> Box:
    """The centre crop of a resized image: left, top, right, bottom; it reaches outside the image where it is padded."""

    def first(side: int, wanted: int) -> int:
        return -((wanted - side) // 2) if wanted > side else round((side - wanted) / 2)

    left, top = first(width, framing.width), first(height, framing.height)
    return left, top, left + framing.width, top + framing.height


def _decoded(image: Image.Image, size: Size, kept: Box) -> tuple[Image.Image, Corners]:
    """Decode the image at a reduced size; returns it, and `kept` (a box of the image at size `size`) as its box."""
    scale: tuple[float, float] = image.size
    if isinstance(image, ImageFile.ImageFile):
        drafted = image.draft(None, (round(size[0] * GAP), round(size[1] * GAP)))
        scale = drafted[1][2:] if drafted else image.size
    pixels = image if image.mode in ("RGB", "L") else image.convert("RGB")
    x, y = scale[0] / size[0], scale[1] / size[1]
    box = (kept[0] * x, kept[1] * y, min(kept[2] * x, pixels.width), min(kept[3] * y, pixels.height))
    left, top, right, bottom = array("f", box)  # rounded as Pillow does
    return pixels, (left, top, right, bottom)


def _cut(
    pixels: Image.Image, source: Corners, ratio: tuple[float, float], framing: Framing
) -> tuple[Image.Image, Corners]:
    """Cut out the box `source` with the margin that the filter needs; returns the cut, and the box inside it."""
    x, y = (REACH[framing.filter] * max(1.0, each) + 1 for each in ratio)
    left, top = max(0, math.floor(source[0] - x)), max(0, math.floor(source[1] - y))
    right, bottom = min(pixels.width, math.ceil(source[2] + x)), min(pixels.height, math.ceil(source[3] + y))
    within = (source[0] - left, source[1] - top, source[2] - left, source[3] - top)
    return pixels.crop((left, top, right, bottom)), within


def _resize(part: Image.Image, size: Size, box: Corners, framing: Framing) -> Image.Image:
    """Resize along x, then along y, as the device does; in a single call, Pillow's version decides the order."""
    across = part.resize((size[0], part.height), _filter(framing), box=(box[0], 0, box[2], part.height))
    return across.resize(size, _filter(framing), box=(0, box[1], size[0], box[3]))


def _filter(framing: Framing) -> Image.Resampling:
    return Image.Resampling.BILINEAR if framing.filter == "bilinear" else Image.Resampling.BICUBIC
