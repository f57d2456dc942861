"""The adapter of plain text: documents or lines, without an image."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from curate.adapters import values
from curate.adapters.published import published, sample
from curate.manifest.settings import Manifest


def text(batch: pa.Table, manifest: Manifest, source: str, first_row: int) -> pa.Table:
    """Turn raw rows into SAMPLE's columns (N rows in, N out). Arguments and errors: see `pairs`.

    A list of paragraphs becomes one text, joined by line breaks.
    """
    rows = published(batch, manifest, source, first_row)
    column = values.plain(batch[rows.there["text"]])
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = pc.binary_join(column, "\n")
    found, broken = values.text(column)
    found = values.trimmed(found)
    return sample(rows, {"text": found}, {"text_not_utf8": broken, "text_missing": pc.is_null(found)})
