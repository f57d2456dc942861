"""From the lines of a whole web page to page images: where to cut, and what stands on each.

Lines are in px of the whole page at scroll 0, y down. Where to cut is told by the upright rects around them.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from renderers.html.quads import quad
from renderers.html.tab import HtmlLine
from renderers.page_text import normalise
from renderers.schema import Page, Region

INK = 0.62  # of the font's size, above and below a line's middle: no glyph of a text font reaches beyond
BODY = 0.5  # likewise: what lies beyond is left to accents, and neighbours may share it
LEAD = 24  # px shown above a line that blank pages were skipped for
CONTRAST = 16  # of 255 in some channel: less is nothing to a reader
CELL = 16  # px
LEAST_END = 240  # px, or a quarter of the page height: the last image of a long page is not lower
LOWEST = 0.5  # a cut may shorten a page to this share of the page height to fall between lines


@dataclass(frozen=True)
class Cut:
    """One page image: px of the whole page from y on. `lines` are those that it shows, `hidden` the others
    that would be seen in it, whole or in part.
    """

    y: int
    height: int
    lines: tuple[int, ...]
    hidden: tuple[int, ...]


def tighten(line: HtmlLine, reach: float = INK) -> HtmlLine:
    """The line with the box of its ink: a font's own box can reach far into the lines next to it.

    `reach` is the share of its font's size that is left on either side of its middle.
    """
    if line.size <= 0:
        return line
    if line.flow == "level":
        y, height = drawn_in(line.y, line.height, reach * line.size)
        return replace(line, y=y, height=height)
    x, width = drawn_in(line.x, line.width, reach * line.size)
    return replace(line, x=x, width=width)


def drawn_in(start: float, extent: float, reach: float) -> tuple[float, float]:
    """A stretch of px, as far as it is within `reach` of its middle: its start and extent."""
    kept = min(extent, 2 * reach)
    return start + (extent - kept) / 2, kept


def cut_pages(
    lines: Sequence[HtmlLine], labelled: set[int], height: float, page_height: int, max_pages: int
) -> Iterator[Cut]:
    """The images of a whole page of `height` px. Every labelled line is whole on exactly one, or on none.

    Lines that are not `labelled` are hidden everywhere. Where columns leave no gap to cut in, the lines at
    the cut are hidden above it and the next page begins higher, so that it shows them whole. Stretches
    without a line give no image.
    """
    fits = [i for i in labelled if lines[i].height < page_height - LEAD - 1]
    left = sorted(fits, key=lambda i: lines[i].y)
    bottom = math.ceil(height)
    y = 0
    for _ in range(max_pages):
        if not left or y >= bottom:
            return
        first = lines[left[0]]
        if first.y + first.height > y + page_height:  # nothing but blanks and pictures before it
            y = max(y, min(int(first.y) - LEAD, bottom - least_end(page_height)))
        end, following = page_end([lines[i] for i in left], y, bottom, page_height)
        whole = (i for i in left if y <= lines[i].y and lines[i].y + lines[i].height <= end)
        shown = sorted(i for i in whole if lines[i].y < following)  # the others would be seen twice
        seen = (i for i, line in enumerate(lines) if line.y < end + 1 and line.y + line.height > y - 1)
        if shown:
            yield Cut(y, end - y, tuple(shown), tuple(sorted({*seen} - {*shown})))
        left = [i for i in left if lines[i].y >= following]
        y = following


def least_end(page_height: int) -> int:
    """How low the last image of a long page may be: px."""
    return min(LEAST_END, page_height // 4)


def page_end(left: Sequence[HtmlLine], y: int, height: int, page_height: int) -> tuple[int, int]:
    """Where the page that starts at y ends, and where the next one starts."""
    bottom = y + page_height
    if bottom >= height:
        return height, height
    bottom = min(bottom, height - least_end(page_height))
    end = bottom
    lowest = sorted((line for line in left if line.y > y), key=lambda line: line.y + line.height)
    first = math.inf  # the upper edge of the lines that reach below `end`
    while True:
        while lowest and lowest[-1].y + lowest[-1].height > end:
            first = min(first, lowest.pop().y)
        if first >= end:
            return end, end
        end = int(first)
        if end < y + LOWEST * page_height:
            higher = [line.y for line in left if line.y < bottom < line.y + line.height and line.y > y]
            return bottom, int(min(higher))


def region(line: HtmlLine, cut: Cut, width: int, scale: float) -> Region:
    """A line as a region of its page image: px of the image, clipped to it."""
    found = ((clip(x, width), clip(y - cut.y, cut.height)) for x, y in quad(line))
    return Region(line.text, tuple(round(value * scale, 2) for corner in found for value in corner))


def clip(value: float, limit: float) -> float:
    """The value from 0 to the limit that is nearest."""
    return min(max(value, 0.0), float(limit))


def inked(
    page: Page, about: Mapping[str, Any], elements: Sequence[Any] | None = None, filled: int | None = None
) -> Page:
    """The page with the regions that something can be seen in, which a filter may prevent, and its `extra`.

    That is `about`, `blank` (the share of the image's CELL px squares in which nothing stands out), and `elements`,
    one a region, where they are given. Of an image that goes on below the page's last line, the upper `filled` px
    count for `blank`.
    """
    assert page.image is not None
    grey = greys(page.image)
    plain = {number for number, one in enumerate(page.regions) if stands_out(grey, one)}
    doubtful = [number for number in range(len(page.regions)) if number not in plain]
    if doubtful:  # ink may differ from its ground by its hue alone
        pixels = Image.open(io.BytesIO(page.image)).convert("RGB")
        plain.update(number for number in doubtful if stands_out(pixels, page.regions[number]))
    kept = sorted(plain)
    told = {
        **about,
        "blank": blank_share(grey.crop((0, 0, grey.width, min(grey.height, filled or grey.height)))),
    }
    if elements is not None:
        told["elements"] = [elements[number] for number in kept]
    extra = json.dumps(told, ensure_ascii=False)
    return page._replace(regions=[page.regions[number] for number in kept], extra=extra)


def greys(image: bytes) -> Image.Image:
    """An encoded image in shades of grey: of a JPEG its brightness, which is decoded in a third of the time."""
    found = Image.open(io.BytesIO(image))
    found.draft("L", found.size)
    return found.convert("L")


def stands_out(pixels: Image.Image, region: Region) -> bool:
    """True where something can be seen in the upright box around a region."""
    xs, ys = region.quad[::2], region.quad[1::2]
    box = math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)), math.ceil(max(ys))
    extremes: Any = pixels.crop(box).getextrema()
    bands = [extremes] if pixels.mode == "L" else extremes
    return bool(max(most - least for least, most in bands) >= CONTRAST)


def blank_share(image: Image.Image) -> float:
    """The share of a grey image's CELL px squares that are of one shade, rounded; 0 where it has none."""
    grey = np.asarray(image)
    rows, across = (extent // CELL for extent in grey.shape)
    if not rows or not across:
        return 0.0
    bands = grey[: rows * CELL, : across * CELL].reshape(rows, CELL, across * CELL)
    most, least = (
        least_or_most(bands, axis=1).reshape(rows, across, CELL) for least_or_most in (np.max, np.min)
    )
    contrast = most.max(axis=2).astype(int) - least.min(axis=2)
    return round(float((contrast < CONTRAST).mean()), 3)


def spell(line: HtmlLine) -> HtmlLine:
    """The line with its text as it is read."""
    return replace(line, text=normalise(line.text))
