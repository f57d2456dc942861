"""From the lines of a whole web page to page images: where to cut, and what stands on each.

Lines are in px of the whole page at scroll 0, y down. Cuts are made between the upright rects around them.
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

INK = 0.62  # of the font's size, above and below a line's middle: letters without marks reach no further
BODY = 0.5  # likewise, of letters without accents; what lies beyond, lines may share with their neighbours
LEAD = 24  # px shown above the first line of an image where the page before it is blank
CONTRAST = 16  # of 255 in some channel: a smaller difference cannot be seen
CELL = 16  # px
LEAST_END = 240  # px, or a quarter of the page height: the last image of a long page is not lower
LOWEST = 0.5  # a cut may shorten a page to this share of the page height to fall between lines


@dataclass(frozen=True)
class Cut:
    """One page image: the `height` px of the whole page from `y` on.

    `lines` are the numbers of the lines that it shows and labels, `hidden` those of the others that lie in it,
    whole or in part.
    """

    y: int
    height: int
    lines: tuple[int, ...]
    hidden: tuple[int, ...]


def tighten(line: HtmlLine, reach: float = INK) -> HtmlLine:
    """Make a line's box as high as its letters: a font's own box can reach far into the lines next to it.

    `reach` is the share of the font's size that is kept on either side of the line's middle.
    """
    if line.size <= 0:
        return line
    if line.flow == "level":
        y, height = drawn_in(line.y, line.height, reach * line.size)
        return replace(line, y=y, height=height)
    x, width = drawn_in(line.x, line.width, reach * line.size)
    return replace(line, x=x, width=width)


def cover_ink(line: HtmlLine) -> HtmlLine:
    """Make a line's box higher where its ink goes beyond it: marks above or below its letters."""
    if line.rows is None:
        return line
    top, bottom = min(line.y, line.rows[0]), max(line.y + line.height, line.rows[1])
    return replace(line, y=top, height=bottom - top)


def on_page(line: HtmlLine) -> HtmlLine:
    """Cut a level line's box at the page's upper edge: a font's own box can reach beyond it."""
    if line.y >= 0 or line.turn is not None or line.flow != "level":
        return line
    return replace(line, y=0.0, height=max(0.0, line.y + line.height))


def with_initial(box: HtmlLine) -> HtmlLine:
    """Make a line's box reach as far as its large first letters, so that no cut parts them."""
    if box.reach is None:
        return box
    top, bottom = max(0.0, min(box.y, box.reach[0])), max(box.y + box.height, box.reach[1])
    return replace(box, y=top, height=bottom - top)


def drawn_in(start: float, extent: float, reach: float) -> tuple[float, float]:
    """Return start and extent of a stretch of px, cut to what is within `reach` px of its middle."""
    kept = min(extent, 2 * reach)
    return start + (extent - kept) / 2, kept


def cut_pages(
    lines: Sequence[HtmlLine], labelled: set[int], height: float, page_height: int, max_pages: int
) -> Iterator[Cut]:
    """Cut a page of `height` px into at most `max_pages` images of at most `page_height` px.

    Every labelled line is whole on exactly one image, or on none. Lines that are not `labelled` are hidden
    everywhere. Where columns leave no gap to cut in, the lines at the cut are hidden above it and the next image
    begins higher, so that it shows them whole. Stretches without a line give no image.
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
    """Return the least height of the last image of a long page, in px."""
    return min(LEAST_END, page_height // 4)


def page_end(left: Sequence[HtmlLine], y: int, height: int, page_height: int) -> tuple[int, int]:
    """Return where the image that starts at `y` ends, and where the next one starts, in px of the page.

    `left` are the lines that are not yet on an image, `height` is the height of the whole page.
    """
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
    """Make a line a region of its page image, in px of the image, clipped to it."""
    found = ((clip(x, width), clip(y - cut.y, cut.height)) for x, y in quad(line))
    return Region(line.text, tuple(round(value * scale, 2) for corner in found for value in corner))


def clip(value: float, limit: float) -> float:
    """Return the number from 0 to `limit` that is nearest to a value."""
    return min(max(value, 0.0), float(limit))


def inked(
    page: Page, about: Mapping[str, Any], elements: Sequence[Any] | None = None, filled: int | None = None
) -> Page:
    """Keep the regions of a page in which something can be seen (a filter may prevent it), and write its `extra`.

    `extra` holds `about`, `blank` (the share of the image's squares of CELL px in which nothing stands out), and
    `elements` (one for each region) where they are given. Only the upper `filled` px of the image count for
    `blank`: it may go on below the page's last line.
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
    """Decode an image in shades of grey; of a JPEG only the brightness, which takes a third of the time."""
    found = Image.open(io.BytesIO(image))
    found.draft("L", found.size)
    return found.convert("L")


def stands_out(pixels: Image.Image, region: Region) -> bool:
    """Tell whether something can be seen in the upright box around a region."""
    xs, ys = region.quad[::2], region.quad[1::2]
    box = math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)), math.ceil(max(ys))
    extremes: Any = pixels.crop(box).getextrema()
    bands = [extremes] if pixels.mode == "L" else extremes
    return bool(max(most - least for least, most in bands) >= CONTRAST)


def blank_share(image: Image.Image) -> float:
    """Return the share of a grey image's squares of CELL px that are of one shade; 0 of an image without any."""
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
    """Normalise a line's text."""
    return replace(line, text=normalise(line.text))
