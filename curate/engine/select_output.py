"""The output of `curate select`: parts with the source's own rows, staged and published like shards.

For each staged part there is a small file with what the rules across the run compare of its rows: their keys, the URLs
or paths of their images, their texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.across import SPILL, spill_rows
from curate.engine.output import Fallen, Staging
from curate.engine.record import UnitRecord
from curate.engine.records import STAGED
from curate.marking import Rules, sampled
from curate.schema import DROPPED
from curate.storage.batch_files import read_batch, write_batches
from curate.storage.selected import part_name, part_schema, write_part
from curate.storage.shards import Shard, as_dropped, dropped_name

SEEN = "seen"  # the stage in which rules across the run drop rows

KEPT = pa.schema(  # of the small file for a staged part
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("url", pa.large_string()),
        ("image_path", pa.large_string()),
        ("text", pa.large_string()),
    ]
)


class PartStaging(Staging):
    """Writes the output of one selection."""

    def write_part(self, unit: int, tables: Iterable[pa.Table], published: pa.Schema, rules: Rules) -> Shard:
        """Stage a unit's kept rows.

        Args:
            unit: the unit's number.
            tables: the kept rows, with `published`'s columns and those that a selection adds.
            published: the source's columns.
            rules: the rules that judged the rows, which the part names.
        """
        schema = part_schema(published, self.manifest.digest(), rules)
        return self._stage(part_name(unit), (table.cast(schema) for table in tables), schema)

    def write_kept(self, unit: int, rows: pa.Table) -> None:
        """Write what the rules across the run compare of a unit's kept rows (N rows of KEPT)."""
        write_batches(self.store, _kept_name(unit), KEPT, [rows.cast(KEPT)])

    def spilled(self, number: int, phase: str = "seen") -> pa.Table:
        """See `Staging.spilled`; in the phase `keys` a row's key identifies its image, else its URL or path does."""
        rows = read_batch(self.store, _kept_name(number), 0).combine_chunks()
        if not rows.num_rows:
            return SPILL.empty_table()
        image = rows["key"] if phase == "keys" else pc.coalesce(rows["url"], rows["image_path"])
        places = pa.array(range(rows.num_rows), pa.int32())
        return spill_rows(image.combine_chunks(), rows["text"].combine_chunks(), number, places)

    def _write_lost(self, record: UnitRecord, fallen: Fallen, details: Mapping[int, str]) -> Shard:
        """See `Staging._write_lost`."""
        kept = read_batch(self.store, _kept_name(record.unit), 0)
        reason = pa.array(map(fallen.get, range(kept.num_rows)), pa.string(), size=kept.num_rows)
        rows = kept.append_column("reason", reason).filter(pc.is_valid(reason))
        rows = rows.filter(sampled(rows["key"], self.manifest.drops.sample))
        rows = rows.append_column("stage", pa.repeat(SEEN, rows.num_rows))
        rows = rows.append_column("detail", pa.nulls(rows.num_rows, pa.string()))
        lost = [*self._staged_dropped(record), as_dropped(rows)]
        return self._write(dropped_name(record.unit), lost, DROPPED)

    def _write(
        self, name: str, tables: Iterable[pa.Table], schema: pa.Schema, repeated: bool = False
    ) -> Shard:
        """See `Staging._write`; files of dropped rows are written in the same way as parts."""
        return write_part(self.store, name, tables, schema, self.manifest.shard.compression_level)


def _kept_name(unit: int) -> str:
    return f"{STAGED}/kept-{unit:06d}.arrow"
