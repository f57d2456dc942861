"""Count the tokens of a few hundred samples with Qwen's tokenizer."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import MachineError
from curate.reporting.sampling import IMAGE_GROUPS, Kept, evenly, read_rows
from curate.storage.store import Store

SAMPLES = 800
LONGEST = 20_000  # characters; longer samples are left out: encoding them takes too long


def count_tokens(store: Store, kept: Kept) -> list[int]:
    """The number of text tokens of each of up to 800 samples; empty where no tokenizer is installed."""
    from curate.packing import encode, tokenizer

    places = evenly(pc.unique(kept.table["place"]).to_pylist(), IMAGE_GROUPS)
    near = kept.table.filter(pc.is_in(kept.table["place"], pa.array(places, pa.int32())))
    picked = near.take(pa.array(evenly(range(near.num_rows), SAMPLES), pa.int64()))
    rows = list(read_rows(store, kept, picked, ("prompt", "target")))
    rows = [row for row in rows if len(row["prompt"] or "") + len(row["target"] or "") <= LONGEST]
    try:
        known = tokenizer.load()
    except MachineError:
        return []
    prompt, target = (
        pa.array([row[name] or "" for row in rows], pa.string()) for name in ("prompt", "target")
    )
    counts: list[int] = encode.encode(prompt, target, known, 0).lengths().astype(np.int64).tolist()
    return counts
