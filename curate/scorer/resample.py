"""Resize a batch of images of many sizes on the device, to exactly the pixels that Pillow gives.

Pillow resizes an axis by a weighted sum of at most `2 · reach · ratio + 1` samples. Its weights are multiples of
2^-22, and the sum is rounded to 8 bits. Here each axis is resized by matrix products with the same weights. Each weight
is split into two parts of 11 bits, so that nothing is rounded before the end, neither in fp32 nor in TF32. First x is
resized, then y, as in `curate.scorer.framing`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from curate.scorer.framing import REACH, Framing

ONE, COARSE = 2.0**22, 2.0**10  # Pillow's weights are multiples of 1 / ONE; their coarse parts of 1 / COARSE
CHUNK = 32  # images at a time: frames of 224 pixels take some 300 MB as floats


class Taps(NamedTuple):
    """The weights of one axis: K input samples for each output sample (N x side x K)."""

    places: torch.Tensor  # int64: index of the input sample in the part; beyond its end where the weight is 0
    coarse: torch.Tensor  # float32: the weights' first 11 bits
    fine: torch.Tensor  # float32: the other 11 bits


def layout(parts: np.ndarray) -> np.ndarray:
    """The table that `resample` takes (N x 11, float64): each part's first byte, size, kept box, box in the frame.

    `parts` (N rows of PART) lie one after the other.
    """
    size = parts["size"].astype(np.float64)
    lengths = 3 * size.prod(axis=1)
    return np.column_stack([np.cumsum(lengths) - lengths, size, parts["kept"], parts["place"]])


def pinned(values: torch.Tensor) -> torch.Tensor:
    """The values in pinned memory, from which a GPU copies without the CPU."""
    return values if values.is_pinned() else values.pin_memory()


def resample(pixels: torch.Tensor, table: torch.Tensor, framing: Framing) -> torch.Tensor:
    """Resize parts to frames (N x height x width x 3, float32, whole levels 0 to 255) on the device of `pixels`.

    `table` is the parts' `layout` (or some rows of it), on the CPU. `pixels` (uint8) starts with the first part and
    extends at least one row beyond the last part; the values there do not matter.
    """

    def there(values: torch.Tensor) -> torch.Tensor:
        return pinned(values).to(pixels.device, non_blocking=True) if pixels.is_cuda else values

    order = torch.argsort(
        table[:, 1] * table[:, 2]
    )  # similar sizes together, because each chunk is padded to its largest part
    first, table = there((table[:, 0] - table[0, 0])[order].long()), table[order]
    numbers, rows_there = there(table), there(order)
    across, down = (_taps(numbers, table, axis, framing) for axis in (0, 1))
    padded = bool((table[:, 7:] != torch.tensor([0, 0, framing.width, framing.height])).any())
    frames = torch.empty(len(table), framing.height, framing.width, 3, device=pixels.device)
    for begin in range(0, len(table), CHUNK):
        rows = slice(begin, begin + CHUNK)
        width, height = (int(table[rows, side].max()) for side in (1, 2))
        canvas = _canvas(pixels, first[rows], numbers[rows, 1:3].long(), width, height)
        found = _product(down, rows, _product(across, rows, canvas))
        if padded:
            found = torch.where(_inside(numbers[rows], framing), found, float(framing.fill))
        frames.index_copy_(0, rows_there[rows], found)
    return frames


def _canvas(
    pixels: torch.Tensor, first: torch.Tensor, size: torch.Tensor, width: int, height: int
) -> torch.Tensor:
    """The parts padded to one size (N x height x width x 3); the padding holds arbitrary values."""
    y = torch.arange(height, device=pixels.device).minimum(size[:, 1:] - 1)
    windows = pixels.as_strided(
        (len(pixels) - 3 * width + 1, 3 * width), (1, 1)
    )  # a window starts at any byte
    rows = (first[:, None] + 3 * size[:, :1] * y).flatten()
    return windows.index_select(0, rows).view(-1, height, width, 3)


def _product(taps: Taps, rows: slice, samples: torch.Tensor) -> torch.Tensor:
    """Resize samples (N x other x side x 3) along `side` and round; returns N x new side x other x 3."""
    count, other, side, _ = samples.shape
    places = taps.places[rows].clamp(max=side - 1)
    matrices = torch.zeros(2, count, places.shape[1], side, device=samples.device)
    for matrix, weights in zip(matrices, taps[1:], strict=True):
        matrix.scatter_add_(2, places, weights[rows])
    columns = torch.empty(count, side, other, 3, device=samples.device).copy_(samples.transpose(1, 2))
    coarse, fine = (torch.bmm(matrix, columns.view(count, side, 3 * other)) for matrix in matrices)
    whole = coarse.floor()
    found = whole.add_(coarse.sub_(whole).add_(fine).add_(0.5).floor_()).clamp_(0, 255)
    return found.view(count, -1, other, 3)


def _taps(numbers: torch.Tensor, table: torch.Tensor, axis: int, framing: Framing) -> Taps:
    """The weights of Pillow's `precompute_coeffs` for each part and frame sample along an axis (0: x, 1: y)."""
    reach = REACH[framing.filter]
    frame = (framing.width, framing.height)[axis]
    side, first, last, begin, end = (numbers[:, column + axis, None] for column in (1, 3, 5, 7, 9))
    ratio = (last - first).float().double() / (end - begin)
    most = ((table[:, 5 + axis] - table[:, 3 + axis]) / (table[:, 9 + axis] - table[:, 7 + axis])).max()
    wide = ratio.clamp(min=1)
    sample = torch.arange(frame, device=numbers.device) - begin
    inside = (sample >= 0) & (begin + sample < end)
    centre = first + (sample + 0.5) * ratio
    low = (centre - reach * wide + 0.5).trunc().clamp(min=0).minimum(side)
    high = (centre + reach * wide + 0.5).trunc().minimum(side)
    steps = torch.arange(math.ceil(reach * max(1.0, float(most)) + 0.001) * 2 + 1, device=numbers.device)
    places = low[..., None] + steps
    weights = _filter((places - centre[..., None] + 0.5) * (1 / wide)[..., None], framing.filter)
    weights = weights * ((places < high[..., None]) & inside[..., None])
    total = weights.sum(dim=2, keepdim=True)
    weights = weights / torch.where(total == 0, 1.0, total) * ONE
    weights = (weights + weights.sign() / 2).trunc() / ONE
    coarse = (weights * COARSE).round() / COARSE
    return Taps(places.long(), coarse.float(), (weights - coarse).float())


def _filter(x: torch.Tensor, name: str) -> torch.Tensor:
    x = x.abs()
    if name == "bilinear":
        return (1 - x).clamp(min=0)
    near, far = (1.5 * x - 2.5) * x * x + 1, (((x - 5) * x + 8) * x - 4) * -0.5
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _inside(numbers: torch.Tensor, framing: Framing) -> torch.Tensor:
    """True where a frame shows its part, false where it is padding (N x height x width x 1)."""
    left, top, right, bottom = (numbers[:, column, None] for column in (7, 8, 9, 10))
    x, y = (torch.arange(side, device=numbers.device) for side in (framing.width, framing.height))
    columns, rows = (x >= left) & (x < right), (y >= top) & (y < bottom)
    return (rows[:, :, None] & columns[:, None, :])[..., None]
