"""Turns an image's bytes into bytes that any reader decodes to upright RGB: the code that runs in a child process.

First the size is read from the header. Then every pixel is decoded, so that no incomplete image is stored: a JPEG by a
decoder that ignores no warning (`curate.images.jpeg`), other formats with a check of their data
(`curate.images.whole`). The bytes stay as they are if any reader makes the same upright 8-bit RGB or grey of them:
baseline or progressive JPEG, PNG and WebP without orientation, alpha, palette, 16-bit samples, CMYK or frames. Every
other image is encoded again, without metadata:

- it is turned upright by its EXIF (or XMP) orientation;
- transparent parts become white; of an animation the first frame is kept; of 16-bit samples the high byte;
- CMYK is converted by Pillow's plain formula. Colour profiles are never applied: the numbers stay as stored;
- lossy formats (JPEG, WebP, AVIF) become JPEG, lossless ones (PNG, GIF, BMP) PNG.
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
COLOURS = {"RGB": "RGB", "L": "GRAY"}  # a JPEG's colours: Pillow's name -> simplejpeg's name
LEVEL = 4  # of PNG's compression: half the time of level 6 for 5 % more bytes
NEAR = 4  # levels (of 255) by which lossy coding may change a uniform colour
GAP = 1.5  # a JPEG is decoded at at least this many times the size to which it is shrunk
WHITE = (255, 255, 255)


class ImageError(Exception):
    """An image that cannot be stored: `reason` is a slug, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def preparer(settings: bytes) -> Callable[[bytes], bytes]:
    """Return the function that `curate.children.pool` calls for each image in a child process.

    `settings` is what `protocol.child_settings` made. The function takes an image's bytes (with `boxed` settings, what
    `protocol.with_boxes` made) and returns what `protocol.read_answer` reads.
    """
    warnings.simplefilter("ignore")
    recipe = protocol.recipe(settings)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = recipe.max_pixels // 2  # Pillow warns beyond this, and refuses beyond twice this
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    if recipe.boxed:
        return lambda payload: protocol.write_answer(_prepare_boxed(payload, recipe))
    return lambda body: protocol.write_answer(prepare(body, recipe))


def _prepare_boxed(payload: bytes, recipe: Recipe) -> Prepared:
    """Prepare an image that comes with boxes to blur: see `protocol.with_boxes`."""
    body, boxes = protocol.without_boxes(payload)
    return blurred(prepare(body, recipe), boxes, recipe.quality)


def prepare(body: bytes, recipe: Recipe) -> Prepared:
    """Check an image and return it as it is to be stored.

    Raises:
        ImageError: its reason is not_an_image, format_not_allowed, too_many_pixels, damaged or image_blank.
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
    """Prepare an image of another format than JPEG; `sound` says whether every reader opens its bytes."""
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
    """Prepare a JPEG. It is decoded once, by the strict decoder; by Pillow if that does not read its kind."""
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
    """Return the pixels of an RGB or grey JPEG (height x width x 3, or height x width), at GAP times `size` or more.

    Raises:
        jpeg.JpegError, jpeg.UnknownKindError.
    """
    width, height = image.size
    wanted = (width, height) if size == image.size else (round(size[0] * GAP), round(size[1] * GAP))
    scale = next((s for s in (8, 4, 2) if width // s >= wanted[0] and height // s >= wanted[1]), 1)
    pixels, _ = jpeg.decode(body, COLOURS[image.mode], (-(-width // scale), -(-height // scale)))
    return pixels[:, :, 0] if image.mode == "L" else pixels


def least(image: Image.Image, recipe: Recipe) -> tuple[int, int]:
    """Return the smallest size (width, height) at which to decode a JPEG whose bytes are kept."""
    width, height = image.size
    return (min(width, SMALLEST_SIDE), min(height, SMALLEST_SIDE)) if recipe.fingerprints else (1, 1)


def marked(prepared: Prepared, pixels: Image.Image | jpeg.Pixels, recipe: Recipe) -> Prepared:
    """Return `prepared` with the fingerprints of its upright pixels, if the recipe asks for them."""
    return replace(prepared, fingerprint=fingerprint(small_grey(pixels))) if recipe.fingerprints else prepared


def small_grey(pixels: Image.Image | jpeg.Pixels) -> jpeg.Pixels:
    """Return a grey picture of these pixels (height x width), shrunk to about the size that fingerprints need."""
    if isinstance(pixels, np.ndarray):
        pixels = pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels
        if pixels.ndim == 2 and max(pixels.shape) <= LARGEST_SIDE:
            return pixels
    height, width = pixels.shape[:2] if isinstance(pixels, np.ndarray) else pixels.size[::-1]
    step = max(1, min(width, height) // SMALLEST_SIDE)
    across, down = max(step, width // LARGEST_SIDE), max(step, height // LARGEST_SIDE)
    if isinstance(pixels, np.ndarray):
        rows = 2 if down >= 4 else 1  # of so many rows, every other one is enough: half the work
        pixels, down = Image.fromarray(pixels[::rows]), down // rows
    return np.asarray(pixels.reduce((across, down)).convert("L"))


def look(image: Image.Image, recipe: Recipe) -> str:
    """Return the colours in which to decode a JPEG whose bytes are kept: grey unless a rule looks at the colours."""
    return "CMYK" if image.mode == "CMYK" else "RGB" if recipe.blank_share is not None else "GRAY"


def refuse_blank(pixels: Image.Image | jpeg.Pixels, recipe: Recipe) -> None:
    """Refuse an image if too large a share of its pixels has one colour, and if the recipe says what is too large.

    Every fourth row and column is looked at (all, if the image is small). A pixel counts as having the one colour if
    each channel is within NEAR levels of the channel's median.

    Raises:
        ImageError: its reason is image_blank.
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
    """Open an image and read its header; return it and whether every reader opens its bytes as they are."""
    try:
        return READERS[format](io.BytesIO(body)), True
    except Exception:
        if format != "png":
            raise
        return bare_png(body), False


