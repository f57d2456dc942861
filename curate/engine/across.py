"""Rules across the run, which compare all its rows: duplicates, the longest text of an image, placeholder pictures.

The rows are never in memory all at once. Each slice of the run (about a million rows) spills one small row for each
image-text pair, partitioned by the image's hash. Each partition is judged by itself, as it has all pairs of an image.
Then the verdicts are gathered by slice, where units look them up. Every step writes one file, whose presence means
that the step is done: a killed run repeats only the steps that were in progress.

This is done in up to four phases, which differ in what identifies an image. In `keys` it is the row's key. In `seen`,
before fetching, it is the URL, so that no duplicate is fetched. In `bytes`, after decoding, it is the image's bytes,
which finds the same image under different URLs. In `redirects` it is the URL at which redirects ended, which finds the
picture that a host serves for all images that are gone. Two more phases compare images that differ: `similar` finds
altered copies by their fingerprints (`curate.engine.similar`), and last `near` finds images that look alike by their
CLIP features (`curate.engine.near_duplicates`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import filters
from curate.engine.records import in_parallel
from curate.errors import OrderForbidsError
from curate.storage.batch_files import read_batch, write_batches
from curate.storage.store import Store
from filters.duplicates import fingerprint

PARTITION_ROWS = 4_000_000  # rows of the run for each partition

SPILL = pa.schema(
    [
        ("image", pa.binary(16)),  # hash of the key, of the URL, of the bytes, or of where a redirect ended
        ("text", pa.binary(16)),  # hash of the clean text, or of the URL that was redirected
        ("length", pa.int32()),  # of that text, in code points
        ("unit", pa.int32()),
        ("row", pa.int32()),  # within the unit
    ]
)
VERDICT = pa.schema([("unit", pa.int32()), ("row", pa.int32()), ("reason", pa.string())])

PHASES: Mapping[str, tuple[str, ...]] = {
    "keys": ("id_repeated",),
    "seen": ("duplicate_pair", "shorter_text_of_same_image"),
    "bytes": ("duplicate_pair", "placeholder_image", "shorter_text_of_same_image"),
    "redirects": ("placeholder_image",),
    "near": ("near_duplicate",),
}


BEFORE_IMAGES, AFTER_IMAGES = ("keys", "seen"), ("bytes", "redirects", "near")
OF_STAGED = ("bytes", "redirects")  # phases that judge staged rows by what their files say of them

ACROSS = frozenset({"similar_image"}.union(*PHASES.values()))


def rules_of(phase: str, active: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return those of the `active` rules that are judged in this phase, in their order, with their settings.

    In the phase `redirects`, `placeholder_image` counts by its setting `max_addresses`, which takes the place of
    `max_texts` in the result; without it the rule is not judged there.
    """
    rules = {name: settings for name, settings in active.items() if name in PHASES[phase]}
    if phase == "redirects":
        most = {name: settings["max_addresses"] for name, settings in rules.items()}
        return {name: {"max_texts": count} for name, count in most.items() if count}
    return rules


def spill_rows(image: pa.Array, text: pa.Array, unit: int, rows: pa.Array) -> pa.Table:
    """Return the rows of SPILL for one unit's pairs; pairs whose image is unknown (null) are left out.

    Args:
        image: what identifies each pair's image: its key, URL or hash, or the URL at which redirects ended (N rows).
        text: each pair's clean text; in the phase `redirects` the URL that was redirected (N rows).
        unit: the unit's number.
        rows: each pair's row number in the unit, from 0 (N rows).
    """
    table = pa.table(
        [
            fingerprint(image),
            fingerprint(text),
            pc.utf8_length(text).fill_null(0).cast(pa.int32()),
            pa.repeat(pa.scalar(unit, pa.int32()), len(rows)),
            rows.cast(pa.int32()),
        ],
        schema=SPILL,
    )
    return table.filter(pc.is_valid(image))


class PhaseFiles:
    """The names of a phase's files: spills of slices, results of partitions, verdicts of slices."""

    phase: str

    def verdicts(self, store: Store, number: int) -> pa.Table:
        """Return the rows of slice `number` that are dropped in this phase, in source order."""
        return read_batch(store, self.verdict_name(number), 0).combine_chunks()

    def spill_name(self, number: int) -> str:
        """Return the name of the file that slice `number` spills."""
        return f"_run/{self.phase}/spill-{number:06d}.arrow"

    def partition_name(self, partition: int) -> str:
        """Return the name of the file with the results of a partition."""
        return f"_run/{self.phase}/partition-{partition:06d}.arrow"

    def verdict_name(self, number: int) -> str:
        """Return the name of the file with the verdicts of slice `number`."""
        return f"_run/{self.phase}/verdict-{number:06d}.arrow"


