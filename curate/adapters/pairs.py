"""Pairs of image and text, as all nine image-text sets publish them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from curate.adapters import values
from curate.adapters.published import published, sample
from curate.manifest.settings import Manifest


def pairs(batch: pa.Table, manifest: Manifest, source: str, first_row: int) -> pa.Table:
    """Raw rows as SAMPLE's columns (N rows in, N out), those of no use marked.

    Args:
        batch: rows of one input, as its source gave them.
        manifest: whose columns, key, only, language, image.folder and input.swapped_sides_with count.
        source: the input's name.
        first_row: the number of the batch's first row in the input.

    Raises:
        InputError: a column is missing that every row needs.
    """
    rows = published(batch, manifest, source, first_row)
    text, broken = rows.text("text")
    text = values.without_json(text)
    made = {"text": text}
    if (score := rows.raw("clip_score")) is not None:
        made["clip_score"] = values.cosine(score)
    return sample(rows, made, {"text_not_utf8": broken, "text_missing": pc.is_null(text)})
