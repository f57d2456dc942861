"""Get the records of a finished run's units: from its journal, or made again from its files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.plan import Plan
from curate.engine.record import Stage, UnitRecord, add_counts
from curate.engine.records import every_record
from curate.engine.request import Request
from curate.errors import CurateError
from curate.storage.finished import damaged_manifest, listed_dropped, listed_files
from curate.storage.listing import as_shards
from curate.storage.shards import Shard, dropped_name, read_columns, unit_of
from curate.storage.store import Store


def request_of(store: Store, manifest: Mapping[str, Any]) -> Request:
    """Return the request of a finished run, from its manifest.

    Raises:
        DamagedManifestError: the manifest has no valid request.
    """
    try:
        return msgspec.convert(manifest["request"], Request)
    except (msgspec.ValidationError, CurateError) as error:
        raise damaged_manifest(store, f"its request: {error}") from None


def plan_of(store: Store, manifest: Mapping[str, Any], asked: Request) -> Plan:
    """Return the plan of a finished run, from its manifest and its request.

    Raises:
        DamagedManifestError: the manifest does not say how many rows each input has.
    """
    try:
        rows = msgspec.convert([one["rows"] for one in manifest["inputs"]], tuple[int, ...])
    except (msgspec.ValidationError, KeyError, TypeError) as error:
        raise damaged_manifest(store, f"the rows of its inputs: {error}") from None
    if len(rows) != len(asked.inputs) or any(count < 0 for count in rows):
        raise damaged_manifest(store, "the rows of its inputs are not those of its request")
    return Plan(asked.inputs, rows, asked.unit_rows)


def finished_records(store: Store, manifest: Mapping[str, Any]) -> Iterator[UnitRecord] | None:
    """Return the record of every unit, each once, in any order; None if that is not possible.

    The journal's records are used if they list exactly the folder's shards. Else records are made again from the tables
    of files and the files of dropped rows. That is possible only if all dropped rows were written, and the run was not
    scored later.

    Raises:
        DamagedError, DamagedManifestError: a table or the manifest cannot be read.
        OSError: a file cannot be read.
    """
    asked = request_of(store, manifest)
    plan, shards = plan_of(store, manifest, asked), listed_files(store, manifest)
    if _describes(every_record(store), plan, shards):
        return every_record(store)
    if "scored" in manifest or asked.manifest.drops.sample < 1:
        return None
    made = Rebuilt(store, manifest, asked, plan)
    return iter(made) if made.adds_up() else None


def _describes(records: Iterable[UnitRecord], plan: Plan, shards: pa.Table) -> bool:
    """Return whether these are the records of all units of the plan, and list exactly these shards."""
    count = found = 0
    for record in records:
        count += 1
        for shard in record.shards:
            found ^= _digest(shard.path, shard.sha256)
    for path, sha256 in zip(shards["path"].to_pylist(), shards["sha256"].to_pylist(), strict=True):
        found ^= _digest(path, sha256)
    return count == plan.units and not found


def _digest(path: str, sha256: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{path} {sha256}".encode()).digest())


class Rebuilt:
    """Records made from a folder's files. The seconds of all stages are attributed to the first unit."""

    def __init__(self, store: Store, manifest: Mapping[str, Any], asked: Request, plan: Plan) -> None:
        self._store, self._manifest, self._asked, self._plan = store, manifest, asked, plan
        self._shards = _by_unit(listed_files(store, manifest))
        listed = listed_dropped(store)
        self._dropped = {} if listed is None else {one.path: one for one in as_shards(listed)}

    def __iter__(self) -> Iterator[UnitRecord]:
        return map(self._record, range(self._plan.units))

    def adds_up(self) -> bool:
        """Return whether the sums of the records are those of the manifest."""
        counts, dropped = Counter[str](), Counter[str]()
        for record in self:
            counts.update(inputs_in=record.inputs_in, rows_in=record.rows_in, rows_out=record.rows_out)
            dropped.update(record.dropped)
        told = {name: counts[name] for name in ("inputs_in", "rows_in", "rows_out")}
        return told == {n: self._manifest.get(n) for n in told} and dict(dropped) == self._manifest["dropped"]

    def _record(self, number: int) -> UnitRecord:
        unit, shards = self._plan.unit(number), self._shards.get(number, ())
        file = self._dropped.get(dropped_name(number))
        reasons, lost = self._fallen(file)
        rows_out = sum(shard.rows for shard in shards)
        rows_in = rows_out + sum(reasons.values())
        picked = self._asked.sample < 1 or self._asked.retry is not None
        return UnitRecord(
            unit=number,
            inputs_in=rows_in if picked else unit.stop - unit.start,
            rows_in=rows_in,
            rows_out=rows_out,
            dropped=reasons,
            stages=tuple(self._stages(number, rows_in, lost)),
            shards=tuple(shards),
            dropped_file=file,
        )

    def _fallen(self, file: Shard | None) -> tuple[dict[str, int], dict[str, int]]:
        """Return how many rows were dropped for each reason, and how many in each stage."""
        if file is None:
            return {}, {}
        table = read_columns(self._store, file.path, ["reason", "stage"])
        reasons, stages = (_counts(table[name]) for name in ("reason", "stage"))
        return add_counts([reasons]), stages

    def _stages(self, number: int, rows: int, lost: Mapping[str, int]) -> Iterator[Stage]:
        for stage in self._manifest["stages"]:
            left = rows - lost.get(stage["name"], 0)
            yield Stage(stage["name"], rows, left, 0.0 if number else stage["seconds"])
            rows = left


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counts = pc.value_counts(column.cast(pa.string()))
    return {item["values"]: item["counts"] for item in counts.to_pylist()}


def _by_unit(files: pa.Table) -> dict[int, list[Shard]]:
    """Return unit → its shards, in order."""
    found: dict[int, list[Shard]] = {}
    for shard in as_shards(files):
        if (unit := unit_of(shard.path)) is not None:
            found.setdefault(unit, []).append(shard)
    return found