@dataclass(frozen=True)
class Across(PhaseFiles):
    """One phase of the rules across a run."""

    phase: str
    rules: Mapping[str, Mapping[str, Any]]  # settings by rule
    partitions: int
    slices: int
    # Units that were finished before inputs were added: their verdicts are only what changes for them
    before: int = 0

    def spill(self, store: Store, number: int, rows: Sequence[pa.Table]) -> None:
        """Write the rows of slice `number` (rows of SPILL), one record batch for each partition."""
        table = pa.concat_tables([SPILL.empty_table(), *rows]).combine_chunks()
        partition = _partition(table["image"], self.partitions)
        order = np.argsort(partition, kind="stable")
        bounds = np.searchsorted(partition[order], np.arange(self.partitions + 1))
        ordered = table.take(pa.array(order))
        batches = [ordered.slice(start, stop - start) for start, stop in pairwise(bounds)]
        write_batches(store, self.spill_name(number), SPILL, batches)

    def resolve(self, store: Store, partition: int) -> None:
        """Judge one partition of all slices; write its verdicts, one record batch for each slice."""
        names = map(self.spill_name, range(self.slices))
        parts = list(in_parallel(lambda name: read_batch(store, name, partition), names))
        sizes = [part.num_rows for part in parts]
        table = pa.concat_tables(parts).combine_chunks()
        reason = filters.judge(table, self.rules).reason
        if self.before:
            reason = self._since(table, reason)
        verdicts = pa.table([table["unit"], table["row"], reason], schema=VERDICT)
        start, batches = 0, []
        for size in sizes:
            mine = verdicts.slice(start, size)
            batches.append(mine.filter(pc.is_valid(mine["reason"])))
            start += size
        write_batches(store, self.partition_name(partition), VERDICT, batches)

    def _since(self, table: pa.Table, reason: pa.Array) -> pa.Array:
        """Return the verdicts on rows of new units, and on rows of finished units only those that have changed (N).

        Raises:
            OrderForbidsError: with all inputs from the start, a row of a finished unit would have been treated
                differently before its image was fetched.
        """
        old = pc.less(table["unit"], self.before).combine_chunks()
        was = filters.judge(table.filter(old), self.rules).reason
        now = reason.filter(old)
        same = pc.equal(pc.fill_null(was, ""), pc.fill_null(now, ""))
        there = self.phase in OF_STAGED  # the rows were kept: those that are dropped now can be taken out
        forbidden = pc.and_(pc.is_valid(was), pc.is_null(now)) if there else pc.invert(same)
        if pc.any(forbidden, min_count=0).as_py():
            first = pc.index(forbidden, True).as_py()
            row = table.filter(old).slice(first, 1).to_pylist()[0]
            raise OrderForbidsError(
                f"the inputs that were added would change what became of row {row['row']} of unit {row['unit']} "
                f"({_said(was[first])} so far, {_said(now[first])} with them), before its image was fetched: run all "
                "inputs together into another --out"
            )
        changed = pc.if_else(same, pa.scalar(None, pa.string()), now)
        places = np.full(table.num_rows, -1)
        places[old.to_numpy(zero_copy_only=False)] = np.arange(len(now))
        return pc.if_else(old, changed.take(pa.array(places, mask=places < 0)), reason)

    def gather(self, store: Store, number: int) -> None:
        """Join the verdicts that all partitions have on a slice, in source order, and write them."""
        names = map(self.partition_name, range(self.partitions))
        parts = list(in_parallel(lambda name: read_batch(store, name, number), names))
        table = pa.concat_tables(parts).sort_by([("unit", "ascending"), ("row", "ascending")])
        write_batches(store, self.verdict_name(number), VERDICT, [table])


def _said(reason: pa.StringScalar) -> str:
    return reason.as_py() or "kept"


def of_unit(verdicts: pa.Table, unit: int, column: str) -> dict[int, str]:
    """Return row number → value of `column`, for one unit's rows among a slice's verdicts."""
    start, stop = np.searchsorted(verdicts["unit"].to_numpy(), [unit, unit + 1]).tolist()
    mine = verdicts.slice(start, stop - start)
    return dict(zip(mine["row"].to_pylist(), mine[column].to_pylist(), strict=True))


def partitions_for(rows: int) -> int:
    """Return how many partitions to use for `rows` rows, so that one partition easily fits into memory."""
    return max(1, -(-rows // PARTITION_ROWS))


def _partition(image: pa.ChunkedArray, partitions: int) -> Any:
    """Return the partition of each image hash (N integers)."""
    if not len(image):
        return np.zeros(0, dtype=np.int64)
    (chunk,) = image.chunks
    data = np.frombuffer(chunk.buffers()[1], dtype=">u8")[2 * chunk.offset :]  # 16 bytes an image
    hashes = data[: 2 * len(chunk) : 2]
    return (hashes % np.uint64(partitions)).astype(np.int64)
