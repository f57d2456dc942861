"""Records of finished units, and the sums over them that `_manifest.json` has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import UnitError
from curate.storage.shards import Shard
from curate.terminal import plural


class Meter(Protocol):
    """What workers report progress to."""

    def add(self, **counts: int) -> None:
        """Count more rows read (`rows`, `scanned`), `images` that arrived or failed, rows `kept`, `bytes` written."""


class Stage(msgspec.Struct, frozen=True):
    """One stage of a unit, or the sum of it over units."""

    name: str
    rows_in: int  # rows alive before it
    rows_out: int  # rows alive after it
    seconds: float  # wall time


class UnitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one unit. That it exists means that the unit is done (or staged)."""

    unit: int
    inputs_in: int
    rows_in: int
    rows_out: int
    dropped: dict[str, int] = {}
    stages: tuple[Stage, ...] = ()
    shards: tuple[Shard, ...] = ()
    dropped_file: Shard | None = None  # the file with its dropped rows, if any were written
    run: str = ""  # names the run (`Store.run`); only in the record's own file

    def check(self) -> UnitRecord:
        """Return the record itself, if its rows add up.

        Raises:
            UnitError: rows were lost or added. That is a bug in curate; the unit must not be marked as done.
        """
        if self.rows_in != self.rows_out + sum(self.dropped.values()):
            raise UnitError(
                f"unit {self.unit}: {plural(self.rows_in, 'row')} in, {self.rows_out} out, {self.dropped} dropped"
            )
        return self


def count_reasons(dropped: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    """Return how often each reason occurs; nulls, which are the alive rows, are not counted."""
    counts = pc.value_counts(dropped.drop_null())
    return {item["values"]: item["counts"] for item in counts.to_pylist()}


def add_counts(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Return the sum of several counts by reason, the largest first."""
    total: dict[str, int] = {}
    for one in counts:
        for reason, count in one.items():
            total[reason] = total.get(reason, 0) + count
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def add_stages(stages: Iterable[Sequence[Stage]]) -> list[Stage]:
    """Return the sums of several units' stages, in the order of the stages."""
    total: dict[str, Stage] = {}
    for sequence in stages:
        for stage in sequence:
            old = total.get(stage.name, Stage(stage.name, 0, 0, 0.0))
            total[stage.name] = Stage(
                stage.name,
                old.rows_in + stage.rows_in,
                old.rows_out + stage.rows_out,
                round(old.seconds + stage.seconds, 3),
            )
    return list(total.values())


def add_records(records: Iterable[UnitRecord]) -> UnitRecord:
    """Return the sum of several records, as a record with unit -1 and without files."""
    every = list(records)
    return UnitRecord(
        unit=-1,
        inputs_in=sum(record.inputs_in for record in every),
        rows_in=sum(record.rows_in for record in every),
        rows_out=sum(record.rows_out for record in every),
        dropped=add_counts(record.dropped for record in every),
        stages=tuple(add_stages(record.stages for record in every)),
    )


def plain_sums(total: UnitRecord) -> dict[str, Any]:
    """Return the sums over units as `_manifest.json` has them."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(total))
    return {name: plain[name] for name in ("inputs_in", "rows_in", "rows_out", "dropped", "stages")}


def summary(records: Sequence[UnitRecord]) -> dict[str, Any]:
    """Return the sums over these units as `_manifest.json` has them, with all their shards."""
    shards = [shard for record in records for shard in record.shards]
    return plain_sums(add_records(records)) | {"shards": msgspec.to_builtins(shards)}
