"""Draw a page's regions on its image, for inspection by a person."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd")


def draw(image: Image.Image, regions: Sequence[Mapping[str, Any]]) -> Image.Image:
    """A copy of `image` with each region's `quad` outlined; colours take turns in reading order.

    The edge where the text begins is thicker, so that turned and mirrored boxes show. Regions without a quad,
    or with one that is not finite, are left out.
    """
    canvas = image.convert("RGB")
    pen = ImageDraw.Draw(canvas)
    width = max(1, round(max(canvas.size) / 1600))
    for index, region in enumerate(regions):
        quad = region.get("quad")
        if quad is None or not all(math.isfinite(value) for value in quad):
            continue
        corners = list(zip(quad[0::2], quad[1::2], strict=True))
        colour = COLOURS[index % len(COLOURS)]
        pen.line([*corners, corners[0]], fill=colour, width=width)
        pen.line([corners[3], corners[0]], fill=colour, width=3 * width)
    return canvas
