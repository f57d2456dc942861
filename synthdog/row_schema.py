"""The columns of synthdog's tables, which have one row for each image.

Coordinates are px of `image`, origin top left, y down. A quad is x1, y1, … x4, y4: the corners clockwise from
the text's own top left. `start` and `end` are code point offsets in `text`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

REGION = pa.struct(
    [
        ("text", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("quad", pa.list_(pa.float32(), 8)),
        ("score", pa.float32()),
    ]
)

ROWS = pa.schema(
    [
        ("image", pa.large_binary()),  # JPEG
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("text", pa.large_string()),  # the lines in reading order, each on a line of its own
        ("regions", pa.list_(REGION)),  # the lines
        ("language", pa.string()),
        (
            "extra",
            pa.large_string(),
        ),  # JSON: seed, index, template, fonts, background, paper, quality, effects
        ("dropped", pa.string()),  # null, or why there is no image
        ("detail", pa.large_string()),
    ]
)


@dataclass(frozen=True)
class Row:
    """One image, or the reason why there is none; None where a column has no value."""

    language: str
    extra: str
    image: bytes | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    text: str | None = None
    regions: list[dict[str, Any]] | None = None
    dropped: str | None = None
    detail: str | None = None
