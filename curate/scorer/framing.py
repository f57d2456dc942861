"""From encoded images to the square of pixels that a model sees: the work, in a child process, and its plan.

The arithmetic is open_clip's own (torchvision's Resize and CenterCrop on Pillow images): same sides, same
rounding, same filter. Where `exact` is off, a JPEG is decoded at the smallest of its 1, 1/2, 1/4 or 1/8 sizes
that is still GAP times what the model sees, and only what the crop keeps is resized. Nothing but Pillow is
imported: children start often.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass

from PIL import Image, ImageFile

from curate.images_formats import sniff
from curate.images_prepare import READERS, ImageError, damage

TARGET = "curate.scorer.framing:framer"
MAX_PIXELS = 100_000_000
GAP = 2.0  # below it the difference to a full decode shows in the features; see docs/scoring.md

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Framing:
    """What of an image a model sees. Sides are pixels."""

    width: int
    height: int
    resize: str = "shortest"  # which side becomes the model's: shortest (and crop), longest (and pad), squash
    filter: str = "bicubic"
    fill: int = 0  # grey level of what is padded
    exact: bool = False  # decode every pixel and resize before the crop, as open_clip does

    @property
    def bytes(self) -> int:
        """Of one framed image: RGB, a byte a sample, rows from the top."""
        return self.width * self.height * 3


def child_settings(framing: Framing) -> bytes:
    """What a child is told."""
    return json.dumps(asdict(framing)).encode()


def framer(settings: bytes) -> Callable[[bytes], bytes]:
    """The handler that `curate.children` runs: an encoded image in, `Framing.bytes` out."""
    warnings.simplefilter("ignore")
    framing = Framing(**json.loads(settings))
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses beyond twice this
    return lambda body: frame(body, framing).tobytes()


def frame(body: bytes, framing: Framing) -> Image.Image:
    """The part of an image that a model sees, RGB.

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


def framed(image: Image.Image, framing: Framing) -> Image.Image:
    """The same of an image that is open already."""
    size = resized(*image.size, framing)
    box = crop(*size, framing)
    whole = (0, 0, *size)
    kept = (max(box[0], 0), max(box[1], 0), min(box[2], size[0]), min(box[3], size[1]))
    if framing.exact:
        part = image.resize(size, _filter(framing)).crop(kept).convert("RGB")
    else:
        part = _shrunk(image, size, kept, framing)
    if kept == box or box == whole:
        return part
    canvas = Image.new("RGB", (framing.width, framing.height), (framing.fill,) * 3)
    canvas.paste(part, (kept[0] - box[0], kept[1] - box[1]))
    return canvas


def resized(width: int, height: int, framing: Framing) -> tuple[int, int]:
    """The size of the whole image, once resized for the crop."""
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
    """The middle of a resized image: left, top, right, bottom; beyond its edges where it is to be padded."""

    def first(side: int, wanted: int) -> int:
        return -((wanted - side) // 2) if wanted > side else round((side - wanted) / 2)

    left, top = first(width, framing.width), first(height, framing.height)
    return left, top, left + framing.width, top + framing.height


def _shrunk(image: Image.Image, size: tuple[int, int], kept: Box, framing: Framing) -> Image.Image:
    """What `kept` is of the image resized to `size`, without computing the rest."""
    scale: tuple[float, float] = image.size
    if isinstance(image, ImageFile.ImageFile):
        drafted = image.draft(None, (round(size[0] * GAP), round(size[1] * GAP)))
        scale = drafted[1][2:] if drafted else image.size
    pixels = image if image.mode in ("RGB", "L") else image.convert("RGB")
    x, y = scale[0] / size[0], scale[1] / size[1]
    box = (kept[0] * x, kept[1] * y, min(kept[2] * x, pixels.width), min(kept[3] * y, pixels.height))
    part = pixels.resize((kept[2] - kept[0], kept[3] - kept[1]), _filter(framing), box=box)
    return part.convert("RGB")


def _filter(framing: Framing) -> Image.Resampling:
    return Image.Resampling.BILINEAR if framing.filter == "bilinear" else Image.Resampling.BICUBIC
