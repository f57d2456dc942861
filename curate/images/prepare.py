"""Images from bytes as they came to bytes that any reader decodes to upright RGB: the work, in a child.

Size first, from the header; then every pixel is decoded, so that what is stored is whole: of a JPEG by a decoder
that swallows no warning (`curate.images.jpeg`), of the others with a look at their data (`curate.images.whole`).
The bytes are kept as they came where any reader makes the same upright 8-bit RGB or grey of them: baseline or
progressive JPEG, PNG and WebP without orientation, alpha, palette, 16-bit samples, CMYK or frames. All
else is encoded again, without metadata:

- turned upright by EXIF (or XMP) orientation;
- transparency laid on white; of an animation the first frame; 16-bit samples by their high byte;
- CMYK by Pillow's plain formula. Colour profiles are never applied: the numbers stay what plain readers see;
- as JPEG what came lossy (JPEG, WebP, AVIF), as PNG what came lossless (PNG, GIF, BMP).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from PIL import AvifImagePlugin, Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from curate.images import jpeg, protocol
from curate.images.blur import blurred
from curate.images.exif import SIDEWAYS, orientation, turned, undisputed, upright_size
from curate.images.fingerprint import LARGEST_SIDE, SMALLEST_SIDE, fingerprint
from curate.images.protocol import Prepared, Recipe
from curate.images.resize import resized, resized_pixels
from curate.images.sniffing import sniff
from curate.images.whole import (
    KEPT_CHUNKS,
    NotWholeError,
    check_avif,
    check_png,
    check_png_rows,
    check_webp,
    is_odd,
    without_ancillary,
)

READERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "jpeg": JpegImageFile,  # not Image.open, which makes an MPO of some
    "png": PngImageFile,
    "webp": WebPImageFile,
    "gif": GifImageFile,
    "bmp": BmpImageFile,
    "avif": AvifImageFile,
}
COLOURS = {"RGB": "RGB", "L": "GRAY"}  # a JPEG's pixels: Pillow's word, simplejpeg's word
LEVEL = 4  # of PNG: half the time of 6 for 5 % more bytes
NEAR = 4  # levels of 255 that lossy coding may blur one colour by
GAP = 1.5  # a JPEG is decoded at no less than this times the size it is shrunk to
WHITE = (255, 255, 255)


class ImageError(Exception):
    """An image that cannot be stored: `reason` is a slug, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def preparer(settings: bytes) -> Callable[[bytes], bytes]:
    """The handler that `curate.children.pool` runs."""
    warnings.simplefilter("ignore")
    recipe = protocol.recipe(settings)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = recipe.max_pixels // 2  # Pillow warns beyond this, and refuses beyond twice this
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    if recipe.boxed:
        return lambda payload: protocol.write_answer(_prepare_boxed(payload, recipe))
    return lambda body: protocol.write_answer(prepare(body, recipe))


def _prepare_boxed(payload: bytes, recipe: Recipe) -> Prepared:
    """An image that comes with boxes to be blurred: see `protocol.with_boxes`."""
    body, boxes = protocol.without_boxes(payload)
    return blurred(prepare(body, recipe), boxes, recipe.quality)


def prepare(body: bytes, recipe: Recipe) -> Prepared:
    """The image, checked and fit to be stored.

    Raises:
        ImageError: not_an_image, format_not_allowed, too_many_pixels, damaged.
    """
    format = allowed(body, recipe)
    with damage():
        image, sound = opened(body, format)
        width, height = image.size
        if width * height > recipe.max_pixels:
            raise ImageError("too_many_pixels", f"{width}x{height}")
        if not recipe.passes(width, height):
            return Prepared(None, format, *upright_size(image))
        if format == "jpeg":
            made = prepare_jpeg(image, body, recipe)
        else:
            made = prepare_other(image, body, format, sound, recipe)
        return replace(made, full=(height, width) if made.turn >= SIDEWAYS else (width, height))


def prepare_other(
    image: ImageFile.ImageFile, body: bytes, format: str, sound: bool, recipe: Recipe
) -> Prepared:
    """An image of another format than JPEG."""
    width, height = image.size
    check(body, format, width * height, recipe)
    image, sound = loaded(image, body, sound, recipe)  # a PNG may tell its orientation after its pixels
    if recipe.blank_share is not None:
        refuse_blank(opaque(image), recipe)
    size, turn = shrunk(width, height, recipe), orientation(image)
    if sound and size == (width, height) and turn == 1 and plain(image, body, format):
        return marked(Prepared(body, format, width, height), image, recipe)
    return encoded(image, size, turn, recipe)


