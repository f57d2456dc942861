from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from curate.images import resize as images_resize
from curate.images.resize import resized, resized_pixels


def stripes(width: int, height: int) -> Image.Image:
    """Black and white lines a pixel wide beside noise: the worst that shrinking may meet."""
    lottery = np.random.default_rng(0)
    pixels = lottery.integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels[:, : width // 2] = 255 * (np.arange(width // 2) % 2)[:, None]
    return Image.fromarray(pixels)


SIZES = [(384, 256), (100, 67), (37, 256), (1, 1), (320, 213)]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", SIZES)
def test_hardly_a_pixel_differs_from_pillows_own_bicubic(mode: str, size: tuple[int, int]) -> None:
    image = stripes(640, 427).convert(mode)
    difference = np.asarray(resized(image, size)).astype(int) - np.asarray(
        image.resize(size, Image.Resampling.BICUBIC)
    )
    assert np.abs(difference).max() <= 8  # where one pass overshoots black or white
    assert (np.abs(difference) <= 1).mean() > 0.99


def test_lines_too_fine_to_be_kept_become_grey_and_no_other_lines() -> None:
    small = np.asarray(resized(stripes(640, 427), (100, 67))).astype(int)
    assert np.abs(small[:, 3:45] - 127.5).max() < 20


@pytest.mark.skipif(images_resize._RESIZER is None, reason="cykooz.resizer is not here")
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", SIZES)
def test_the_pixels_do_not_depend_on_the_processor(
    mode: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cykooz_resizer import CpuExtensions, Resizer

    image = stripes(640, 427).convert(mode)
    plain = Resizer()
    plain.cpu_extensions = CpuExtensions.none
    best = np.asarray(resized(image, size))
    monkeypatch.setattr(images_resize, "_RESIZER", plain)
    assert (np.asarray(resized(image, size)) == best).all()


def test_without_the_library_pillow_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_resize, "_RESIZER", None)
    image = stripes(640, 427)
    expected = image.resize((384, 256), Image.Resampling.BICUBIC)
    assert resized(image, (384, 256)).tobytes() == expected.tobytes()
    assert resized_pixels(np.asarray(image), (384, 256)).tobytes() == expected.tobytes()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", SIZES)
def test_arrays_are_resized_as_images_are(mode: str, size: tuple[int, int]) -> None:
    image = stripes(640, 427).convert(mode)
    assert (resized_pixels(np.asarray(image), size) == np.asarray(resized(image, size))).all()
