from __future__ import annotations

import contextlib
import io
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageOps

import filters
from curate.children.pool import Children, Limits, Outcome
from curate.images import protocol
from curate.images.jpeg import END, segments
from curate.images.prepare import ImageError, prepare
from curate.images.protocol import (
    ENCODED,
    KEPT,
    SKIPPED,
    Prepared,
    Recipe,
    child_settings,
    read_answer,
    recipe,
)
from curate.images.sniffing import sniff
from curate.manifest.settings import ImageSettings

DATA = Path(__file__).parents[3] / ".." / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of hostile EXIF
REASONS = {"not_an_image", "format_not_allowed", "too_many_pixels", "damaged", "timed_out", "out_of_memory"}


def photo(width: int = 96, height: int = 64) -> Image.Image:
    """Something smooth with an unlike top, bottom, left and right, and no symmetry."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = (255 * x, 255 * y, 128 + 127 * np.sin(9 * x * y))
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8), "RGB")


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def pixels(data: bytes | Image.Image) -> np.ndarray[Any, Any]:
    image = Image.open(io.BytesIO(data)) if isinstance(data, bytes) else data
    return np.asarray(image.convert("RGB")).astype(int)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def reason(body: bytes, rules: Recipe = Recipe()) -> str:  # noqa: B008 - frozen
    with pytest.raises(ImageError) as caught:
        prepare(body, rules)
    return caught.value.reason


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    settings = ImageSettings()
    limits = Limits(timeout_s=settings.timeout_s, memory_bytes=settings.memory_bytes)
    with Children(protocol.TARGET, 2, limits, child_settings(settings, {})) as children:
        yield children


def landed(body: bytes, outcome: Outcome) -> Prepared | None:
    """What came of a body; null where it was dropped for a reason that has a name."""
    if outcome.value is None:
        assert outcome.reason in REASONS, outcome
        assert outcome.detail
        return None
    prepared = read_answer(outcome.value, body)
    assert prepared.reason is None
    return prepared


PLAIN = {
    "jpeg": encode(photo(), "JPEG"),
    "progressive jpeg": encode(photo(), "JPEG", progressive=True),
    "grey jpeg": encode(photo().convert("L"), "JPEG"),
    "jpeg, upright by EXIF": encode(photo(), "JPEG", exif=exif(1)),
    "jpeg of RGB samples": encode(photo(), "JPEG", keep_rgb=True),
    "png": encode(photo(), "PNG"),
    "grey png": encode(photo().convert("L"), "PNG"),
    "webp": encode(photo(), "WEBP"),
    "lossless webp": encode(photo(), "WEBP", lossless=True),
}


@pytest.mark.parametrize("name", PLAIN)
def test_bytes_that_any_reader_understands_are_kept_as_they_came(name: str) -> None:
    prepared = prepare(PLAIN[name], Recipe())
    assert prepared.image is PLAIN[name]
    assert (prepared.width, prepared.height, prepared.reencoded) == (96, 64, False)
    assert prepared.format == name.split(",")[0].split(" of ")[0].split()[-1]


def cut_out() -> Image.Image:
    """Red where opaque, nothing in the left half, half of it in between."""
    alpha = np.zeros((64, 96), np.uint8)
    alpha[:, 48:], alpha[:, 64:] = 128, 255
    return Image.merge("RGBA", [*Image.new("RGB", (96, 64), (255, 0, 0)).split(), Image.fromarray(alpha)])


def on_white(image: Image.Image) -> np.ndarray[Any, Any]:
    image = image.convert("RGBA")
    return pixels(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image))


LOSSLESS: dict[str, tuple[bytes, np.ndarray[Any, Any]]] = {
    "bmp": (encode(photo(), "BMP"), pixels(photo())),
    "palette png": (encode(photo().quantize(64), "PNG"), pixels(photo().quantize(64))),
    "palette png with a hole": (
        encode(photo().quantize(64), "PNG", transparency=3),
        on_white(Image.open(io.BytesIO(encode(photo().quantize(64), "PNG", transparency=3)))),
    ),
    "one-bit png": (encode(photo().convert("1"), "PNG"), pixels(photo().convert("1"))),
    "png with alpha": (encode(cut_out(), "PNG"), on_white(cut_out())),
    "grey png with alpha": (encode(cut_out().convert("LA"), "PNG"), on_white(cut_out().convert("LA"))),
    "png with a see-through colour": (
        encode(Image.new("RGB", (96, 64), (9, 9, 9)), "PNG", transparency=(9, 9, 9)),
        np.full((64, 96, 3), 255),
    ),
    "16-bit grey png": (
        encode(Image.fromarray((np.asarray(photo().convert("L")).astype(np.uint16) << 8) | 7), "PNG"),
        pixels(photo().convert("L")),
    ),
    "gif": (encode(photo().quantize(64), "GIF"), pixels(photo().quantize(64))),
    "animated gif": (
        encode(photo().quantize(64), "GIF", save_all=True, append_images=[Image.new("P", (96, 64))] * 3),
        pixels(photo().quantize(64)),
    ),
    "animated png": (
        encode(photo(), "PNG", save_all=True, append_images=[Image.new("RGB", (96, 64))]),
        pixels(photo()),
    ),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_what_came_without_loss_is_stored_as_png_with_the_very_same_pixels(name: str) -> None:
    body, expected = LOSSLESS[name]
    prepared = prepare(body, Recipe())
    assert prepared.image is not None
    assert (prepared.format, prepared.reencoded) == ("png", True)
    assert np.abs(pixels(prepared.image) - expected).max() <= 1
    assert Image.open(io.BytesIO(prepared.image)).mode in ("RGB", "L")


LOSSY: dict[str, tuple[bytes, np.ndarray[Any, Any]]] = {
    "cmyk jpeg": (encode(photo().convert("CMYK"), "JPEG", quality=95), pixels(photo())),
    "webp with alpha": (encode(cut_out(), "WEBP", quality=95), on_white(cut_out())),
    "animated webp": (
        encode(photo(), "WEBP", save_all=True, append_images=[Image.new("RGB", (96, 64))], quality=95),
        pixels(photo()),
    ),
    "avif": (encode(photo(), "AVIF", quality=95), pixels(photo())),
}


@pytest.mark.parametrize("name", LOSSY)
def test_what_came_lossy_is_stored_as_jpeg(name: str) -> None:
    body, expected = LOSSY[name]
    prepared = prepare(body, Recipe())
    assert prepared.image is not None
    assert (prepared.format, prepared.reencoded) == ("jpeg", True)
    assert np.abs(pixels(prepared.image) - expected).mean() < 3


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_orientation_is_applied_and_gone(format: str, orientation: int) -> None:
    body = encode(photo(), format, exif=exif(orientation), quality=95)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(body)))
    assert upright is not None
    prepared = prepare(body, Recipe())
    assert prepared.image is not None
    assert (prepared.width, prepared.height) == upright.size
    assert 0x0112 not in Image.open(io.BytesIO(prepared.image)).getexif()
    assert np.abs(pixels(prepared.image) - pixels(upright)).mean() < 3


def test_a_png_may_tell_its_orientation_after_its_pixels() -> None:
    body, tags = encode(photo(), "PNG"), exif(6)[6:]
    chunk = b"eXIf" + tags
    late = struct.pack(">I", len(tags)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    prepared = prepare(body[:-12] + late + body[-12:], Recipe())
    assert (prepared.width, prepared.height, prepared.reencoded) == (64, 96, True)


def test_broken_exif_that_readers_may_read_in_different_ways_is_taken_off() -> None:
    cv2 = pytest.importorskip("cv2")
    generator = random.Random(5)
    kept = 0
    for _ in range(500):
        tags = bytearray(exif(generator.choice([1, 3, 6])))
        for _ in range(generator.randint(1, 3)):
            tags[generator.randrange(6, len(tags))] = generator.choice([0, 1, 3, 6, 255])
        prepared = prepare(encode(photo(), "JPEG", exif=bytes(tags)), Recipe())
        seen = cv2.imdecode(np.frombuffer(prepared.image or b"", np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert seen.shape == (prepared.height, prepared.width, 3), bytes(tags)
        assert np.abs(pixels(prepared.image or b"") - seen).mean() < 2, bytes(tags)
        kept += not prepared.reencoded
    assert kept > 30


def test_nothing_of_the_camera_is_left_in_what_is_encoded_again() -> None:
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = 3, "a camera"
    prepared = prepare(encode(photo(), "JPEG", exif=tags.tobytes(), icc_profile=b"p" * 200), Recipe())
    assert prepared.image is not None
    assert not Image.open(io.BytesIO(prepared.image)).info.keys() & {"exif", "icc_profile", "comment"}


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0, "restart_marker_rows": 1}, {"quality": 20}],
    ids=str,
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("end", [b"", END], ids=["cut", "cut and ended"])
def test_a_jpeg_cut_anywhere_among_its_pixels_is_found(
    mode: str, options: dict[str, Any], end: bytes
) -> None:
    body = encode(photo().convert(mode), "JPEG", **options)
    pixels_end = len(body) - 6  # of the last bytes, the file may need none
    for length in [*range(3, pixels_end, 7 if len(body) > 1500 else 1), pixels_end]:
        assert reason(body[:length] + end) == "damaged", length


def test_a_jpeg_that_lacks_nothing_but_its_end_gets_it_back() -> None:
    for name in ("jpeg", "progressive jpeg", "grey jpeg"):
        for lost in (1, 2):
            prepared = prepare(PLAIN[name][:-lost], Recipe())
            assert prepared.image is not None
            assert (pixels(prepared.image) == pixels(PLAIN[name])).all()


@pytest.mark.parametrize("fill", [b"\0", b"\xaa"])
@pytest.mark.parametrize("shrunk", [None, 48])
def test_a_jpeg_overwritten_in_part_is_damaged(fill: bytes, shrunk: int | None) -> None:
    body = encode(photo(640, 420), "JPEG", quality=90)
    for first, last in ((0.3, 1.0), (0.6, 1.0), (0.9, 1.0), (0.4, 0.5), (0.7, 0.72)):
        a, b = round(first * len(body)), min(round(last * len(body)), len(body) - 2)
        assert reason(body[:a] + fill * (b - a) + body[b:], Recipe(max_side=shrunk)) == "damaged"
        assert reason(body[:a] + fill * (b - a) + fill * 2, Recipe(max_side=shrunk)) == "damaged"


@pytest.mark.parametrize("height", [40, 72, 9999])
def test_a_jpeg_whose_header_tells_another_height_is_damaged(height: int) -> None:
    body = bytearray(PLAIN["jpeg"])
    place = body.index(b"\xff\xc0")
    body[place + 5 : place + 7] = struct.pack(">H", height)
    assert reason(bytes(body)) == "damaged"


def test_a_progressive_jpeg_that_ends_between_two_scans_is_damaged() -> None:
    body = PLAIN["progressive jpeg"]
    scans = [start for marker, start, _ in segments(body) if marker == 0xDA]
    assert len(scans) > 3
    assert reason(body[: scans[-1] - 4] + END) == "damaged"


def test_what_decoders_grumble_at_in_a_header_costs_no_image() -> None:
    body = PLAIN["jpeg"]
    revision = body.replace(b"JFIF\0\1\1", b"JFIF\0\3\1")
    scan = bytearray(body)
    start = next(start for marker, start, _ in segments(body) if marker == 0xDA)
    scan[start + 8] = 0  # the last coefficient of the scan, which baseline has no use for
    padded = body[:-2] + b"\0\0" + body[-2:]
    for odd in (revision, bytes(scan), padded, body + b"and more"):
        assert odd != body
        assert (pixels(prepare(odd, Recipe()).image or b"") == pixels(body)).all()


def test_readable_is_what_pillow_shows() -> None:
    half = PLAIN["jpeg"][: len(PLAIN["jpeg"]) * 3 // 4] + END
    assert reason(half) == "damaged"
    assert prepare(half, Recipe(strictness="readable")).image is half
    assert prepare(half, Recipe(strictness="readable", max_side=48)).image is not None


def png_chunk(name: bytes, data: bytes, wrong: int = 0) -> bytes:
    checksum = zlib.crc32(name + data) ^ wrong
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"tEXt", b"Comment\0words", wrong=1),
        png_chunk(b"gAMA", b"\0\0\xb1\x8f", wrong=1),
        png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(b"p" * 50), wrong=1),
        png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2 << 20))),
        png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2 << 20))),
        png_chunk(b"tRNS", b"\0\1\0\2\0\3", wrong=1),
        png_chunk(b"pHYs", b"?"),
        png_chunk(b"acTL", b"?"),
        png_chunk(b"acTL", bytes(8)),
        png_chunk(b"fcTL", bytes(26)),
        png_chunk(b"tRNS", b"?"),
        png_chunk(b"ABCD", b"a critical chunk that nobody knows"),
    ],
)
def test_an_ancillary_chunk_never_costs_a_png_its_pixels(chunk: bytes, late: bool) -> None:
    body, place = PLAIN["png"], len(PLAIN["png"]) - 12 if late else 33
    prepared = prepare(body[:place] + chunk + body[place:], Recipe())
    assert prepared.image is not None
    assert (pixels(prepared.image) == pixels(body)).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_png_of_palette_numbers_without_a_palette_is_damaged(bits: int) -> None:
    body = encode(Image.effect_noise((33, 20), 60).quantize(2**bits), "PNG", bits=bits)
    start = body.index(b"PLTE") - 4
    end = start + 12 + int.from_bytes(body[start : start + 4], "big")
    assert prepare(body, Recipe()).image is not None
    assert reason(body[:start] + body[end:]) == "damaged"


def test_a_png_that_lacks_nothing_but_its_end_gets_it_back() -> None:
    for lost in (1, 5, 12):
        prepared = prepare(PLAIN["png"][:-lost], Recipe())
        assert (pixels(prepared.image or b"") == pixels(PLAIN["png"])).all()


def of_rows(rows: int, told: int, mode: str = "RGB", interlaced: bool = False) -> bytes:
    """A PNG of 33 columns whose header tells of so many rows; what it has is noise."""
    body = encode(Image.effect_noise((33, rows), 60).convert(mode), "PNG")
    start = body.index(b"IDAT") - 4
    header = body[16:20] + struct.pack(">I", told) + body[24:28] + bytes([interlaced])
    return body[:8] + png_chunk(b"IHDR", header) + body[33:start] + body[start:]


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA"])
def test_a_png_whose_header_tells_of_more_rows_than_there_are_is_damaged(mode: str) -> None:
    assert prepare(of_rows(50, 50, mode), Recipe()).image is not None
    for told in (51, 60, 100, 5000):
        assert reason(of_rows(50, told, mode)) == "damaged"
        assert prepare(of_rows(50, told, mode), Recipe(strictness="readable")).image is not None
    assert reason(of_rows(50, 50, mode, interlaced=True)) == "damaged"  # its passes take more bytes


def test_a_black_png_is_whole() -> None:
    for mode in ("RGB", "L", "P", "RGBA", "1"):
        assert prepare(encode(Image.new(mode, (37, 19)), "PNG"), Recipe()).image is not None


def test_an_interlaced_png_is_whole() -> None:
    """Rows of the seven passes, made by hand: Pillow writes none."""
    for width, height in ((1, 1), (3, 2), (8, 8), (13, 21)):
        passes = (
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        )
        grid = np.arange(width * height, dtype=np.uint8).reshape(height, width)
        rows = [b"\0" + row.tobytes() for x, y, i, j in passes for row in grid[y::j, x::i] if len(row)]
        header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
        data = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
        body = PLAIN["png"][:8] + b"".join(png_chunk(*one) for one in data)
        assert (pixels(prepare(body, Recipe()).image or b"")[..., 0] == grid).all()


@pytest.mark.parametrize("options", [{"quality": 90}, {"lossless": True}])
def test_a_webp_or_avif_with_a_hole_is_damaged(options: dict[str, Any]) -> None:
    noisy = Image.effect_noise((300, 200), 60).convert("RGB")
    for format in ("WEBP", "AVIF"):
        body = encode(noisy, format, **options)
        assert prepare(body, Recipe()).image is not None
        for first, last in ((0.5, 1.0), (0.9, 1.0), (0.4, 0.42)):
            a, b = round(first * len(body)), round(last * len(body))
            assert reason(body[:a] + bytes(b - a) + body[b:]) == "damaged"


@pytest.mark.parametrize("colour", ["white", "black", (250, 128, 3)])
@pytest.mark.parametrize("size", [(64, 64), (640, 480), (2000, 1500)])
def test_images_of_one_colour_have_no_holes(colour: Any, size: tuple[int, int]) -> None:
    for format in ("JPEG", "PNG", "WEBP", "AVIF", "GIF"):
        assert prepare(encode(Image.new("RGB", size, colour), format), Recipe()).image is not None


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "GIF", "AVIF"])
def test_a_file_cut_anywhere_is_damaged(format: str) -> None:
    body = encode(photo() if format != "GIF" else photo().quantize(64), format)
    end = len(body) - {"GIF": 4, "PNG": 13}.get(format, 1)  # their last bytes come after the pixels
    for length in [*range(40, end, 13), end]:
        assert reason(body[:length]) == "damaged", length


def test_a_png_with_a_flipped_bit_among_its_pixels_is_damaged() -> None:
    body = bytearray(PLAIN["png"])
    place = body.index(b"IDAT")
    for offset in range(4, 400, 23):
        flipped = bytearray(body)
        flipped[place + offset] ^= 4
        assert reason(bytes(flipped)) == "damaged"


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def too_large() -> dict[str, bytes]:
    webp = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16382).to_bytes(3, "little") * 2
    jpeg = bytearray(PLAIN["jpeg"])
    place = jpeg.index(b"\xff\xc0")
    jpeg[place + 5 : place + 9] = struct.pack(">HH", 60_000, 60_000)
    bitmap = bytearray(encode(photo(), "BMP"))
    bitmap[18:26] = struct.pack("<ii", 30_000, 30_000)
    gif = bytearray(encode(photo().quantize(64), "GIF"))
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    return {
        "png": png_header(2**31 - 1, 2**31 - 1) + b"\0\0\1\0IDAT",
        "webp": b"RIFF" + struct.pack("<I", len(webp) + 4) + b"WEBP" + webp,
        "jpeg": bytes(jpeg),
        "bmp": bytes(bitmap),
        "gif": bytes(gif),
    }


@pytest.mark.parametrize("format", ["png", "webp", "jpeg", "bmp", "gif"])
def test_too_many_pixels_are_refused_by_the_header_alone(format: str, children: Children) -> None:
    body = too_large()[format]
    outcome = children.submit(body).result()
    assert outcome.reason == "too_many_pixels", outcome


def test_the_pixel_limit_is_exact() -> None:
    assert prepare(PLAIN["png"], Recipe(max_pixels=96 * 64)).image
    assert reason(PLAIN["png"], Recipe(max_pixels=96 * 64 - 1)) == "too_many_pixels"


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_size_before_shrinking_is_told(format: str, turned: bool) -> None:
    body = encode(photo(), format, exif=exif(6 if turned else 1))
    answer = protocol.write_answer(prepare(body, Recipe(max_side=48)))
    told = read_answer(answer, body)
    sizes = [(48, 32), (96, 64)]
    assert [(told.width, told.height), told.full] == [size[::-1] if turned else size for size in sizes]


@pytest.mark.parametrize("rules", [Recipe(smallest_side=65), Recipe(largest_ratio=1.49)])
@pytest.mark.parametrize("turned", [False, True])
def test_an_image_that_the_size_rules_will_drop_is_not_decoded(rules: Recipe, turned: bool) -> None:
    body = encode(photo(), "JPEG", exif=exif(6 if turned else 1))
    header = body[: body.index(b"\xff\xda") + 20]  # there are no pixels to decode
    size = (64, 96) if turned else (96, 64)
    assert prepare(header, rules) == Prepared(None, "jpeg", *size)
    assert prepare(body, Recipe(smallest_side=64, largest_ratio=1.5)).image is not None


def test_the_size_rules_agree_with_the_filters() -> None:
    generator = random.Random(1)
    sizes = [(generator.randint(1, 900), generator.randint(1, 900)) for _ in range(3000)]
    width, height = (pa.array(side, pa.int32()) for side in zip(*sizes, strict=True))
    table = pa.table({"width": width, "height": height})
    rules = {"image_too_small": {"min_side": 200}, "image_too_elongated": {"max_ratio": 1.7}}
    judged = [filters.RULES[name].keep(table, **settings).to_pylist() for name, settings in rules.items()]
    told = recipe(child_settings(ImageSettings(), rules))
    assert [told.passes(*size) for size in sizes] == [all(each) for each in zip(*judged, strict=True)]


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        ({"max_side": 48}, (48, 32)),
        ({"min_side": 32}, (48, 32)),
        ({"max_side": 48, "min_side": 16}, (24, 16)),
        ({"max_side": 24, "min_side": 60}, (24, 16)),
        ({"max_side": 96}, (96, 64)),
        ({"min_side": 200}, (96, 64)),
        ({"max_side": 1}, (1, 1)),
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_larger_images_are_shrunk_and_none_is_enlarged(
    format: str, limits: dict[str, int], size: tuple[int, int]
) -> None:
    body = encode(photo(), format, exif=exif(8), quality=95)
    prepared = prepare(body, Recipe(**limits))
    assert prepared.image is not None
    assert (prepared.height, prepared.width) == size  # it lay on its side
    assert Image.open(io.BytesIO(prepared.image)).size == size[::-1]


def test_a_shrunk_image_looks_like_the_whole_one() -> None:
    whole = photo(1500, 1000)
    for format in ("JPEG", "PNG"):
        prepared = prepare(encode(whole, format, quality=95), Recipe(max_side=300))
        assert prepared.image is not None
        expected = pixels(whole.resize((300, 200), Image.Resampling.LANCZOS))
        assert np.abs(pixels(prepared.image) - expected).mean() < 2


BLANK = Image.new("RGBA", (96, 64), (9, 9, 9, 0))
SPECKED = Image.new("RGB", (200, 200), (30, 90, 200))
SPECKED.paste((255, 255, 255), (0, 0, 50, 40))  # a twentieth


@pytest.mark.parametrize("max_side", [None, 48])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_a_blank_image_is_dropped_where_the_manifest_asks_for_it(format: str, max_side: int | None) -> None:
    plain = encode(SPECKED.crop((60, 60, 156, 124)), format)
    recipe = Recipe(blank_share=0.98, max_side=max_side)
    assert reason(plain, recipe) == "image_blank"
    assert prepare(plain, Recipe(max_side=max_side)).image is not None
    for other in (SPECKED, photo()):
        assert prepare(encode(other, format), recipe).image is not None
    assert reason(encode(SPECKED, format), Recipe(blank_share=0.9, max_side=max_side)) == "image_blank"


def test_an_image_that_is_transparent_through_and_through_is_blank() -> None:
    for format in ("PNG", "WEBP"):
        assert reason(encode(BLANK, format), Recipe(blank_share=0.98)) == "image_blank"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "not_an_image"),
        (b"<!DOCTYPE html><html><body>Not found", "not_an_image"),
        (b'{"error": 404}', "not_an_image"),
        (b"BM but not a bitmap, of course", "not_an_image"),
        (encode(photo(), "TIFF"), "format_not_allowed"),
        (encode(photo(), "ICO"), "format_not_allowed"),
        (encode(photo(), "JPEG2000"), "format_not_allowed"),
        (encode(photo(), "PPM"), "format_not_allowed"),
        (b'<?xml version="1.0"?>\n<!-- a drawing -->\n<svg xmlns="x">', "format_not_allowed"),
        (b'<!DOCTYPE svg [\n<!ENTITY a "b">\n]>\n<svg xmlns="x">', "format_not_allowed"),
        (b"<!DOCTYPE html><html><svg></svg>", "not_an_image"),
        (b"<!>" * 682, "not_an_image"),  # took hours
        (b"<!-->" * 409, "not_an_image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "format_not_allowed"),
        (b"\xff\xd8\xff", "damaged"),
        (b"RIFF\0\0\0\0WEBP", "damaged"),
        (PLAIN["png"][:33], "damaged"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(40), "damaged"),
    ],
)
def test_content_alone_decides_what_a_file_is(body: bytes, expected: str) -> None:
    assert reason(body) == expected


def test_a_format_that_the_manifest_leaves_out_is_not_allowed() -> None:
    assert reason(PLAIN["webp"], Recipe(formats=("jpeg", "png"))) == "format_not_allowed"


def test_the_same_image_gives_the_same_bytes(children: Children) -> None:
    bodies = [body for body, _ in (LOSSLESS | LOSSY).values()] * 2
    answers = [children.submit(body).result().value for body in bodies]
    assert answers[: len(answers) // 2] == answers[len(answers) // 2 :]
    assert None not in answers


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x07", struct.pack("<BBII", 9, 0, 1, 1), struct.pack("<BBII", KEPT, 99, 1, 1)]
    + [struct.pack("<BBII", how, 3, 1, 1) + b"GIF89a" for how in (KEPT, ENCODED)]
    + [struct.pack("<BBII", ENCODED, 0, 1, 1) + b"no jpeg"],
)
def test_an_answer_that_makes_no_sense_is_a_crash(answer: bytes) -> None:
    prepared = read_answer(answer, PLAIN["jpeg"])
    assert (prepared.image, prepared.reason) == (None, "crashed")


def test_an_image_that_was_not_decoded_has_a_size_and_no_bytes() -> None:
    answer = protocol.write_answer(Prepared(None, "gif", 5, 6))
    assert answer[0] == SKIPPED
    assert read_answer(answer, b"body") == Prepared(None, "gif", 5, 6)


def mutations(body: bytes, generator: random.Random, count: int) -> Iterator[bytes]:
    """The body cut short, with bits flipped, with bytes overwritten, or with a piece missing."""
    for _ in range(count):
        mutant, place = bytearray(body), generator.randrange(len(body))
        match generator.randrange(4):
            case 0:
                del mutant[place:]
            case 1:
                for _ in range(generator.randint(1, 8)):
                    mutant[generator.randrange(len(mutant))] ^= 1 << generator.randrange(8)
            case 2:
                mutant[place : place + 4] = generator.choice(
                    [b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"]
                )
            case _:
                del mutant[place : place + generator.randint(1, 64)]
        yield bytes(mutant)


def readable(prepared: Prepared | None) -> None:
    """Check that a kept image is what it says to be."""
    if prepared is not None and prepared.image is not None:
        image = Image.open(io.BytesIO(prepared.image))
        assert image.size == (prepared.width, prepared.height)
        assert image.convert("RGB").size == image.size


def test_fifty_mutations_of_each_kind_of_file_end_as_images_or_named_reasons(children: Children) -> None:
    generator = random.Random(7)
    seeds = [*PLAIN.values(), *(body for body, _ in (LOSSLESS | LOSSY).values()), *too_large().values()]
    assert len(seeds) >= 29
    bodies = [mutant for seed in seeds for mutant in mutations(seed, generator, 50)]
    futures = [children.submit(body) for body in bodies]
    for body, future in zip(bodies, futures, strict=True):
        readable(landed(body, future.result()))


def real(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (DATA / folder).rglob("*") if path.is_file())


@needs_data
def test_every_tricky_file_ends_as_an_upright_image_or_a_named_reason(children: Children) -> None:
    cv2 = pytest.importorskip("cv2")
    paths = real("images_tricky", "images")
    futures = [children.submit(path.read_bytes()) for path in paths]
    kept = 0
    for path, future in zip(paths, futures, strict=True):
        prepared = landed(path.read_bytes(), future.result())
        if prepared is None:
            continue
        kept += 1
        image = Image.open(io.BytesIO(prepared.image or b""))
        assert image.mode in ("RGB", "L")
        assert image.size == (prepared.width, prepared.height)
        seen = cv2.imdecode(np.frombuffer(prepared.image or b"", np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert cv2.absdiff(np.asarray(image.convert("RGB")), seen).mean() < 1, path
        with contextlib.suppress(ValueError, OSError):  # Pillow refuses a large comment, or a missing end
            reference = ImageOps.exif_transpose(Image.open(path))
            assert reference is not None
            assert reference.size == image.size, path
    assert kept > 250


@needs_data
def test_mutations_of_real_files_end_as_images_or_named_reasons(children: Children) -> None:
    generator = random.Random(3)
    small = [path for path in real("images_tricky", "images") if path.stat().st_size < 60_000]
    seeds = [path.read_bytes() for path in small if sniff(path.read_bytes()) in protocol.FORMATS][::8][:30]
    assert len(seeds) == 30
    bodies = [mutant for seed in seeds for mutant in mutations(seed, generator, 50)]
    futures = [children.submit(body) for body in bodies]
    for body, future in zip(bodies, futures, strict=True):
        readable(landed(body, future.result()))


def test_datasets_decodes_what_is_stored_unasked(tmp_path: Path, children: Children) -> None:
    datasets = pytest.importorskip("datasets")
    bodies = [*PLAIN.values(), *(body for body, _ in (LOSSLESS | LOSSY).values())]
    stored = [landed(body, children.submit(body).result()) for body in bodies]
    rows = [{"bytes": each.image, "path": f"x.{each.format}"} for each in stored if each]
    table = datasets.Dataset.from_dict({"image": rows}).cast_column("image", datasets.Image())
    assert [row["image"].convert("RGB").size for row in table] == [(96, 64)] * len(bodies)
