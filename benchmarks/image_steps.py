"""Which way from a JPEG to a smaller one costs least, and which keeps most of the picture?

    python -m benchmarks.image_steps FOLDER_OF_PHOTOGRAPHS

Every way decodes, shrinks to 0.6 of the sides by the same window, and encodes at quality 95. Cost: CPU milliseconds
of one core on 640 × 427 views (of them the decoding), the best of several interleaved rounds. Quality: photographs
shrunk to half are the originals; each is encoded at quality 88 and goes each way, and the outcome is compared with
the original shrunk by Lanczos' window (PSNR in dB, the mean; and how many come out better than by the first way).

The ways with planes of YCbCr want libturbojpeg (Debian's libturbojpeg0), as no Python package decodes to planes.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from benchmarks.fetch import make_images
from curate.children.process import environment
from curate.images import jpeg
from curate.images.resize import resized, resized_pixels

SCALE, QUALITY, CAME_AT = 0.6, 95, 88
VIEWS, ROUNDS = 200, 7

Pixels = jpeg.Pixels
Planes = tuple[Pixels, ...]  # the image's only one, or Y, Cb and Cr
Size = tuple[int, int]  # width, height


def packed(body: bytes, size: Size, colours: str = "RGB", eighths: int = 8, **how: Any) -> Planes:
    """The pixels by simplejpeg, at so many eighths of the size."""
    least = {"min_width": -(-size[0] * eighths // 8), "min_height": -(-size[1] * eighths // 8)}
    return (simplejpeg.decode_jpeg(body, colours, strict=True, **least, **how),)


def planes(body: bytes, size: Size) -> Planes:
    """The planes of a 4:2:0 JPEG by TurboJPEG; it pads the first one to an even number of pixels."""
    width, height = size
    half = (-(-height // 2), -(-width // 2))
    room = [np.empty(shape, np.uint8) for shape in ((2 * half[0], 2 * half[1]), half, half)]
    places = (ctypes.c_void_p * 3)(*(plane.ctypes.data for plane in room))
    strides = (ctypes.c_int * 3)(*(plane.shape[1] for plane in room))
    library, handle = turbo()
    assert library.tjDecompressToYUVPlanes(handle, body, len(body), places, 0, strides, 0, 0) == 0
    return (room[0][:height, :width], room[1], room[2])


@cache
def turbo() -> tuple[Any, Any]:
    """TurboJPEG's library, and a decoder of it."""
    library = ctypes.CDLL(ctypes.util.find_library("turbojpeg"))
    library.tjInitDecompress.restype = ctypes.c_void_p
    return library, ctypes.c_void_p(library.tjInitDecompress())


def shrunk(found: Planes, size: Size) -> Planes:
    """Each plane at its share of the size; pixels of four bytes are resized where they lie, in Pillow's memory."""
    sizes = [size, *[(-(-size[0] // 2), -(-size[1] // 2))] * 2]
    if found[0].shape[2:] != (4,):
        return tuple(resized_pixels(plane, wanted) for plane, wanted in zip(found, sizes, strict=False))
    image = Image.frombuffer("RGBA", found[0].shape[1::-1], found[0], "raw", "RGBA", 0, 1)
    return (np.asarray(resized(image, size)),)


def encoded(found: Planes) -> bytes:
    if len(found) == 3:
        return bytes(simplejpeg.encode_jpeg_yuv_planes(*found, QUALITY))
    colours = "RGB" if found[0].shape[2] == 3 else "RGBX"
    return bytes(simplejpeg.encode_jpeg(found[0], QUALITY, colours, "420"))


WAYS: dict[str, Callable[[bytes, Size], Planes]] = {
    "chroma doubled, 3 bytes (curate)": partial(packed, fastupsample=True),
    "chroma interpolated, 3 bytes": packed,
    "chroma doubled, 4 bytes": partial(packed, colours="RGBX", fastupsample=True),
    "chroma interpolated, 4 bytes": partial(packed, colours="RGBX"),  # the way before
    "quick DCT": partial(packed, fastupsample=True, fastdct=True),
    "decoded at 7/8": partial(packed, eighths=7),
    "decoded at 6/8": partial(packed, eighths=6),
    "planes of YCbCr": planes,
}


def cost(bodies: list[bytes], size: Size) -> dict[str, tuple[float, float, float, float]]:
    """CPU milliseconds of all steps, of decoding, of resizing, of encoding, each way."""
    best = {name: [float("inf")] * 4 for name in WAYS}
    smaller = (round(size[0] * SCALE), round(size[1] * SCALE))
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            spent = [0.0] * 4
            for body in bodies:
                times = [time.process_time()]
                found = way(body, size)
                times.append(time.process_time())
                found = shrunk(found, smaller)
                times.append(time.process_time())
                encoded(found)
                times.append(time.process_time())
                steps = [times[3] - times[0], *(b - a for a, b in pairwise(times))]
                spent = [a + b for a, b in zip(spent, steps, strict=True)]
            best[name] = [min(pair) for pair in zip(best[name], spent, strict=True)]
    return {name: tuple(1e3 * each / len(bodies) for each in took) for name, took in best.items()}  # type: ignore[misc]


def qualities(photographs: Path) -> dict[str, list[float]]:
    """The PSNR of each photograph, each way."""
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for file in sorted(photographs.rglob("*.jpg")):
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        original = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
        came = io.BytesIO()
        original.save(came, "JPEG", quality=CAME_AT)
        size = (round(original.width * SCALE), round(original.height * SCALE))
        right = np.asarray(original.resize(size, Image.Resampling.LANCZOS), float)
        for name, way in WAYS.items():
            outcome = encoded(shrunk(way(came.getvalue(), original.size), size))
            error = np.mean((simplejpeg.decode_jpeg(outcome, "RGB") - right) ** 2)
            found[name].append(float(10 * np.log10(255**2 / error)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", type=Path)
    options = parser.parse_args()
    if "MALLOC_TRIM_THRESHOLD_" not in os.environ:  # memory as the child processes have it
        command = [sys.executable, "-m", "benchmarks.image_steps", options.photographs]
        sys.exit(subprocess.run(command, env=os.environ | environment()).returncode)
    if ctypes.util.find_library("turbojpeg") is None:
        del WAYS["planes of YCbCr"]
    with tempfile.TemporaryDirectory() as folder:
        make_images(options.photographs, Path(folder) / "www", VIEWS)
        bodies = [file.read_bytes() for file in sorted((Path(folder) / "www").iterdir())]
    took, kept = cost(bodies, (640, 427)), qualities(options.photographs)
    first, base = (next(iter(each.values())) for each in (took, kept))
    for name, (whole, decoding, resizing, encoding) in took.items():
        better = sum(a > b for a, b in zip(kept[name], base, strict=True))
        print(
            f"{name:32} {whole:.2f} ms, {whole / first[0]:.2f} x (decode {decoding:.2f}, resize {resizing:.2f}, "
            f"encode {encoding:.2f})   {mean(kept[name]):.2f} dB, better in {better} of {len(base)}"
        )


if __name__ == "__main__":
    main()
