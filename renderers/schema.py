"""The columns that every renderer gives: one row a page.

Coordinates are pixels of `image`, origin top left, y down. A quad is x1, y1, … x4, y4: the corners clockwise
from the top left of the text as it is read, so a quad also tells which way its text runs.
"""

from __future__ import annotations

import itertools
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
    ]
)


class Region(NamedTuple):
    """One line or word: its text, its quad (8 numbers, px), and what parts it from the next in the text."""

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


def record(page: Page) -> pa.RecordBatch:
    """The page as a batch of one row; its text is the regions' texts with what parts them."""
    texts = [region.text for region in page.regions]
    parts = [region.text + region.after for region in page.regions]
    starts = list(itertools.accumulate(map(len, parts), initial=0))[:-1]
    quads = list(itertools.chain.from_iterable(region.quad for region in page.regions))
    fields = [
        pa.array(texts, pa.string()),
        pa.array(starts, pa.int32()),
        pa.array([start + len(text) for start, text in zip(starts, texts, strict=True)], pa.int32()),
        pa.FixedSizeListArray.from_arrays(pa.array(quads, pa.float32()), type=REGION.field("quad").type),
        pa.array([region.score for region in page.regions], pa.float32()),
    ]
    regions = pa.StructArray.from_arrays(fields, fields=list(REGION))
    values = page._asdict() | {"text": "".join([*parts[:-1], *texts[-1:]])}
    single = (name for name in PAGES.names if name not in ("image", "regions"))
    columns = {name: pa.array([values[name]], PAGES.field(name).type) for name in single}
    columns["image"] = uncopied(page.image)
    columns["regions"] = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), regions)
    return pa.RecordBatch.from_pydict(columns, schema=PAGES)


def uncopied(data: bytes | None) -> pa.Array:
    """A column of one value, which keeps the bytes that it was given."""
    if data is None:
        return pa.nulls(1, pa.large_binary())
    offsets = pa.array([0, len(data)], pa.int64()).buffers()[1]
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)])