def loaded(
    image: ImageFile.ImageFile, body: bytes, sound: bool, recipe: Recipe
) -> tuple[ImageFile.ImageFile, bool]:
    """Read an image's pixels; return the image and whether every reader reads its bytes to the end."""
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
    """Open a PNG without the chunks at which Pillow fails; transparency and EXIF stay if Pillow can read them."""
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
    """Whether the last row is all zeros, as a decoder leaves it if the data ends early."""
    width, height = image.size
    return image.crop((0, height - 1, width, height)).getbbox(alpha_only=False) is None


def allowed(body: bytes, recipe: Recipe) -> str:
    """Return an image's format, from its first bytes, if the recipe allows it.

    Raises:
        ImageError: its reason is not_an_image or format_not_allowed.
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
    """Turn any exception of a decoder within this context into an ImageError.

    Raises:
        ImageError: its reason is damaged or too_many_pixels.
        MemoryError: passed on, because it does not mean that the image is damaged.
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
    """Find damage that the decoder would not report: a file cut short, a bad checksum, a hole in its data.

    Raises:
        NotWholeError: the image is damaged.
    """
    if format == "png":
        check_png(body)
    elif format == "webp":
        check_webp(body, pixels, holes=recipe.strictness == "whole")
    elif format == "avif" and recipe.strictness == "whole":
        check_avif(body, pixels)


def plain(image: ImageFile.ImageFile, body: bytes, format: str) -> bool:
    """Whether every reader makes the same 8-bit RGB or grey of these bytes, given that Pillow found no orientation."""
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
    """Return the size (width, height) to which an image is shrunk so that both limits hold; it is never enlarged."""
    short, long = sorted((width, height))
    scale = min(1.0, (recipe.max_side or long) / long, (recipe.min_side or short) / short)
    return max(1, round(width * scale)), max(1, round(height * scale))


def encoded(image: ImageFile.ImageFile, size: tuple[int, int], turn: int, recipe: Recipe) -> Prepared:
    """Encode an image again: shrunk to `size` (before its turn), upright, 8-bit RGB or grey, without metadata."""
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
    """Turn pixels upright and encode them as `format` (jpeg or png); `whole` are the pixels before they were shrunk.

    Fingerprints are computed from the stored pixels, or from `whole` if these were shrunk too far.
    """
    pixels = turned(small, turn)
    body = jpeg.encode(pixels, recipe.quality) if format == "jpeg" else encode_png(pixels)
    made = Prepared(body, format, pixels.shape[1], pixels.shape[0], True, turn)
    if recipe.fingerprints and min(pixels.shape[:2]) < SMALLEST_SIDE:
        pixels = turned(np.asarray(whole), turn)
    return marked(made, pixels, recipe)


def encode_png(pixels: jpeg.Pixels) -> bytes:
    """Encode grey or RGB pixels as PNG."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=LEVEL)
    return out.getvalue()


def opaque(image: Image.Image) -> Image.Image:
    """Convert an image to 8-bit RGB or grey; transparent parts become white."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda sample: sample * (1 / 256)).convert("L")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        paper = Image.new("RGB", image.size, WHITE)
        paper.paste(over, mask=over)
        return paper
    mode = "L" if image.mode in ("1", "L") else "RGB"
    return image if image.mode == mode else image.convert(mode)
