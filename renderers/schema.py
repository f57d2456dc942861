"""The columns of every renderer's tables, which have one row for each page.

Coordinates are pixels of `image`, origin top left, y down. A quad is x1, y1, … x4, y4: the corners clockwise
from the top left of the text as it is read, so a quad also tells which way its text runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

REGION = pa.struct(
    [
        ("text", pa.string()),
        ("start", pa.int32()),  # code points into the page's text; null where the region is no part of it
        ("end", pa.int32()),
        ("quad", pa.list_(pa.float32(), 8)),
        ("score", pa.float32()),  # 1 where a renderer is certain
    ]
)

PAGES = pa.schema(
    [
        ("page", pa.int32()),  # 0-based, in the document
        ("image", pa.large_binary()),  # null on a dropped page
        ("format", pa.string()),  # jpeg, png
        ("width", pa.int32()),  # px
        ("height", pa.int32()),
        ("text", pa.large_string()),  # reading order, one line a region
        ("regions", pa.list_(REGION)),
        ("extra", pa.large_string()),  # a JSON object: title, url, pages, fonts, …
        ("dropped", pa.string()),  # null while the page is alive, else a reason slug
        ("detail", pa.string()),
        ("part", pa.int32()),  # of a page that gives several images, from 1; null where it gives one
        ("html", pa.large_string()),  # the page's structure; null where it was not asked for
    ]
)
ROW = pa.struct(list(PAGES))


class Region(NamedTuple):
    """One line or word: its text, its quad (8 numbers, px), and the text between it and the next one (`after`)."""

    text: str
    quad: tuple[float, ...]
    score: float = 1.0
    after: str = "\n"


class Page(NamedTuple):
    """One rendered page; `regions` are in reading order and make up its text."""

    page: int
    image: bytes | None
    format: str | None
    width: int | None
    height: int | None
    regions: Sequence[Region]
    extra: str
    dropped: str | None = None
    detail: str | None = None
    part: int | None = None
    html: str | None = None


def record(page: Page) -> pa.RecordBatch:
    """The page as a batch of one row (PAGES); its text is made of the regions' texts and what is between them."""
    regions, text, last = [], "", ""
    for region in page.regions:
        text += last
        start, text, last = len(text), text + region.text, region.after
        regions.append((region.text, start, len(text), region.quad, region.score))
    row = (*page[:5], text, regions, *page[6:])
    # one conversion of the whole row: a dozen small ones take several times as long
    table = pa.RecordBatch.from_struct_array(
        pa.array([dict(zip(PAGES.names, row, strict=True)) | {"image": None}], ROW)
    )
    return table.set_column(PAGES.get_field_index("image"), PAGES.field("image"), uncopied(page.image))


def uncopied(data: bytes | None) -> pa.Array:
    """A column of one value that refers to the given bytes without copying them; None gives a null."""
    if data is None:
        return pa.nulls(1, pa.large_binary())
    offsets = pa.array([0, len(data)], pa.int64()).buffers()[1]
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)])
