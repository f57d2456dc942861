"""The adapter of pairs of an image and a text, the form of all nine image-text data sets."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from curate.adapters import values
from curate.adapters.published import published, sample
from curate.manifest.settings import Manifest


def pairs(batch: pa.Table, manifest: Manifest, source: str, first_row: int) -> pa.Table:
    """Turn raw rows into SAMPLE's columns, with unusable rows marked as dropped.

    N rows in, N out; where texts come as lists, one row for each text.

    Args:
        batch: rows of one input, as its source gave them.
        manifest: its columns, key, only, language, image.folder and input.swapped_sides_with are used.
        source: the input's name.
        first_row: the number of the batch's first row in the input, from 0.

    Raises:
        InputError: the input lacks a column that every row needs.
    """
    rows = published(batch, manifest, source, first_row)
    text, broken = rows.text("text")
    text = values.without_json(text)
    made = {"text": text}
    if (score := rows.raw("clip_score")) is not None:
        made["clip_score"] = values.cosine(score)
    return sample(rows, made, {"text_not_utf8": broken, "text_missing": pc.is_null(text)})