def prepare_jpeg(image: ImageFile.ImageFile, body: bytes, recipe: Recipe) -> Prepared:
    """A JPEG, decoded once: by the strict decoder, which Pillow stands in for where that reads no such file."""
    size, turn = shrunk(*image.size, recipe), orientation(image)
    keep = size == image.size and turn == 1 and plain(image, body, "jpeg")
    strict = recipe.strictness == "whole"
    try:
        if strict and not keep and image.mode in COLOURS:
            pixels = strictly(image, body, size)
            refuse_blank(pixels, recipe)
            small = resized_pixels(pixels, size) if size != pixels.shape[1::-1] else pixels
            return stored("jpeg", small, pixels, turn, recipe)
        if strict:
            small, ended = jpeg.decode(body, look(image, recipe), least(image, recipe))
            refuse_blank(small, recipe)
            if keep:
                kept = Prepared(ended, "jpeg", *size, reencoded=ended is not body)
                return marked(kept, small, recipe)
    except jpeg.UnknownKindError:
        pass
    if keep:
        image.draft("L", least(image, recipe))  # it is read to its end, but only an eighth of it is computed
        image.load()
        return marked(Prepared(body, "jpeg", *size), image, recipe)
    return encoded(image, size, turn, recipe)


def strictly(image: ImageFile.ImageFile, body: bytes, size: tuple[int, int]) -> jpeg.Pixels:
    """The pixels of an RGB or grey JPEG (height x width x 3, or height x width), at no less than GAP times `size`.

    Raises:
        jpeg.JpegError, jpeg.UnknownKindError.
    """
    width, height = image.size
    wanted = (width, height) if size == image.size else (round(size[0] * GAP), round(size[1] * GAP))
    scale = next((s for s in (8, 4, 2) if width // s >= wanted[0] and height // s >= wanted[1]), 1)
    pixels, _ = jpeg.decode(body, COLOURS[image.mode], (-(-width // scale), -(-height // scale)))
    return pixels[:, :, 0] if image.mode == "L" else pixels


def least(image: Image.Image, recipe: Recipe) -> tuple[int, int]:
    """The size (width, height) at which a JPEG that stays as it is is decoded at least."""
    width, height = image.size
    return (min(width, SMALLEST_SIDE), min(height, SMALLEST_SIDE)) if recipe.fingerprints else (1, 1)


def marked(prepared: Prepared, pixels: Image.Image | jpeg.Pixels, recipe: Recipe) -> Prepared:
    """The same with the fingerprints of its upright pixels, if these are wanted."""
    return replace(prepared, fingerprint=fingerprint(small_grey(pixels))) if recipe.fingerprints else prepared


def small_grey(pixels: Image.Image | jpeg.Pixels) -> jpeg.Pixels:
    """A grey picture of these pixels (height x width), no larger than fingerprints need it."""
    if isinstance(pixels, np.ndarray):
        pixels = pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels
        if pixels.ndim == 2 and max(pixels.shape) <= LARGEST_SIDE:
            return pixels
    height, width = pixels.shape[:2] if isinstance(pixels, np.ndarray) else pixels.size[::-1]
    step = max(1, min(width, height) // SMALLEST_SIDE)
    across, down = max(step, width // LARGEST_SIDE), max(step, height // LARGEST_SIDE)
    if isinstance(pixels, np.ndarray):
        rows = 2 if down >= 4 else 1  # every other row says as much of so many, for half the work
        pixels, down = Image.fromarray(pixels[::rows]), down // rows
    return np.asarray(pixels.reduce((across, down)).convert("L"))


def look(image: Image.Image, recipe: Recipe) -> str:
    """In which colours a JPEG that stays as it is is decoded: in grey, if those do not count."""
    return "CMYK" if image.mode == "CMYK" else "RGB" if recipe.blank_share is not None else "GRAY"


def refuse_blank(pixels: Image.Image | jpeg.Pixels, recipe: Recipe) -> None:
    """Drop an image nearly all of whose pixels have one colour, if the recipe asks for it.

    A sixteenth of the pixels is looked at; a colour is one within NEAR levels of the median, in each channel.

    Raises:
        ImageError: image_blank.
    """
    if recipe.blank_share is None:
        return
    array = np.asarray(pixels)
    step = 4 if min(array.shape[:2]) >= 64 else 1
    some = array[::step, ::step].reshape(-1, array.shape[2] if array.ndim == 3 else 1)[:, :3].astype(np.int16)
    share = float((np.abs(some - np.median(some, axis=0)) <= NEAR).all(axis=1).mean())
    if share > recipe.blank_share:
        raise ImageError("image_blank", f"share={share:.4f}")


def opened(body: bytes, format: str) -> tuple[ImageFile.ImageFile, bool]:
    """The image with its header read, and whether its bytes are such as any reader opens."""
    try:
        return READERS[format](io.BytesIO(body)), True
    except Exception:
        if format != "png":
            raise
        return bare_png(body), False


def loaded(
    image: ImageFile.ImageFile, body: bytes, sound: bool, recipe: Recipe
) -> tuple[ImageFile.ImageFile, bool]:
    """The image with its pixels read, and whether its bytes are such as any reader reads to the end."""
    try:
        image.load()
    except Exception:
        if not sound or not isinstance(image, PngImageFile):
            raise
        image, sound = bare_png(body, load=True), False
    if isinstance(image, PngImageFile):
        if recipe.strictness == "whole" and (image.info.get("interlace") or last_row_is_empty(image)):
            check_png_rows(body)
        sound = sound and not is_odd(body)
    return image, sound


def bare_png(body: bytes, load: bool = False) -> PngImageFile:
    """A PNG without the chunks that Pillow chokes on; transparency and camera data stay where it reads them."""
    for kept in (KEPT_CHUNKS, ()):
        try:
            image = PngImageFile(io.BytesIO(without_ancillary(body, kept)))
            if load:
                image.load()
            return image
        except Exception:
            if not kept:
                raise
    raise AssertionError


def last_row_is_empty(image: Image.Image) -> bool:
    """Whether the last row is all zeros, as decoders leave it that ran out of data."""
    width, height = image.size
    return image.crop((0, height - 1, width, height)).getbbox(alpha_only=False) is None


def allowed(body: bytes, recipe: Recipe) -> str:
    """The format that the content tells, if the recipe allows it.

    Raises:
        ImageError: not_an_image, format_not_allowed.
    """
    format = sniff(body)
    if format is None:
        raise ImageError("not_an_image", f"begins with {body[:16]!r}" if body else "empty")
    if format not in recipe.formats or format not in READERS:
        raise ImageError("format_not_allowed", format)
    if format == "avif" and not AvifImagePlugin.SUPPORTED:
        raise ImageError("format_not_allowed", "avif, which this Pillow does not read")
    return format


@contextmanager
def damage() -> Iterator[None]:
    """Call `damaged` whatever a decoder chokes on.

    Raises:
        ImageError: damaged, too_many_pixels.
        MemoryError: that says nothing of the image.
    """
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except (jpeg.JpegError, NotWholeError) as error:
        raise ImageError("damaged", str(error)) from None
    except Image.DecompressionBombError as error:
        raise ImageError("too_many_pixels", str(error)) from None
    except Exception as error:  # decoders raise what they like on hostile bytes
        raise ImageError("damaged", f"{type(error).__name__}: {error}") from None


def check(body: bytes, format: str, pixels: int, recipe: Recipe) -> None:
    """Find what the decoder would let pass: a file cut short, a bad checksum, a hole in its data.

    Raises:
        NotWholeError: it is damaged.
    """
    if format == "png":
        check_png(body)
    elif format == "webp":
        check_webp(body, pixels, holes=recipe.strictness == "whole")
    elif format == "avif" and recipe.strictness == "whole":
        check_avif(body, pixels)


def plain(image: ImageFile.ImageFile, body: bytes, format: str) -> bool:
    """Whether any reader makes the same 8-bit RGB or grey of these bytes, once Pillow finds no turn."""
    if image.mode not in ("RGB", "L") or getattr(image, "is_animated", False):
        return False
    if not undisputed(image.info.get("exif", b"")):
        return False
    if format == "jpeg":
        return jpeg.frame_type(body) in (0xC0, 0xC1, 0xC2)  # neither lossless nor arithmetic coding
    if format == "png":
        return body[24] == 8 and "transparency" not in image.info  # bits a sample
    return format == "webp"


def shrunk(width: int, height: int, recipe: Recipe) -> tuple[int, int]:
    """The size at which neither side is beyond its limit; never a larger one."""
    short, long = sorted((width, height))
    scale = min(1.0, (recipe.max_side or long) / long, (recipe.min_side or short) / short)
    return max(1, round(width * scale)), max(1, round(height * scale))


def encoded(image: ImageFile.ImageFile, size: tuple[int, int], turn: int, recipe: Recipe) -> Prepared:
    """The image at `size` (before its turn), upright, 8-bit RGB or grey, without metadata."""
    lossy = isinstance(image, (JpegImageFile, WebPImageFile, AvifImageFile))
    if size != image.size:
        image.draft(None, (round(size[0] * GAP), round(size[1] * GAP)))  # a JPEG's decoder shrinks it at once
    image.load()
    pixels = opaque(image)
    small = np.asarray(resized(pixels, size) if size != pixels.size else pixels)
    return stored("jpeg" if lossy else "png", small, pixels, turn, recipe)


def stored(
    format: str, small: jpeg.Pixels, whole: Image.Image | jpeg.Pixels, turn: int, recipe: Recipe
) -> Prepared:
    """These pixels, turned upright and encoded; `whole` has them before they were shrunk.

    Fingerprints are taken of what is stored, unless that was shrunk too far.
    """
    pixels = turned(small, turn)
    body = jpeg.encode(pixels, recipe.quality) if format == "jpeg" else encode_png(pixels)
    made = Prepared(body, format, pixels.shape[1], pixels.shape[0], True, turn)
    if recipe.fingerprints and min(pixels.shape[:2]) < SMALLEST_SIDE:
        pixels = turned(np.asarray(whole), turn)
    return marked(made, pixels, recipe)


def encode_png(pixels: jpeg.Pixels) -> bytes:
    """A PNG of grey or RGB pixels."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=LEVEL)
    return out.getvalue()


def opaque(image: Image.Image) -> Image.Image:
    """The image as 8-bit RGB or grey; what shows through is white."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda sample: sample * (1 / 256)).convert("L")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        paper = Image.new("RGB", image.size, WHITE)
        paper.paste(over, mask=over)
        return paper
    mode = "L" if image.mode in ("1", "L") else "RGB"
    return image if image.mode == mode else image.convert(mode)
