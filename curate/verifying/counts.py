"""Check a run's counts: the manifest's among themselves, against its shards, and against the units' records."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.journal import RUN
from curate.engine.record import Stage, UnitRecord, add_counts, add_stages
from curate.engine.request import Begun
from curate.storage.filesystems import NOT_JSON
from curate.storage.listing import LISTED, SHARDS
from curate.storage.store import Store
from curate.terminal import plural

LIST = ("path", "rows", "bytes", "sha256")


def manifest_problems(
    store: Store,
    manifest: Mapping[str, Any],
    shards: pa.Table,
    duplicates: int,
    records: Iterable[UnitRecord],
) -> Iterator[str]:
    """Yield what is wrong with the counts in `manifest` (the whole of `_manifest.json`).

    `shards` is the table of shards (FILES), `duplicates` the number of keys that occur twice in them, and `records` are
    the records of the units.
    """
    dropped = sum(manifest["dropped"].values())
    if manifest["rows_in"] != manifest["rows_out"] + dropped:
        yield f"{manifest['rows_in']} rows in, but {manifest['rows_out']} out and {dropped} dropped"
    told = manifest["shards"]
    kept = sum(shard["rows"] for shard in told) if len(told) < LISTED else pc.sum(shards["rows"]).as_py()
    if kept != manifest["rows_out"]:
        yield f"its shards hold {plural(kept, 'row')} instead of {manifest['rows_out']}"
    if [{name: one[name] for name in LIST} for one in told] != shards.select(LIST).slice(
        0, LISTED
    ).to_pylist():
        yield f"its shards are not those of {SHARDS}"
    if duplicates:
        yield f"{duplicates} keys occur twice"
    for before, after in pairwise(manifest["stages"]):
        if before["rows_out"] != after["rows_in"]:
            names = f"{before['name']} and {after['name']}"
            yield f"{before['rows_out']} and {plural(after['rows_in'], 'row')} between {names}"
    yield from _journal_problems(store, manifest, shards, records)


def _journal_problems(
    store: Store, manifest: Mapping[str, Any], shards: pa.Table, records: Iterable[UnitRecord]
) -> Iterator[str]:
    """Yield where the manifest differs from the units' records, if these are complete and describe these shards.

    The records describe the run before `curate score` changed its shards; after a scoring they are not compared.
    """
    begun = store.read_bytes(RUN)
    if begun is not None:
        inputs = [one["rows"] for one in manifest["inputs"]]
        try:
            asked = msgspec.json.decode(begun, type=Begun)
        except NOT_JSON:
            yield f"{RUN} cannot be read: only a repair, or the same command again, would need it"
        else:
            # inputs were to be added, and that was refused or stopped before it changed anything
            unchanged = asked.growth > len(manifest.get("grown", ()))
            if list(asked.rows[: len(inputs) if unchanged else None]) != inputs:
                yield "the rows of its inputs are not those that were planned"
    sums = Sums()
    for record in records:
        sums.add(record)
    if sums.shards == _digest(zip(shards["path"].to_pylist(), shards["sha256"].to_pylist(), strict=True)):
        for name, told in sums.told().items():
            if told != manifest[name]:
                yield f"{name} is not the sum of what the units' records say"


@dataclass
class Sums:
    """Sums over the records of units."""

    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    stages: list[Stage] = field(default_factory=list)
    shards: int = 0  # a digest that does not depend on the records' order

    def add(self, record: UnitRecord) -> None:
        """Add a record to the sums."""
        self.counts.update(inputs_in=record.inputs_in, rows_in=record.rows_in, rows_out=record.rows_out)
        self.dropped.update(record.dropped)
        self.stages = add_stages([self.stages, record.stages])
        self.shards ^= _digest((shard.path, shard.sha256) for shard in record.shards)

    def told(self) -> dict[str, Any]:
        """The sums by their names in the manifest."""
        counts = {name: self.counts[name] for name in ("inputs_in", "rows_in", "rows_out")}
        stages = msgspec.to_builtins(self.stages)
        return counts | {"dropped": add_counts([dict(self.dropped)]), "stages": stages}


def _digest(files: Iterable[tuple[str, str]]) -> int:
    """A digest of files' names and hashes that does not depend on their order."""
    digest = 0
    for path, sha256 in files:
        digest ^= int.from_bytes(hashlib.sha256(f"{path} {sha256}".encode()).digest())
    return digest
