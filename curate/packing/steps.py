"""The steps of a packing. Each is complete before the next begins; jobs that an earlier attempt did are skipped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise

import msgspec
import pyarrow as pa

from curate.engine.kept_results import KeptResults
from curate.engine.progress import Progress
from curate.engine.records import in_parallel
from curate.engine.worker import Job
from curate.packing.assembly import write_laid
from curate.packing.mix import Group
from curate.packing.packer import (
    FILES_PLAN,
    FOLDER,
    TERMS,
    Counted,
    Packed,
    Packer,
    PackRun,
    PackTerms,
    Spilled,
    read_dropped,
    spill_names,
)
from curate.packing.sequence_layout import PARTS, Cutter, SequenceLayout
from curate.packing.spill import SpillReader
from curate.packing.write import pack_name
from curate.storage.store import Store

LAID = f"{FOLDER}/laid.json"
MAX_BUCKETS = 10_000
BATCH_BYTES = 64 << 20  # of LIGHT that is read at once


class PackSteps:
    """Runs the steps of a packing in its driver. Worker processes start with the first job that must be done."""

    def __init__(
        self, run: PackRun, store: Store, progress: Progress, workers: int | None, address: str | None
    ) -> None:
        self._run, self._store, self._progress = run, store, progress
        self._jobs = KeptResults(
            run, store, FOLDER, Packer, progress, workers, address, parts=len(run.slices)
        )

    def close(self) -> None:
        """End the processes."""
        self._jobs.close()

    def count(self) -> list[Counted]:
        """Count what each slice holds."""
        return self._jobs.all("count", len(self._run.slices), Counted)

    def spill(self, epochs: Mapping[Group, float], buckets: int, by_image: bool) -> list[Spilled]:
        """Spill every slice, and return how many of its rows are packed and dropped.

        Args:
            epochs: how often the samples of each data set and task are seen.
            buckets: number of buckets, at most MAX_BUCKETS.
            by_image: whether samples of one image are put in one row group.
        """
        seen = [(*group, often) for group, often in epochs.items()]
        terms = PackTerms(seen, min(buckets, MAX_BUCKETS), by_image)
        data = msgspec.json.encode(terms)
        if self._store.read_bytes(TERMS) != data:
            self._store.write_bytes(TERMS, data)
        self._terms = terms
        return self._jobs.all("spill", len(self._run.slices), Spilled)

    def lay(self) -> dict[str, dict[str, int]]:
        """Decide which samples share a sequence and a file; return sequences, tokens and samples of each task."""
        if (known := self._store.read_bytes(LAID)) is not None:
            laid: dict[str, dict[str, int]] = json.loads(known)
            return laid
        settings, terms = self._run.settings, self._terms
        names = [spill_names(number)["light"] for number in range(len(self._run.slices))]
        light = SpillReader(self._store, names, "light", terms.buckets)
        layout = SequenceLayout(settings, terms.tasks)
        cutter = Cutter(settings, terms.tasks, self._run.grids)
        groups: list[pa.Table] = [PARTS.empty_table()]
        with self._progress.step("lay", "", terms.buckets):
            for bucket, parts in _buckets(light, terms.buckets):
                laid_here = layout.lay(bucket, parts, bucket == terms.buckets - 1)
                write_laid(self._store, bucket, laid_here.sequences)
                groups += cutter.cut(bucket, laid_here)
                self._progress.done(Job("lay", (bucket,)), [])
        groups += cutter.rest()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, PARTS, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(pa.concat_tables(groups).combine_chunks())
        self._store.write_bytes(FILES_PLAN, sink.getvalue().to_pybytes())
        tally = {task: dict(counts) for task, counts in layout.tally.items()}
        self._store.write_bytes(LAID, json.dumps(tally).encode())
        return tally

    def assemble(self) -> list[Packed]:
        """Write all packs; if there is no sequence at all, one empty pack."""
        data = self._store.read_bytes(FILES_PLAN) or b""
        plan = pa.ipc.open_file(pa.py_buffer(data)).read_all()
        files = plan["file"][-1].as_py() + 1 if plan.num_rows else 1
        there = set(self._store.names())
        return self._jobs.all("assemble", files, Packed, lambda one: pack_name(one.number) in there)

    def dropped(self) -> Iterator[pa.Table]:
        """Yield all dropped rows (DROPPED), in order."""
        parts = in_parallel(lambda number: read_dropped(self._store, number), range(len(self._run.slices)))
        return (table for tables in parts for table in tables)


def _buckets(light: SpillReader, count: int) -> Iterator[tuple[int, list[pa.Table]]]:
    """Yield the number and the parts of every bucket; several buckets are read at once."""
    size = int(light.offsets[:, -1].sum()) // max(count, 1)
    step = max(1, BATCH_BYTES // max(size, 1))
    for first, stop in pairwise([*range(0, count, step), count]):
        yield from enumerate(light.buckets(first, stop), first)
