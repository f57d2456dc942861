"""Count where a run's kept rows come from: their hosts, with rows and bytes, and the licences that rows name.

All shards are read; of more than MAX_FILES only that many, spread evenly. `Provenance` holds both numbers.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.reporting.sampling import evenly, hosts
from curate.storage.image_index import read_index
from curate.storage.store import Store

MAX_FILES = 4096
TOP = 10  # one host in so many is listed, the largest: the EU's template asks for the top 10 %
HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")
LICENCE = r'(?i)"licen[cs]e(?:_name|_url)?"\s*:\s*"(?P<said>[^"\\]{1,200})"'
OTHER = "(not a host's name)"


@dataclass
class Provenance:
    """Counts over the kept rows of a run's shards."""

    files: int = 0  # shards that were read
    of: int = 0  # shards that the run has
    rows: int = 0  # rows of the shards that were read
    host_rows: Counter[str] = field(default_factory=Counter)
    host_bytes: Counter[str] = field(default_factory=Counter)  # of images; 0 without an image index
    datasets: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)  # rows by the licence that they name in `extra`

    def top(self) -> list[str]:
        """The largest tenth of the hosts, rounded up, by the bytes of their images, then by rows."""
        count = -(-len(self.host_rows) // TOP)
        return sorted(self.host_rows, key=lambda one: (-self.host_bytes[one], -self.host_rows[one], one))[
            :count
        ]

    def add(self, other: Provenance) -> None:
        """Add the counts of `other` to these, except the numbers of shards."""
        self.rows += other.rows
        for name in ("host_rows", "host_bytes", "datasets", "licences"):
            getattr(self, name).update(getattr(other, name))


def provenance(store: Store, shards: Sequence[str]) -> Provenance:
    """Count the kept rows of these shards (names in `store`).

    Raises:
        OSError, pa.ArrowException: a shard cannot be read.
    """
    chosen = evenly(shards, MAX_FILES)
    total = Provenance(files=len(chosen), of=len(shards))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) + 2 if store.local else 32) as pool:
        for start in range(0, len(chosen), 256):
            for one in pool.map(lambda name: _of_shard(store, name), chosen[start : start + 256]):
                total.add(one)
    return total


def domains_csv(found: Provenance) -> bytes:
    """The largest tenth of the hosts as CSV: `domain`, `rows`, `share` (of the rows that have a host), `bytes`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["domain", "rows", "share", "bytes"])
    whole = max(1, found.host_rows.total())
    for host in found.top():
        rows = found.host_rows[host]
        writer.writerow([host, rows, f"{rows / whole:.6f}", found.host_bytes[host] or ""])
    return out.getvalue().encode()


def periods(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """When the data was read and fetched: first and last day (`YYYY-MM-DD`) of each step in which the run grew."""
    steps = [*manifest.get("grown", ()), {"started": manifest["started"], "finished": _fetched(manifest)}]
    return [(str(one["started"])[:10], str(one["finished"])[:10]) for one in steps]


def _fetched(manifest: Mapping[str, Any]) -> str:
    """When the last image was fetched: a version made by `remove` fetched nothing and repeats the earlier time."""
    return str(manifest.get("removal", {}).get("fetched") or manifest["finished"])


def _of_shard(store: Store, name: str) -> Provenance:
    found = Provenance()
    with store.fs.open_input_file(store.path(name)) as file:
        reader = pq.ParquetFile(file)
        index = read_index(reader, "image.bytes")
        for group in range(reader.num_row_groups):
            table = reader.read_row_group(group, columns=["url", "dataset", "extra", "image.path"])
            found.rows += table.num_rows
            names = _names(table["url"])
            found.host_rows.update(_counts(names))
            if index is not None:
                _add_bytes(found, table["image"], names, index[group].size)
            found.datasets.update(_counts(table["dataset"].cast(pa.string())))
            said = pc.struct_field(pc.extract_regex(table["extra"], LICENCE), "said")
            found.licences.update(_counts(said))
    return found


def _names(url: pa.ChunkedArray) -> pa.Array:
    """The host of each URL, null where there is none, OTHER where it is not a valid name (N rows)."""
    found = hosts(url).combine_chunks().dictionary_encode()
    plain = [one if HOST.fullmatch(one) else OTHER for one in found.dictionary.to_pylist()]
    return pa.array(plain, pa.string()).take(found.indices)


def _add_bytes(
    found: Provenance, image: pa.ChunkedArray, names: pa.Array, sizes: np.ndarray[Any, Any]
) -> None:
    """Add the size of each image to its host's sum; `sizes` (bytes) has one entry for each row with an image."""
    there = pc.is_valid(pc.struct_field(image.combine_chunks(), "path")).to_numpy(zero_copy_only=False)
    if there.sum() != len(sizes):
        return
    of_rows = np.zeros(len(there), np.int64)
    of_rows[there] = sizes
    table = pa.table({"host": names, "bytes": of_rows}).filter(pc.is_valid(names))
    for row in table.group_by("host").aggregate([("bytes", "sum")]).to_pylist():
        found.host_bytes[row["host"]] += row["bytes_sum"]


def _counts(values: Any) -> dict[str, int]:
    return {
        one["values"]: one["counts"]
        for one in pc.value_counts(values).to_pylist()
        if one["values"] is not None
    }
