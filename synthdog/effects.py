"""Apply the effects whose strengths synthtiger's components drew, on 8 bit pixels, once for each sheet.

Images are 8 bit, gray (height, width) or BGR (height, width, 3).
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import cv2
import numpy as np

from synthdog.draws import Draw, Strengths
from synthdog.pictures import Crop
from synthdog.text_lines import kernel_size

SHADOW_STEP = 4  # the shadow is computed on every fourth pixel only, because it is smooth
BLUR_STEP = 4  # sigma (px) from which on a blur is computed at half the resolution
# The quantiles that 256 equally likely bytes stand for
NORMAL = np.array([NormalDist().inv_cdf((byte + 0.5) / 256) for byte in range(256)])


def backdrop(picture: Crop, size: tuple[int, int], blur: Draw | None) -> np.ndarray:
    """A picture laid over white, (width, height) px, and then blurred by `sigma` px; BGR."""
    sigma = 0.0 if blur is None else float(blur["sigma"])
    if sigma < BLUR_STEP:
        return in_colour(blurred(picture.laid(size, 255), sigma))
    half = (size[0] // 2 + 1, size[1] // 2 + 1)
    return in_colour(np.asarray(cv2.resize(blurred(picture.laid(half, 255), sigma / 2), size)))


def in_colour(image: np.ndarray) -> np.ndarray:
    """The image as BGR."""
    return image if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with imgaug's kernel."""
    if sigma < 1e-3:
        return image
    size = kernel_size(sigma)
    return np.asarray(cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_REFLECT_101))


def noise(shape: tuple[int, ...], draw: Draw | None, rng: np.random.Generator) -> np.ndarray | None:
    """Gaussian noise to add (8 bit signed; null: none). A draw `per_channel` gives each channel its own."""
    if draw is None or draw["scale"] < 0.1:
        return None
    levels = np.clip(np.rint(NORMAL * draw["scale"]), -127, 127).astype(np.int8)
    shape = (*shape, 3) if draw["per_channel"] else shape
    random = np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8).reshape(shape)
    return np.asarray(levels[random])


def noisy(image: np.ndarray, grain: np.ndarray | None) -> np.ndarray:
    """The image with the noise added, clipped to 0 to 255."""
    return image if grain is None else np.asarray(cv2.add(image, grain, dtype=cv2.CV_8U))


def tinted(image: np.ndarray, draw: Draw | None) -> np.ndarray:
    """A colour laid over the image with `alpha`."""
    if draw is None:
        return image
    alpha = round(draw["alpha"] * 255) / 255
    over = [channel * alpha for channel in reversed(draw["rgb"])]
    return np.asarray(cv2.add(cv2.convertScaleAbs(image, alpha=1 - alpha), (*over, 0.0)))


def shaded(image: np.ndarray, draw: Draw | None) -> np.ndarray:
    """The image under synthtiger's Shadow."""
    if draw is None or draw["intensity"] == 0:
        return image
    height, width = image.shape[:2]
    light = 255 - cv2.resize(_shadow(draw, width, height), (width, height))
    return np.asarray(cv2.multiply(image, cv2.cvtColor(light, cv2.COLOR_GRAY2BGR), scale=1 / 255))


def toned(image: np.ndarray, contrast: Draw | None, brightness: Draw | None) -> np.ndarray:
    """Apply contrast, then brightness, and clip each to 0 to 255."""
    levels = np.arange(256, dtype=np.float64)
    if contrast is not None:
        levels = np.clip(contrast["alpha"] * levels - 128 * (contrast["alpha"] - 1), 0, 255)
    if brightness is not None:
        levels = np.clip(levels + brightness["beta"], 0, 255)
    return np.asarray(cv2.LUT(image, levels.astype(np.uint8)))


def motion(draw: Draw, fade: float) -> np.ndarray:
    """The kernel of imgaug's motion blur: a line, turned, of weights from `fade` to 1 - `fade`."""
    size = int(draw["k"]) | 1
    kernel = np.zeros((size, size), np.float32)
    kernel[:, size // 2] = np.linspace(fade, 1 - fade, size)
    turn = cv2.getRotationMatrix2D((size // 2, size // 2), -draw["angle"], 1.0)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (size, size)))
    return np.asarray(kernel / kernel.sum())


def finished(image: np.ndarray, strengths: Strengths, fade: float) -> np.ndarray:
    """Apply the effects on the whole picture; `fade` (0 to 1) is a parameter of the motion blur (see `motion`)."""
    image = shaded(tinted(image, strengths.color), strengths.shadow)
    image = toned(image, strengths.contrast, strengths.brightness)
    if strengths.motion_blur is not None:
        image = cv2.filter2D(image, -1, motion(strengths.motion_blur, fade))
    return blurred(image, 0.0 if strengths.blur is None else float(strengths.blur["sigma"]))


def carried(strengths: Strengths, fade: float) -> tuple[np.ndarray, np.ndarray]:
    """How the picture's blurs move ink: the mean shift (x, y in px) and the spread (2 x 2 covariance, px²)."""
    sigma = 0.0 if strengths.blur is None else float(strengths.blur["sigma"])
    spread = np.eye(2) * sigma**2
    if strengths.motion_blur is None:
        return np.zeros(2), spread
    kernel = motion(strengths.motion_blur, fade)
    y, x = np.nonzero(kernel)
    weights = kernel[y, x]
    places = (len(kernel) // 2 - np.stack([x, y], axis=1)).astype(
        np.float64
    )  # correlation: ink goes against it
    shift = weights @ places
    return shift, spread + (places - shift).T @ ((places - shift) * weights[:, None])


def _shadow(draw: dict[str, Any], width: int, height: int) -> np.ndarray:
    """How dark the shadow is (0 to `intensity`, 8 bit) on every SHADOW_STEP-th pixel."""
    side = max(width, height)
    angle = np.deg2rad(draw["angle"])
    cosine, sine = np.cos(angle), np.sin(angle)
    scale = abs(sine) + abs(cosine)
    x = (np.arange(-(-width // SHADOW_STEP)) + 0.5) * SHADOW_STEP * side / width - side / 2
    y = (np.arange(-(-height // SHADOW_STEP)) + 0.5) * SHADOW_STEP * side / height - side / 2
    along = ((cosine * x - sine * y[:, None]) / scale + side / 2) / side
    return np.asarray(np.rint(_profile(along, draw) * draw["intensity"]).astype(np.uint8))


def _profile(along: np.ndarray, draw: dict[str, Any]) -> np.ndarray:
    """The shadow's depth (0 to 1) at places from 0 to 1 across it; its flanks ease in and out."""
    amount, smoothing = draw["amount"], draw["smoothing"]
    if draw["bidirectional"]:
        start = (1 - amount) / 2 * (1 + draw["align"])
        flank = amount / 2 * smoothing
        rise = _ease(along, start - flank, start + flank)
        return np.asarray(rise * (1 - _ease(along, start + amount - flank, start + amount + flank)))
    flank = min(amount, 1 - amount) * smoothing
    return _ease(along, 1 - amount - flank, 1 - amount + flank)


def _ease(at: np.ndarray, start: float, end: float) -> np.ndarray:
    """From 0 at `start` to 1 at `end`, quadratic in and out."""
    share: np.ndarray = np.clip((at - start) / max(end - start, 1e-6), 0, 1)
    return np.asarray(np.where(share < 0.5, 2 * share**2, 1 - 2 * (1 - share) ** 2))
