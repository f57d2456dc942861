"""The report's section on evaluation sets, from the details of dropped rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from curate.reporting.overlaps import overlaps
from curate.schema import DROPPED
from curate.storage.store import Store

IMAGE, TEXT = "image_in_evaluation_set", "text_in_evaluation_set"


def test_rows_are_counted_by_the_table_or_folder_in_the_fingerprint_file(tmp_path: Path) -> None:
    details = [
        (IMAGE, "distance=3 to all: mmbench.tsv#17"),
        (IMAGE, "distance=0 to all: mmbench.tsv#2"),
        (IMAGE, "distance=9 to all: vqa/val/1.jpg"),
        (IMAGE, "distance=9 to all: 2.jpg"),
        (IMAGE, "of no known form"),
        (IMAGE, None),
        (TEXT, "ngram=8 in all"),
        (TEXT, "ngram=8"),
        ("text_too_short", "ngram=8 in all"),
    ]
    rows = [{"key": str(n), "stage": "rules", "reason": r, "detail": d} for n, (r, d) in enumerate(details)]
    table = pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in DROPPED.names]))
    manifest = {"manifest": {"rules": {IMAGE: {"against": ["all.prints"]}}}, "dropped": {IMAGE: 6}}
    found = overlaps(Store(str(tmp_path)), manifest, table)
    assert found is not None
    assert dict(found.sets) == {"all: mmbench.tsv": 2, "all: vqa/val": 1, "all": 2}
